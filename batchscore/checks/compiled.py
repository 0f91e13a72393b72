"""Compiled suites: each expectation with what decides it, and what all of them together need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from batchscore.checks.queries import Query
from batchscore.checks.schema_rules import Decision
from batchscore.expectations import Expectation, Suite
from batchscore.kernel.spec import RuleSpec, TallySpec

FLAG_PREFIXES = ("_passes_", "_where_")  # of the names of Spark columns that suites ask for
Engine = Literal["kernel", "tally", "schema", "column", "query", "gx"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlColumn:
    """A boolean that Spark computes for each row, and the kernel reads.

    Attributes:
        name: Column name in the batch.
        sql: The expression.
        where: Where it is written, for messages.
        failing: What it is for a row for which it cannot be computed.
        null: What it is where the expression is null; None leaves it null, which is not evaluated.
        pattern: The Java regular expression in it, if any.
    """

    name: str
    sql: str
    where: str
    failing: bool
    null: bool | None = None
    pattern: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One expectation, and what decides it.

    Attributes:
        expectation: As the suite has it, but for the names of its columns, which are the table's.
        engine: `kernel`, `tally`, `schema`, `column` (a Spark column that the kernel reads), `query` or `gx`.
        columns: Columns that it names.
        on_row_fail: `quarantine` or `keep`, for row rules.
        why: Why only GX or a query can evaluate it, if so.
        rule: The kernel's rule.
        tally: What the kernel tallies for it; None for row counts, which every tally has.
        args: Typed bounds or values of a tally's verdict.
        decision: The schema's answer: success, and the observed value.
        query: What it asks of a look at all rows.
        sql: Spark columns that its rule or tally reads.
        written: SQL as people wrote it, which must parse by itself: what is put around it must not mend it.
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
    query: Query | None = None
    sql: tuple[SqlColumn, ...] = ()
    written: str | None = None


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
        """What the kernel tallies: one entry for each column and condition, all statistics together."""
        merged: dict[str, TallySpec] = {}
        for spec in (check.tally for check in self.checks if check.tally is not None):
            held = merged.get(spec.key, spec)
            merged[spec.key] = replace(
                spec,
                stats=held.stats | spec.stats,
                max_values=max(held.max_values, spec.max_values),
                wanted=tuple(dict.fromkeys([*held.wanted, *spec.wanted])),
            )
        return tuple(merged.values())

    @property
    def sql(self) -> tuple[SqlColumn, ...]:
        """Spark columns that the kernel reads, each once."""
        return tuple({column.name: column for check in self.checks for column in check.sql}.values())

    @property
    def queries(self) -> dict[str, Query]:
        """Rule id to query."""
        return {check.expectation.rule: check.query for check in self.checks if check.query is not None}

    @property
    def gx(self) -> tuple[Expectation, ...]:
        """Expectations that only Great Expectations can evaluate."""
        return tuple(check.expectation for check in self.checks if check.engine == "gx")


def columns_needed(compiled: CompiledSuite) -> set[str]:
    """The columns of the place that the kernel must be given for this suite; Spark columns are not among them."""
    rules = {column for rule in compiled.rules for column in rule.reads}
    return (rules | {spec.column for spec in compiled.tallies}) - {column.name for column in compiled.sql}


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
