"""A suite compiled against a schema: what the kernel, its tallies, the schema and Great Expectations each decide."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from batchscore.checks.row_rules import ONE, PAIR, ROW_RULES
from batchscore.checks.schema_rules import SCHEMA_RULES, Decision
from batchscore.checks.suite import Expectation, Suite
from batchscore.checks.table_rules import COLUMN_TALLIES, COUNTS, count_args, tally_column
from batchscore.checks.values import Unsupported
from batchscore.errors import ConfigError, InputError
from batchscore.kernel.spec import RuleSpec, TallySpec

Engine = Literal["kernel", "tally", "schema", "gx"]
NO_VERDICT = frozenset({"batch_id", "catch_exceptions", "result_format", "include_config", "meta"})
SOLVED_BY_GX = {
    "row_condition": "it has a row_condition",
    "windows": "it has windows of earlier results",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One expectation, and what decides it.

    Attributes:
        expectation: As the suite has it.
        engine: `kernel`, `tally`, `schema` or `gx`.
        columns: Columns that it names.
        on_row_fail: `quarantine` or `keep`, for row rules.
        why: Why only GX can evaluate it, if so.
        rule: The kernel's rule.
        tally: What the kernel tallies for it; None for row counts, which every tally has.
        args: Typed bounds or values of a tally's verdict.
        decision: The schema's answer: success, and the observed value.
    """

    expectation: Expectation
    engine: Engine
    columns: tuple[str, ...] = ()
    on_row_fail: str | None = None
    why: str = ""
    rule: RuleSpec | None = None
    tally: TallySpec | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledSuite:
    """A suite with one check for each expectation, in order."""

    suite: Suite
    checks: tuple[Check, ...]

    @property
    def rules(self) -> tuple[RuleSpec, ...]:
        """Rules for the kernel."""
        return tuple(check.rule for check in self.checks if check.rule is not None)

    @property
    def tallies(self) -> tuple[TallySpec, ...]:
        """What the kernel tallies: one entry for each column, all statistics together."""
        merged: dict[str, TallySpec] = {}
        for spec in (check.tally for check in self.checks if check.tally is not None):
            held = merged.get(spec.column, spec)
            merged[spec.column] = TallySpec(
                place=spec.place,
                column=spec.column,
                stats=held.stats | spec.stats,
                max_values=max(held.max_values, spec.max_values),
                wanted=tuple(dict.fromkeys([*held.wanted, *spec.wanted])),
            )
        return tuple(merged.values())

    @property
    def schema_results(self) -> Mapping[str, Decision]:
        """Rule id to what the schema decided."""
        return {c.expectation.rule: c.decision for c in self.checks if c.decision is not None}

    @property
    def gx(self) -> tuple[Expectation, ...]:
        """Expectations that only Great Expectations can evaluate."""
        return tuple(check.expectation for check in self.checks if check.engine == "gx")


def compile_suite(suite: Suite, schema: pa.Schema, *, time_zone: str = "UTC") -> CompiledSuite:
    """Decide for each expectation what evaluates it.

    Args:
        suite: The suite.
        schema: The columns of its place, with the types in which the kernel will meet them.
        time_zone: Zone in which times without one are read: the Spark session's.

    Raises:
        InputError: An expectation names a column that the schema lacks.
        ConfigError: `on_row_fail: quarantine` stands on an expectation that gives no verdict on single rows here.
    """
    return CompiledSuite(suite=suite, checks=tuple(_compile(e, suite, schema, time_zone) for e in suite.expectations))


def columns_needed(compiled: CompiledSuite) -> set[str]:
    """The columns that the kernel must be given for this suite; what GX evaluates is not among them."""
    rules = {column for rule in compiled.rules for column in rule.columns}
    return rules | {spec.column for spec in compiled.tallies}


def describe(compiled: CompiledSuite) -> tuple[Mapping[str, str], ...]:
    """One line for each expectation: what it is, what evaluates it, and why."""
    return tuple(
        {
            "rule": check.expectation.rule,
            "expectation": check.expectation.type,
            "columns": ", ".join(check.columns),
            "severity": check.expectation.severity,
            "engine": check.engine,
            "on_row_fail": check.on_row_fail or "",
            "why": check.why,
        }
        for check in compiled.checks
    )


def _compile(expectation: Expectation, suite: Suite, schema: pa.Schema, time_zone: str) -> Check:
    columns = _named_columns(expectation)
    try:
        _check_columns(expectation, columns, schema)
        kwargs = _plain_kwargs(expectation)
        check = _compile_native(expectation, kwargs, suite, schema, time_zone)
    except Unsupported as reason:
        check = Check(expectation=expectation, engine="gx", columns=columns, why=str(reason))
    if expectation.on_row_fail == "quarantine" and check.on_row_fail is None:
        why = f" ({check.why})" if check.why else ""
        raise ConfigError(
            f"{expectation.where}: expected a verdict on each row, for on_row_fail: quarantine; the expectation is "
            f"evaluated as a whole by {check.engine}{why}. Rewrite it, or remove meta.batchscore.on_row_fail."
        )
    return check


