"""Verdicts: what counts mean for each expectation as Great Expectations would say it, and which of them stop a run."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batchscore.checks.compile import Check, CompiledSuite
from batchscore.checks.table_rules import COLUMN_TALLIES, is_between
from batchscore.kernel.columns import ColumnTally
from batchscore.kernel.tally import Tally
from batchscore.records import ExpectationResult


@dataclass(frozen=True, kw_only=True, slots=True)
class GxVerdict:
    """What Great Expectations says of one expectation.

    Attributes:
        success: Its verdict.
        evaluated: Rows with a value, where it counts rows.
        unexpected: Rows that failed, where it counts them.
        observed: Observed value, where it has one.
        error: Why it could not be evaluated; holds no cell values.
    """

    success: bool
    evaluated: int | None = None
    unexpected: int | None = None
    observed: Any = None
    error: str | None = None


def judge(compiled: CompiledSuite, tally: Tally, gx_results: Mapping[str, GxVerdict]) -> tuple[ExpectationResult, ...]:
    """Give the verdict on every expectation of a suite, in its order.

    Success is GX's: the share of evaluated rows that pass is at least `mostly`, and no evaluated rows pass. What stops
    a run is ours: see `_stops`.

    Args:
        compiled: The suite.
        tally: Everything that the tasks tallied.
        gx_results: Rule id to verdict, for the expectations of `compiled.gx`.
    """
    return tuple(_finish(check, _find_verdict(check, tally, gx_results), compiled) for check in compiled.checks)


def over_limit(quarantined: int, read: int, max_pct: float, max_rows: int | None) -> str | None:
    """Say that too many rows were set aside; None if not.

    Args:
        quarantined: Rows set aside, all reasons together.
        read: Rows read.
        max_pct: Percent of the rows read that may be set aside.
        max_rows: Rows that may be; None for no limit.
    """
    found = f"found {quarantined} of {read} rows set aside"
    if max_rows is not None and quarantined > max_rows:
        return f"expected at most {max_rows} quarantined rows (checks.max_quarantine_rows); {found}."
    if quarantined * 100 > max_pct * read:
        share = f"{quarantined * 100 / read:.2f} %" if read else "more rows than were read"
        return f"expected at most {max_pct:g} % of the rows quarantined (checks.max_quarantine_pct); {found}, {share}."
    return None


def _find_verdict(check: Check, tally: Tally, gx_results: Mapping[str, GxVerdict]) -> GxVerdict:
    rule = check.expectation.rule
    if check.engine == "kernel":
        evaluated, unexpected = tally.rules.get(rule, (0, 0))
        mostly = check.expectation.kwargs.get("mostly")
        passed = not evaluated or (evaluated - unexpected) / evaluated >= (1 if mostly is None else mostly)
        return GxVerdict(success=passed, evaluated=evaluated, unexpected=unexpected)
    if check.engine == "gx":
        return gx_results.get(rule, GxVerdict(success=False, error="Great Expectations gave no verdict"))
    if check.decision is not None:
        return GxVerdict(success=check.decision[0], observed=check.decision[1])
    place = rule.partition("[")[0]
    if check.tally is None:
        rows = tally.rows_at(place)
        return GxVerdict(success=is_between(rows, check.args), observed=rows)
    column = tally.columns.get(place, {}).get(check.tally.column, ColumnTally())
    success, observed = COLUMN_TALLIES[check.expectation.type][2](column, check.args)
    return GxVerdict(success=success, observed=observed)


def _finish(check: Check, verdict: GxVerdict, compiled: CompiledSuite) -> ExpectationResult:
    expectation = check.expectation
    return ExpectationResult(
        rule=expectation.rule,
        expectation=expectation.type,
        columns=check.columns,
        place=compiled.suite.place,
        severity=expectation.severity,
        engine=check.engine,
        on_row_fail=check.on_row_fail,
        success=verdict.success,
        evaluated=verdict.evaluated,
        unexpected=verdict.unexpected,
        observed=to_json_value(verdict.observed),
        stops=_stops(check, verdict),
        error=verdict.error,
        fingerprint=expectation.fingerprint,
    )


def _stops(check: Check, verdict: GxVerdict) -> bool:
    """Whether a verdict keeps the run from publishing.

    An expectation that could not be evaluated stops at any severity. A failed one stops at `critical`; but where its
    failing rows are set aside, only if the suite states a `mostly`, which says how many such rows are too many.
    """
    if verdict.error is not None:
        return True
    if verdict.success or check.expectation.severity != "critical":
        return False
    return check.on_row_fail != "quarantine" or check.expectation.kwargs.get("mostly") is not None


def to_json_value(value: Any) -> Any:
    """An observed value as JSON: dates as ISO text, decimals and infinities as text, NaN as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else repr(value)
    if isinstance(value, Mapping):
        return {str(key): to_json_value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(inner) for inner in value]
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
