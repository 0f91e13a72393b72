"""One run of one interval: plan, stage, judge, publish, audit; or nothing at all."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from batchscore.attempts import Progress, RunAttempt, begin_attempt, core_of, silent
from batchscore.audit.chain import canonical
from batchscore.config import Job
from batchscore.errors import ConfigError, InputError, RunSuperseded
from batchscore.failures import retell
from batchscore.interrupts import shielded, stop_requested
from batchscore.intervals import Interval
from batchscore.judging import Verdict, judge_stage, stop_reason
from batchscore.loading import config_sha256
from batchscore.outputs import Outputs, Standing, open_outputs
from batchscore.planning import Prepared, code_version, describe_checks, describe_features, pinned_summary, prepare
from batchscore.publish.protocol import METADATA_KEY, Attempt, Published, publish
from batchscore.records import Plan, RunRecord, to_dict
from batchscore.scoring.udf import score_rows
from batchscore.session import needs_delta, submit_jars
from batchscore.tables.read import find_duplicates, quote
from batchscore.tables.stage import Stage, claim_stage, read_stage, remove_stage, write_stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def plan_interval(spark: SparkSession, job: Job, interval: Interval, *, force: bool = False) -> Plan:
    """Say what a run would do; reads metadata only and writes nothing."""
    try:
        prepared = prepare(spark, job, interval)
        target = open_outputs(spark, job)
        standing = target.standing(prepared.run_key, interval, force=force)
    except Exception as error:
        raise retell(error) from error
    return Plan(
        job=job.config.job,
        interval=interval.name,
        interval_label=str(interval),
        run_key=prepared.run_key,
        action=standing.action,
        generation=standing.generation,
        config_sha256=prepared.config_sha256,
        input=prepared.input,
        lookups=prepared.lookups,
        model=prepared.model,
        features=describe_features(prepared),
        checks=describe_checks(prepared),
        outputs=target.locations(),
        columns=tuple((f.name, f.dataType.simpleString()) for f in prepared.fields),
        published=standing.current,
        submit_line=submit_line(job, interval),
        warnings=_warnings(prepared),
    )


def preview_interval(spark: SparkSession, job: Job, interval: Interval, rows: int) -> list[dict[str, Any]]:
    """Score some rows of an interval and give them back with their outcome; publishes nothing."""
    try:
        prepared = prepare(spark, job, interval)
        scored = score_rows(spark, prepared.rows.limit(rows), prepared.spec, prepared.model_bytes)
        columns = [quote(field.name) for field in prepared.fields]
        kept = scored.where("_outcome <> 'tally'").select(*columns, "_outcome", "_reasons")
        return [row.asDict(recursive=True) for row in kept.collect()]
    except Exception as error:
        raise retell(error) from error


def run_interval(
    spark: SparkSession, job: Job, interval: Interval, *, force: bool = False, progress: Progress = silent
) -> RunRecord:
    """Score one interval and publish it, or leave every table as it was.

    Args:
        spark: A session that `open_session` made.
        job: The job.
        interval: The interval.
        force: Publish again even where the same run key stands, and even an empty result.
        progress: Called with the name of each step.

    Returns:
        The run's record; `status` is `published`, or `unchanged` where nothing had to be done.

    Raises:
        BatchscoreError: Anything that kept the run from publishing; the audit then has a record of it.
    """
    config = job.config
    attempt = begin_attempt(config.job, interval, config_sha256(config), code_version(), progress)
    target = open_outputs(spark, job)
    spark.sparkContext.setJobGroup(attempt.run_id, f"batchscore {config.job} {interval.label}")
    try:
        return _run(spark, job, interval, force, attempt, target)
    except BaseException as error:
        told = stop_requested() or (error if isinstance(error, (KeyboardInterrupt, SystemExit)) else retell(error))
        if not isinstance(told, ConfigError):
            _record_failure(target, attempt, told)
        if told is error:
            raise
        raise told from error
    finally:
        with suppress(Exception):  # it must not hide what happened; a stage that stays is the next repair's
            remove_stage(spark, target.stage_location(attempt.run_id))


def _run(
    spark: SparkSession, job: Job, interval: Interval, force: bool, attempt: RunAttempt, target: Outputs
) -> RunRecord:
    with attempt.step("repair"):
        target.repair()
    with attempt.step("plan"):
        prepared = prepare(spark, job, interval)
        planned_version = target.scores.version()  # before the standing: what lands in between is then read back
        standing = target.standing(prepared.run_key, interval, force=force)
        attempt.learn(**_planned(prepared, standing, force, attempt.run_id))
        if standing.action == "unchanged":
            return attempt.ended("unchanged", **_of_current(standing))
        if standing.action == "superseded":
            raise RunSuperseded(standing.message)
        target.prepare_tables(prepared)
    with attempt.step("keys"):
        _check_keys(job, prepared)
    location = target.stage_location(attempt.run_id)
    with claim_stage(location):
        with attempt.step("score"):
            target.note_start(attempt.record)
            scored = score_rows(spark, prepared.rows, prepared.spec, prepared.model_bytes)
            stage = write_stage(spark, scored, location, job.config.output.format)
        with attempt.step("judge"):
            verdict = judge_stage(spark, prepared, stage)
            attempt.learn(**_judged(spark, attempt.run_id, verdict, stage))
            reason = stop_reason(prepared, verdict, standing, force=force)
            if reason is not None:
                raise reason
        with shielded():  # the commit is seconds away: a stop that comes now comes too late
            with attempt.step("publish"):
                published = _publish(spark, prepared, stage, attempt, target, planned_version)
            return _recorded(attempt, target, published)


def _recorded(attempt: RunAttempt, target: Outputs, published: Published) -> RunRecord:
    """The record of a run whose scores are published, once the audit has it too."""
    commits = {"scores": published.scores_version}
    if published.quarantine_version is not None:
        commits["quarantine"] = published.quarantine_version
    attempt.learn(commits={**attempt.record.commits, **commits})
    with attempt.step("audit"):
        additions = {"commits": commits, "timings_s": {"publish": attempt.timings_s["publish"]}}
        try:
            target.fold(additions={attempt.run_id: additions})
        except Exception as error:  # the scores are published; the next run, or `runs`, writes what is missing
            attempt.progress(
                f"warning: the scores are published; their audit record is not written yet: {retell(error)}"
            )
    return attempt.ended(published.outcome)


def _publish(
    spark: SparkSession, prepared: Prepared, stage: Stage, attempt: RunAttempt, target: Outputs, planned_version: int
) -> Published:
    record = attempt.ended("published")
    detail = canonical(to_dict(record)).encode()
    digest = sha256(detail).hexdigest()
    target.write_detail(digest, detail)
    scored = target.scored_rows(read_stage(spark, stage, "scored"), prepared, record)
    aside = None
    if record.counts["quarantined"]:
        aside = target.quarantined_rows(read_stage(spark, stage, "quarantined"), prepared, record)
    wish = Attempt(
        job=record.job,
        interval=record.interval,
        run_id=record.run_id,
        run_key=record.run_key,
        generation=record.generation,
        planned_version=planned_version,
        metadata=canonical({METADATA_KEY: core_of(record, digest, target.chain_head())}),
    )
    return publish(target.scores, target.quarantine, wish, scored, aside, attempt.progress)


def submit_line(job: Job, interval: Interval) -> str:
    """The `spark-submit` line that runs this interval of this job."""
    span = f" --interval {interval.label}" if interval.start else ""
    jars = f" {submit_jars()}" if needs_delta(job.config) else ""
    return f"spark-submit{jars} jobs/score.py run {job.file}{span}"


def _planned(prepared: Prepared, standing: Standing, force: bool, run_id: str) -> dict[str, Any]:
    forced = force and standing.current is not None
    salted = sha256(f"{prepared.run_key}/{run_id}".encode()).hexdigest()
    return {
        "kind": "force" if forced else "run",
        "generation": standing.generation,
        "run_key": salted if forced else prepared.run_key,
        "input": pinned_summary(prepared.input),
        "lookups": {name: pinned_summary(pinned) for name, pinned in prepared.lookups.items()},
        "model": {k: v for k, v in to_dict(prepared.model).items() if k not in ("inputs", "outputs")},
    }


def _of_current(standing: Standing) -> dict[str, Any]:
    current = standing.current or {}
    return {"counts": current.get("counts", {}), "generation": current.get("generation", 0)}


def _judged(spark: SparkSession, run_id: str, verdict: Verdict, stage: Stage) -> dict[str, Any]:
    jobs = len(spark.sparkContext.statusTracker().getJobIdsForGroup(run_id))
    return {
        "counts": verdict.counts,
        "reasons": verdict.reasons,
        "checks": tuple(to_dict(result) for result in verdict.results),
        "runtime": {**verdict.runtime, "spark_jobs": jobs},
        "commits": {"stage": 0},
        "tables": {"stage": stage.location},
    }


def _check_keys(job: Job, prepared: Prepared) -> None:
    key = job.config.input.key
    if not key or job.config.input.on_duplicate_key != "fail":
        return
    doubled = find_duplicates(prepared.source.select(*[quote(name) for name in key]), key).count()
    if doubled:
        raise InputError(
            f"input.key: expected {', '.join(key)} to be unique within the interval; found {doubled} keys with more "
            "than one row. Mend the table, or set input.on_duplicate_key to quarantine or keep."
        )


def _record_failure(target: Outputs, attempt: RunAttempt, error: BaseException) -> None:
    """Leave a record of a failed or cancelled attempt; a store that cannot take it must not hide the first error.

    A run that was stopped behind its commit is published, and the next repair records it as such.
    """
    cancelled = isinstance(error, (KeyboardInterrupt, SystemExit))
    attempt.learn(kind="failed", error="cancelled" if cancelled else str(error), error_type=type(error).__name__)
    event = to_dict(attempt.ended("cancelled" if cancelled else "failed"))
    try:
        published = any(core.get("run_id") == attempt.run_id for core in target.unfolded())
        target.fold(events=[] if published else [event])
    except Exception as second:
        attempt.progress(f"warning: the audit could not take the record of this failure: {retell(second)}")


def _warnings(prepared: Prepared) -> tuple[str, ...]:
    found = []
    for check in describe_checks(prepared):
        if check.get("engine") == "gx" and check.get("why"):
            found.append(f"{check['rule']} {check['expectation']} runs in Great Expectations: {check['why']}")
    return tuple(found)
