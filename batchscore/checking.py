"""Checks alone: what the expectations of one interval say, without scoring and without writing anything."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batchscore.assembly import check_columns, choose_features, feature_rows
from batchscore.checks.answers import Answer
from batchscore.checks.compiled import CompiledSuite, columns_needed
from batchscore.checks.flags import build_flags
from batchscore.checks.profile import profile_specs, suggest_suite
from batchscore.checks.suite import load_suites
from batchscore.checks.verdicts import judge, over_limit
from batchscore.config import Job
from batchscore.errors import ConfigError, InputError
from batchscore.expectations import Suite
from batchscore.failures import retell
from batchscore.features.build import FeatureRows
from batchscore.features.definitions import read_sources
from batchscore.intervals import Interval
from batchscore.judging import answer_rest, describe_stop
from batchscore.kernel.checking import CheckSpec
from batchscore.kernel.scan import ScanSpec
from batchscore.kernel.tally import Tally
from batchscore.outputs import open_outputs
from batchscore.pinning import pin_input, pin_job_models, pin_lookups
from batchscore.planning import arrow_schema, flag_features, ready_place
from batchscore.records import PinnedTable, to_dict
from batchscore.results import CheckReport, ExpectationResult, Place
from batchscore.scoring.udf import tally_files, tally_rows
from batchscore.tables.direct import find_pieces, share_out
from batchscore.tables.read import quote, read_interval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NO_SCORES = "no scores are published for this interval"


def check_interval(spark: SparkSession, job: Job, interval: Interval) -> CheckReport:
    """Ask every expectation of a job about one interval; writes nothing.

    The suites of input and features see the rows that a run would read. The suite of the scores sees what is
    published for the interval, and is left out where nothing is.

    Raises:
        ConfigError: The job has no expectations, or one of them is wrong.
        InputError: A table or column is missing.
    """
    started, group = time.monotonic(), uuid.uuid4().hex
    spark.sparkContext.setJobGroup(group, f"batchscore check {job.config.job} {interval}")
    try:
        results, counts, left_out = _check(spark, job, interval)
    except Exception as error:
        raise retell(error) from error
    finally:
        jobs = len(spark.sparkContext.statusTracker().getJobIdsForGroup(group))
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", "")
    return CheckReport(
        job=job.config.job,
        interval=interval.name,
        interval_label=str(interval),
        counts=counts,
        checks=tuple(to_dict(result) for result in results),
        left_out=left_out,
        stopped=_why_stopped(job, results, counts),
        spark_jobs=jobs,
        seconds=round(time.monotonic() - started, 3),
    )


def profile_interval(spark: SparkSession, job: Job, interval: Interval) -> dict[str, Any]:
    """A suite to start from, for the input rows of one interval; one pass, nothing is written.

    Raises:
        InputError: The table or its interval column is missing, or the interval has no rows.
    """
    try:
        source = read_interval(spark, pin_input(spark, job, interval), interval, job.config.interval.column)
        schema = arrow_schema(source)
        tally = tally_rows(source, CheckSpec(rules=(), tallies=profile_specs(schema)))
    except Exception as error:
        raise retell(error) from error
    if not tally.read:
        raise InputError(f"input.table {job.config.input.table}, interval {interval}: found no rows to profile.")
    return suggest_suite(f"{job.config.job}_input", schema, tally, interval_column=job.config.interval.column)


def _check(
    spark: SparkSession, job: Job, interval: Interval
) -> tuple[list[ExpectationResult], dict[str, int], dict[str, str]]:
    loaded = load_suites(job)
    if not loaded:
        raise ConfigError(f"{job.file}: checks: expected a suite or expectations to ask; found none.")
    results: list[ExpectationResult] = []
    counts = {"read": 0, "set_aside": 0}
    if "input" in loaded or "features" in loaded:
        found, tally = _check_rows(spark, job, interval, loaded)
        results += found
        counts = {"read": tally.read, "set_aside": tally.quarantined}
    left_out: dict[str, str] = {}
    if "output" in loaded:
        scores = _published(spark, job, interval)
        suite = None if scores is None else ready_place(job.config, loaded["output"], scores)
        if scores is None or suite is None:
            left_out["output"] = NO_SCORES
        else:
            tally = _tally(spark, scores, [suite])
            results += judge(suite, tally, answer_rest(scores, suite))
    return results, counts, left_out


def _check_rows(
    spark: SparkSession, job: Job, interval: Interval, loaded: Mapping[Place, Suite]
) -> tuple[list[ExpectationResult], Tally]:
    """The verdicts on input and features, from one pass over both."""
    config = job.config
    pinned = pin_input(spark, job, interval)
    source = read_interval(spark, pinned, interval, config.interval.column)
    check_columns(config, source)
    suite = ready_place(config, loaded.get("input"), source)
    frames: dict[Place, tuple[DataFrame, CompiledSuite | None]] = {"input": (source, suite)}
    rows, direct = source, None
    if "features" not in loaded:
        direct = pinned if config.engine.scan == "auto" else None
    else:
        features = _features(spark, job, pinned, source, suite)
        compiled = ready_place(config, loaded["features"], features.rows)
        rows = flag_features(spark, features, compiled).rows
        frames["features"] = (rows, compiled)
    suites = [suite for _, suite in frames.values() if suite is not None]
    tally = _tally(spark, rows, suites, flagged="features" in loaded, direct=direct, verify=config.engine.verify_pages)
    results: list[ExpectationResult] = []
    for frame, asked in frames.values():
        if asked is not None:
            answers: Mapping[str, Answer] = answer_rest(frame, asked) if asked.queries or asked.gx else {}
            results += judge(asked, tally, answers)
    return results, tally


def _features(
    spark: SparkSession, job: Job, pinned: PinnedTable, source: DataFrame, suite: CompiledSuite | None
) -> FeatureRows:
    config = job.config
    chosen = config.features.columns or choose_features(config, pin_job_models(job)[0])
    return feature_rows(spark, job, chosen, source, suite, pin_lookups(spark, job, pinned), sources=read_sources(job))


def _tally(
    spark: SparkSession,
    frame: DataFrame,
    suites: Iterable[CompiledSuite],
    *,
    flagged: bool = False,
    direct: PinnedTable | None = None,
    verify: bool = True,
) -> Tally:
    """What one pass over a frame counts for its suites.

    Args:
        spark: The session.
        frame: The rows.
        suites: What is asked of them.
        flagged: Whether the frame has the suites' Spark columns already.
        direct: The pinned table whose rows of the interval the frame is, where workers may read its files themselves.
        verify: Whether they verify the checksums of pages.
    """
    suites = list(suites)
    spec = CheckSpec(
        rules=tuple(rule for suite in suites for rule in suite.rules),
        tallies=tuple(tally for suite in suites for tally in suite.tallies),
    )
    flags = [column for suite in suites for column in suite.sql]
    needed = sorted({column for suite in suites for column in columns_needed(suite)})
    if direct is not None and not flags:
        columns = pa.schema([arrow_schema(frame).field(name) for name in needed])
        pieces = find_pieces(spark, direct, frame.schema, columns)
        if not isinstance(pieces, str):
            scan = ScanSpec(schema=columns.serialize().to_pybytes(), verify=verify)
            return tally_files(spark, share_out(pieces, spark.sparkContext.defaultParallelism), scan, spec)
    built: list[Any] = [quote(column.name) for column in flags] if flagged else build_flags(spark, frame, flags)
    return tally_rows(frame.select(*[quote(name) for name in needed], *built), spec)


def _published(spark: SparkSession, job: Job, interval: Interval) -> DataFrame | None:
    """The published scores of an interval, without what batchscore adds to them."""
    scores = open_outputs(spark, job).scores
    if not scores.exists():
        return None
    frame: DataFrame = scores.read().where(f"_interval = '{interval.name}'")
    if frame.isEmpty():
        return None
    added = ("_interval", "_run_id", "_generation", "_model", "_scored_at")
    return frame.select(*[quote(name) for name in frame.columns if name not in added])


def _why_stopped(job: Job, results: list[ExpectationResult], counts: Mapping[str, int]) -> str | None:
    stopping = [result for result in results if result.stops]
    if stopping:
        return describe_stop(stopping)
    limits = job.config.checks
    return over_limit(counts["set_aside"], counts["read"], limits.max_quarantine_pct, limits.max_quarantine_rows)
