"""Judging a stage: tallies merged, counts proved, expectations decided, before anything becomes visible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchscore.checks.answers import Answer
from batchscore.checks.compiled import CompiledSuite
from batchscore.checks.dataset import run_queries
from batchscore.checks.verdicts import judge, over_limit
from batchscore.errors import BatchscoreError, ChecksFailed, InputError, ScoringError, WriteError
from batchscore.kernel.bisect import too_many_failed
from batchscore.kernel.columns import ColumnTally
from batchscore.kernel.distributions import Distribution
from batchscore.kernel.tally import Tally
from batchscore.ledger import Standing
from batchscore.planning import Prepared
from batchscore.results import ExpectationResult, Place
from batchscore.tables.stage import Stage, read_stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a stage amounts to.

    Attributes:
        counts: `read`, `scored`, `quarantined`.
        reasons: Rows by reason; a row with two reasons counts in both.
        results: The verdict on every expectation.
        runtime: Workers, providers, versions, latencies, memory.
        failed_rows: Rows that ONNX Runtime refused on their own.
        distributions: Place and column to how values are distributed.
        ranges: Output column to range, sum and missing values.
    """

    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    results: tuple[ExpectationResult, ...]
    runtime: Mapping[str, Any]
    failed_rows: int = 0
    distributions: Mapping[str, Mapping[str, Distribution]] = field(default_factory=dict)
    ranges: Mapping[str, ColumnTally] = field(default_factory=dict)


def judge_stage(spark: SparkSession, prepared: Prepared, stage: Stage) -> Verdict:
    """Merge the tallies of a committed stage and decide every expectation.

    Raises:
        WriteError: The committed rows are not the rows that the tasks tallied.
        InputError: The tasks received another number of rows than the pinned files hold.
    """
    rows = read_stage(spark, stage, "tally").select("_tally").collect()
    tally = Tally.merge(Tally.from_json(row["_tally"]) for row in rows)
    counts = {
        "read": tally.read,
        "scored": stage.counts.get("scored", 0),
        "quarantined": stage.counts.get("quarantined", 0),
    }
    _prove_counts(prepared, tally, counts)
    results: list[ExpectationResult] = []
    for place, suite in prepared.suites.items():
        answers: dict[str, Answer] = {}
        if suite.queries or suite.gx:
            answers = answer_rest(_frame_of(spark, prepared, stage, place), suite)
        results.extend(judge(suite, tally, answers))
    return Verdict(
        counts=counts,
        reasons=dict(tally.reasons),
        results=tuple(results),
        runtime=tally.runtime(),
        failed_rows=tally.failed_rows,
        distributions=tally.distributions,
        ranges=tally.columns.get("scores", {}),
    )


def stop_reason(prepared: Prepared, verdict: Verdict, standing: Standing, *, force: bool) -> BatchscoreError | None:
    """Why a judged run must not be published; None where it may.

    A row rule that sets rows aside never stops a run by itself; limits, critical verdicts and an empty result do.
    """
    counts, config = verdict.counts, prepared.job.config
    held = config.gates.output is not None  # a gate then decides what failing scores mean
    stopping = [result for result in verdict.results if result.stops and not (held and result.place == "output")]
    if stopping:
        return ChecksFailed(describe_stop(stopping))
    may_fail = config.scoring.max_failed_rows
    if verdict.failed_rows > may_fail:
        found = f"{verdict.failed_rows}, where {may_fail} may fail"
        return ScoringError(too_many_failed(found, _most(verdict.reasons)))
    limit = over_limit(
        counts["quarantined"], counts["read"], config.checks.max_quarantine_pct, config.checks.max_quarantine_rows
    )
    if limit is not None:
        return ChecksFailed(f"checks: {limit} {_most(verdict.reasons)}")
    if counts["scored"] or force:
        return None
    if counts["read"]:
        return ChecksFailed(
            f"checks: all {counts['read']} rows were set aside, so there is nothing to publish. "
            f"{_most(verdict.reasons)} Mend the input or the rules, or publish the empty result with --force."
        )
    where = f"input.table {prepared.input.table}, interval {prepared.interval}"
    if config.interval.schedule is not None and not config.input.allow_empty:
        return InputError(
            f"{where}: expected rows, since the job is scheduled {config.interval.schedule}; found none. "
            "Check that the table was loaded, or set input.allow_empty: true."
        )
    if standing.current is not None and standing.current.get("counts", {}).get("scored"):
        return InputError(
            f"{where}: found no rows, but run {standing.current['run_id']} published scores for it. "
            "An empty result replaces scores only with --force."
        )
    return None


def answer_rest(frame: DataFrame, suite: CompiledSuite) -> dict[str, Answer]:
    """What the one pass cannot say of a place: from one query, and from Great Expectations."""
    answers = run_queries(frame, suite.queries)
    if suite.gx:
        from batchscore.checks.engine import run_gx  # noqa: PLC0415 - great_expectations takes seconds to import

        answers |= run_gx(frame, suite.gx)
    return answers


def _prove_counts(prepared: Prepared, tally: Tally, counts: Mapping[str, int]) -> None:
    if tally.scored != counts["scored"] or tally.quarantined != counts["quarantined"]:
        raise WriteError(
            f"stage: expected {tally.scored} scored and {tally.quarantined} quarantined rows, as the tasks tallied; "
            f"the commit holds {counts['scored']} and {counts['quarantined']}. Nothing was published; run again."
        )
    if counts["read"] != counts["scored"] + counts["quarantined"]:
        raise WriteError(
            f"stage: expected read = scored + quarantined; found {counts['read']} read, {counts['scored']} scored, "
            f"{counts['quarantined']} quarantined. Nothing was published."
        )
    if prepared.input.rows is not None and counts["read"] != prepared.input.rows:
        raise InputError(
            f"input.table {prepared.input.table}: expected {prepared.input.rows} rows by the statistics of the pinned "
            f"files; the tasks received {counts['read']}. A lookup or the storage changed the number; nothing was "
            "published."
        )


def _frame_of(spark: SparkSession, prepared: Prepared, stage: Stage, place: Place) -> DataFrame:
    if place == "input":
        return prepared.source
    if place == "features":
        return prepared.rows
    return read_stage(spark, stage, "scored").select(*[f"`{field.name}`" for field in prepared.fields])


def describe_stop(stopping: list[ExpectationResult]) -> str:
    """One sentence on the expectations that stop a run."""
    more = f"; and {len(stopping) - 5} more" if len(stopping) > 5 else ""
    return (
        f"checks: {len(stopping)} critical expectation{'s' if len(stopping) > 1 else ''} failed: "
        f"{'; '.join(describe_stops(stopping[:5]))}{more}. Mend the data, or change the suite. The old scores stay "
        "visible."
    )


def describe_stops(stopping: list[ExpectationResult]) -> list[str]:
    """A few words on each expectation that was not met."""
    parts = []
    for result in stopping:
        columns = f" ({', '.join(result.columns)})" if result.columns else ""
        found = result.error or (
            f"{result.unexpected} of {result.evaluated} rows failed"
            if result.unexpected is not None
            else f"found {result.observed}"
        )
        parts.append(f"{result.rule} {result.expectation}{columns}: {found}")
    return parts


def _most(reasons: Mapping[str, int]) -> str:
    top = sorted(reasons.items(), key=lambda item: -item[1])[:3]
    return f"Most frequent reasons: {', '.join(f'{name} ({count} rows)' for name, count in top)}." if top else ""