def _compile_native(
    expectation: Expectation, kwargs: Mapping[str, Any], suite: Suite, schema: pa.Schema, time_zone: str
) -> Check:
    kind, columns = expectation.type, _named_columns(expectation)
    if kind in ROW_RULES:
        return _compile_row(expectation, kwargs, suite.place, schema, time_zone)
    if kind in SCHEMA_RULES:
        known, decide = SCHEMA_RULES[kind]
        _check_args(kwargs, known)
        decision = decide(kwargs, schema)
        return Check(expectation=expectation, engine="schema", columns=columns, decision=decision)
    if kind in COUNTS:
        _check_args(kwargs, COUNTS[kind])
        return Check(expectation=expectation, engine="tally", args=count_args(kwargs))
    if kind in COLUMN_TALLIES:
        _check_args(kwargs, COLUMN_TALLIES[kind][0] | set(ONE))
        spec, args = tally_column(kind, suite.place, kwargs, schema.field(columns[0]).type, time_zone)
        return Check(expectation=expectation, engine="tally", columns=columns, tally=spec, args=args)
    raise Unsupported("batchscore does not compile this expectation")


def _compile_row(
    expectation: Expectation, kwargs: Mapping[str, Any], place: str, schema: pa.Schema, time_zone: str
) -> Check:
    names, known, build = ROW_RULES[expectation.type]
    _check_args(kwargs, known | set(names) | {"mostly"})
    columns = tuple(kwargs[name] for name in names)
    kind, args = build(kwargs, [schema.field(column).type for column in columns], time_zone)
    policy = expectation.on_row_fail or ("quarantine" if expectation.severity == "critical" else "keep")
    rule = RuleSpec(
        rule=expectation.rule,
        fingerprint=expectation.fingerprint,
        expectation=expectation.type,
        place=place,
        kind=kind,
        columns=columns,
        severity=expectation.severity,
        on_row_fail=policy,
        args=args,
    )
    return Check(expectation=expectation, engine="kernel", columns=columns, on_row_fail=policy, rule=rule)


def _plain_kwargs(expectation: Expectation) -> dict[str, Any]:
    """The arguments that decide a verdict.

    Raises:
        Unsupported: One of them is GX's own language.
    """
    kwargs = {
        key: value
        for key, value in expectation.kwargs.items()
        if key not in NO_VERDICT and (value is not None or key == "exact_match")
    }
    for key, reason in SOLVED_BY_GX.items():
        if key in kwargs:
            raise Unsupported(reason)
    kwargs.pop("condition_parser", None)
    if any(isinstance(value, dict) for value in kwargs.values()):
        raise Unsupported("it takes a suite parameter")
    return kwargs


def _check_args(kwargs: Mapping[str, Any], known: frozenset[str] | set[str]) -> None:
    unknown = sorted(set(kwargs) - known)
    if unknown:
        raise Unsupported(f"it has arguments that batchscore does not know: {', '.join(unknown)}")


def _named_columns(expectation: Expectation) -> tuple[str, ...]:
    listed = expectation.kwargs.get("column_list")
    names = [expectation.kwargs.get(name) for name in (*ONE, *PAIR)]
    if isinstance(listed, list) and not expectation.type.startswith("expect_table_"):
        names.extend(listed)
    return tuple(name for name in names if isinstance(name, str))


def _check_columns(expectation: Expectation, columns: tuple[str, ...], schema: pa.Schema) -> None:
    """Refuse missing columns.

    Raises:
        InputError: A column is missing.
        Unsupported: A column lies within a struct, or its argument is missing.
    """
    if expectation.type == "expect_column_to_exist":
        return
    for name in columns:
        if name in schema.names:
            if len(schema.get_all_field_indices(name)) > 1:
                raise InputError(f"{expectation.where}: expected one column '{name}'; found several of that name.")
            continue
        outer = name.split(".")[0]
        if outer in schema.names and pa.types.is_struct(schema.field(outer).type):
            raise Unsupported(f"its column lies within the struct '{outer}'")
        close = difflib.get_close_matches(name, schema.names, n=3) or schema.names[:10]
        raise InputError(
            f"{expectation.where}: expected a column '{name}'; found none. "
            f"{'Close names' if close else 'There are no columns'}: {', '.join(close)}. Mend the suite or the table."
        )
    if expectation.type in ROW_RULES and len(columns) != len(ROW_RULES[expectation.type][0]):
        raise Unsupported("an argument that names its column is missing")
    if expectation.type in COLUMN_TALLIES and len(columns) != 1:
        raise Unsupported("an argument that names its column is missing")
