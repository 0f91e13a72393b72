"""A suite compiled against a schema: what decides each expectation, and what that must be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from batchscore.checks.answers import answer_rows
from batchscore.checks.compiled import Check, CompiledSuite, SqlColumn
from batchscore.checks.names import MANY, ONE, named_columns, resolve_columns
from batchscore.checks.queries import QUERIES, Asked, Query, count_if
from batchscore.checks.row_rules import ROW_RULES
from batchscore.checks.schema_rules import SCHEMA_RULES
from batchscore.checks.sql import condition_sql, literal, quote
from batchscore.checks.table_rules import COLUMN_TALLIES, COUNTS, count_args, tally_column
from batchscore.checks.values import Unsupported, is_text
from batchscore.errors import ConfigError
from batchscore.expectations import ROW_SQL, ROWS_WHERE, UNEXPECTED_ROWS, Expectation, Suite
from batchscore.kernel.spec import RuleSpec, TallySpec

NO_VERDICT = frozenset({"batch_id", "catch_exceptions", "result_format", "include_config", "meta", "condition_parser"})
REGEXES = {"expect_column_values_to_match_regex": "{}", "expect_column_values_to_not_match_regex": "NOT ({})"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """One expectation on its way to a check: resolved arguments, and the condition on its rows."""

    expectation: Expectation
    kwargs: Mapping[str, Any]
    columns: tuple[str, ...]
    condition: str | None
    place: str
    schema: pa.Schema
    time_zone: str
    conditions: dict[str, str]

    @property
    def kinds(self) -> list[pa.DataType]:
        return [self.schema.field(column).type for column in self.columns]


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
    conditions: dict[str, str] = {}  # the same condition is computed once for all expectations that have it
    return CompiledSuite(
        suite=suite, checks=tuple(_compile(e, suite.place, schema, time_zone, conditions) for e in suite.expectations)
    )


def _compile(
    expectation: Expectation, place: str, schema: pa.Schema, time_zone: str, conditions: dict[str, str]
) -> Check:
    columns = named_columns(expectation.kwargs)
    try:
        kwargs, columns = resolve_columns(expectation, schema)
        expectation = replace(expectation, kwargs=kwargs)
        condition = condition_sql(kwargs, schema)
        request = _Request(
            expectation=expectation,
            kwargs=_plain_kwargs(kwargs),
            columns=columns,
            condition=condition,
            place=place,
            schema=schema,
            time_zone=time_zone,
            conditions=conditions,
        )
        check = _compile_native(request)
    except Unsupported as reason:
        check = Check(expectation=expectation, engine="gx", columns=columns, why=str(reason))
    if expectation.on_row_fail == "quarantine" and check.on_row_fail is None:
        why = f" ({check.why})" if check.why else ""
        raise ConfigError(
            f"{expectation.where}: expected a verdict on each row, for on_row_fail: quarantine; the expectation is "
            f"evaluated as a whole by {check.engine}{why}. Rewrite it, or remove on_row_fail."
        )
    return check


def _compile_native(request: _Request) -> Check:
    expectation, kwargs, kind = request.expectation, request.kwargs, request.expectation.type
    if kind in (ROW_SQL, UNEXPECTED_ROWS):
        return _compile_row_sql(request)
    if kind in ROW_RULES:
        try:
            return _compile_row(request)
        except Unsupported as reason:
            if kind not in REGEXES or "regex" not in str(reason):
                raise
            return _compile_java_regex(request, str(reason))
    if kind in SCHEMA_RULES:
        known, decide = SCHEMA_RULES[kind]
        _check_args(kwargs, known)
        decision = decide(kwargs, request.schema)
        return Check(expectation=expectation, engine="schema", columns=request.columns, decision=decision)
    if kind in COUNTS:
        _check_args(kwargs, COUNTS[kind])
        return _compile_count(request)
    if kind in COLUMN_TALLIES:
        try:
            return _compile_tally(request)
        except Unsupported:
            if kind not in QUERIES:
                raise
    if kind in QUERIES:
        return _compile_query(request)
    raise Unsupported("batchscore does not compile this expectation")


def _compile_row(request: _Request) -> Check:
    names, known, build = ROW_RULES[request.expectation.type]
    _check_args(request.kwargs, known | set(names) | {"mostly"})
    _expect_columns(request, names)
    kind, args = build(request.kwargs, request.kinds, request.time_zone)
    condition = _condition_column(request)
    check = _rule_check(request, kind, args=args)
    if condition is None or check.rule is None:
        return check
    return replace(check, rule=replace(check.rule, condition=condition.name), sql=(condition,))


def _compile_row_sql(request: _Request) -> Check:
    """A SQL condition that must not be false (ours), or must not be true (GX's unexpected rows)."""
    expectation = request.expectation
    if expectation.type == ROW_SQL:
        sql = expectation.kwargs["sql"]
        return replace(_compile_sql(request, f"({sql}\n)", null=True), written=sql)
    found = ROWS_WHERE.fullmatch(expectation.kwargs["unexpected_rows_query"])
    assert found is not None
    return _compile_sql(request, f"NOT ({found['where']}\n)", null=True)


def _compile_java_regex(request: _Request, why: str) -> Check:
    pattern = request.kwargs.get("regex")
    if not isinstance(pattern, str) or not is_text(request.kinds[0]):
        raise Unsupported(why)
    _check_args(request.kwargs, {"column", "regex", "mostly"})
    matches = f"{quote(request.columns[0])} RLIKE {literal(pattern)}"
    sql = REGEXES[request.expectation.type].format(matches)
    if request.condition is not None:
        sql = f"CASE WHEN {request.condition} THEN {sql} END"
    return _compile_sql(request, sql, pattern=pattern, why=why)


def _compile_sql(
    request: _Request, sql: str, *, null: bool | None = None, pattern: str | None = None, why: str = ""
) -> Check:
    """A rule whose verdict on each row is a Spark column; on scores, which Spark sees only later, a query."""
    rule = request.expectation.rule
    if request.place == "output":
        asked = "true" if null else f"({sql}) IS NOT NULL"
        figures = {"rows": count_if(asked), "wrong": count_if(f"NOT ({sql})")}
        query = Query(
            figures=figures, read=lambda found: answer_rows(found["rows"], found["wrong"], request.expectation.kwargs)
        )
        return Check(
            expectation=request.expectation,
            engine="query",
            columns=request.columns,
            query=query,
            why=why or "it is SQL",
        )
    name = f"_passes_{rule.replace('[', '_').rstrip(']')}"
    column = SqlColumn(name=name, sql=sql, where=request.expectation.where, failing=False, null=null, pattern=pattern)
    return replace(_rule_check(request, "passes", flag=name), engine="column", sql=(column,), why=why)


def _rule_check(request: _Request, kind: str, *, args: Mapping[str, Any] | None = None, flag: str = "") -> Check:
    expectation = request.expectation
    policy = expectation.on_row_fail or ("quarantine" if expectation.severity == "critical" else "keep")
    rule = RuleSpec(
        rule=expectation.rule,
        fingerprint=expectation.fingerprint,
        expectation=expectation.name if expectation.type == ROW_SQL else expectation.type,
        place=request.place,
        kind=kind,
        columns=request.columns,
        severity=expectation.severity,
        on_row_fail=policy,
        args=args or {},
        flag=flag,
    )
    return Check(expectation=expectation, engine="kernel", columns=request.columns, on_row_fail=policy, rule=rule)


def _compile_count(request: _Request) -> Check:
    condition, args = _condition_column(request), count_args(request.kwargs)
    check = Check(expectation=request.expectation, engine="tally", args=args)
    if condition is None:
        return check
    tally = TallySpec(place=request.place, column=condition.name, stats=frozenset({"count"}), condition=condition.name)
    return replace(check, tally=tally, sql=(condition,))


def _compile_tally(request: _Request) -> Check:
    kind = request.expectation.type
    _check_args(request.kwargs, COLUMN_TALLIES[kind][0] | set(ONE))
    _expect_columns(request, ONE)
    tally, args = tally_column(kind, request.place, request.kwargs, request.kinds[0], request.time_zone)
    condition = _condition_column(request)
    check = Check(expectation=request.expectation, engine="tally", columns=request.columns, tally=tally, args=args)
    if condition is None:
        return check
    return replace(check, tally=replace(tally, condition=condition.name), sql=(condition,))


def _compile_query(request: _Request) -> Check:
    known, build = QUERIES[request.expectation.type]
    _check_args(request.kwargs, known)
    _expect_columns(request, (MANY,) if MANY in known else ONE)
    asked = Asked(
        kwargs=request.kwargs, kinds=request.kinds, where=request.condition or "true", time_zone=request.time_zone
    )
    return Check(expectation=request.expectation, engine="query", columns=request.columns, query=build(asked))


def _condition_column(request: _Request) -> SqlColumn | None:
    """The Spark column of the expectation's row condition.

    A row for which the condition cannot be computed is asked about: better a needless failure than a hidden one.
    """
    if request.condition is None:
        return None
    if request.place == "output":
        raise Unsupported("its row_condition is on scores, which Spark sees only later")
    number = len(request.conditions)
    name = request.conditions.setdefault(request.condition, f"_where_{request.place}_{number}")
    return SqlColumn(name=name, sql=request.condition, where=request.expectation.where, failing=True, null=False)


def _plain_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that decide a verdict, without the row condition.

    Raises:
        Unsupported: One of them is GX's own language.
    """
    plain = {
        key: value
        for key, value in kwargs.items()
        if key not in NO_VERDICT and key != "row_condition" and (value is not None or key == "exact_match")
    }
    if "windows" in plain:
        raise Unsupported("it has windows of earlier results")
    if any(isinstance(value, dict) and "$PARAMETER" in value for value in plain.values()):
        raise Unsupported("it takes a suite parameter")
    return plain


def _check_args(kwargs: Mapping[str, Any], known: frozenset[str] | set[str]) -> None:
    unknown = sorted(set(kwargs) - known)
    if unknown:
        raise Unsupported(f"it has arguments that batchscore does not know: {', '.join(unknown)}")


def _expect_columns(request: _Request, names: tuple[str, ...]) -> None:
    listed = request.kwargs.get(MANY) if names == (MANY,) else [request.kwargs.get(name) for name in names]
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
        raise Unsupported("an argument that names its column is missing")
    if tuple(listed) != request.columns:
        raise Unsupported("it names more columns than it takes")
