"""Verdicts: what counts mean for each expectation as Great Expectations would say it, and which of them stop a run."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from batchscore.checks.answers import Answer, answer_rows
from batchscore.checks.compiled import Check, CompiledSuite
from batchscore.checks.table_rules import COLUMN_TALLIES, COUNTS, is_between
from batchscore.kernel.columns import ColumnTally
from batchscore.kernel.tally import Tally
from batchscore.results import ExpectationResult


def judge(compiled: CompiledSuite, tally: Tally, answers: Mapping[str, Answer]) -> tuple[ExpectationResult, ...]:
    """Give the verdict on every expectation of a suite, in its order.

    Success is GX's: the share of evaluated rows that pass is at least `mostly`, and no evaluated rows pass. What stops
    a run is ours: see `_stops`.

    Args:
        compiled: The suite.
        tally: Everything that the tasks tallied.
        answers: Rule id to answer, for what queries and GX evaluate.
    """
    return tuple(_finish(check, _find_verdict(check, tally, answers), compiled) for check in compiled.checks)


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


def _find_verdict(check: Check, tally: Tally, answers: Mapping[str, Answer]) -> Answer:
    rule = check.expectation.rule
    if check.rule is not None:
        return answer_rows(*tally.rules.get(rule, (0, 0)), check.expectation.kwargs)
    if check.engine in ("gx", "query"):
        return answers.get(rule, Answer(success=False, error="nothing gave a verdict on it"))
    if check.decision is not None:
        return Answer(success=check.decision[0], observed=check.decision[1])
    place = rule.partition("[")[0]
    if check.tally is None:
        rows = tally.rows_at(place)
        return Answer(success=is_between(rows, check.args), observed=rows)
    column = tally.columns.get(place, {}).get(check.tally.key, ColumnTally())
    if check.expectation.type in COUNTS:
        return Answer(success=is_between(column.rows, check.args), observed=column.rows)
    success, observed = COLUMN_TALLIES[check.expectation.type][2](column, check.args)
    return Answer(success=success, observed=observed)


def _finish(check: Check, verdict: Answer, compiled: CompiledSuite) -> ExpectationResult:
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
        mostly=expectation.kwargs.get("mostly") if verdict.unexpected is not None else None,
        name=expectation.name,
    )


def _stops(check: Check, verdict: Answer) -> bool:
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
