"""One run of one interval: plan, stage, judge, publish, audit; or nothing at all."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from batchscore.assembly import describe_features
from batchscore.attempts import Progress, begin_attempt, salted_key, silent
from batchscore.challengers import compare_scores, write_challenge
from batchscore.config import Job
from batchscore.errors import BatchscoreError, InputError, IntervalBlocked, ModelError, RunHeld, RunSuperseded
from batchscore.failures import retell
from batchscore.gating import check_reference, judge_gates
from batchscore.hooks import reached
from batchscore.intervals import Interval
from batchscore.judging import Verdict, judge_stage, stop_reason
from batchscore.jvm import submit_options
from batchscore.ledger import Standing, find_standing
from batchscore.lineups import describe_pinned
from batchscore.loading import config_sha256
from batchscore.outputs import Outputs, open_outputs, stamps_of
from batchscore.pinning import ModelBytes, pin_job_models, pinned_summary
from batchscore.planning import Prepared, code_version, describe_checks, prepare
from batchscore.plans import Plan
from batchscore.records import RunRecord, to_dict
from batchscore.scans import choose_scan, stage_interval
from batchscore.scoring.udf import score_rows
from batchscore.session import needs_delta
from batchscore.settlement import Settlement, settle
from batchscore.tables.read import find_duplicates, quote
from batchscore.tables.stage import Stage, read_stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MANY_FILES = 1000
REFUSALS: dict[str, type[BatchscoreError]] = {
    "superseded": RunSuperseded,
    "held": RunHeld,
    "blocked": IntervalBlocked,
}


def plan_interval(spark: SparkSession, job: Job, interval: Interval, *, force: bool = False) -> Plan:
    """Say what a run would do; reads metadata only and writes nothing."""
    try:
        target = open_outputs(spark, job)
        prepared, standing = _plan(spark, job, interval, force, None, target)
    except Exception as error:
        raise retell(error) from error
    return Plan(
        job=job.config.job,
        interval=interval.name,
        interval_label=str(interval),
        run_key=prepared.content_key,
        action=standing.action,
        generation=standing.generation,
        config_sha256=config_sha256(job.config),
        input=replace(prepared.input, whole=()),
        scan=choose_scan(spark, prepared).summary(),
        lookups=prepared.lookups,
        models=prepared.models,
        features=describe_features(prepared.features, prepared.spec.features),
        skew=tuple(asdict(one) for one in prepared.skew),
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
        scored = score_rows(spark, prepared.rows.limit(rows), prepared.spec, prepared.contents)
        columns = [quote(field.name) for field in prepared.fields]
        kept = scored.where("_outcome <> 'tally'").select(*columns, "_outcome", "_reasons")
        return [row.asDict(recursive=True) for row in kept.collect()]
    except Exception as error:
        raise retell(error) from error


def run_interval(
    spark: SparkSession,
    job: Job,
    interval: Interval,
    *,
    force: bool = False,
    model: ModelBytes | None = None,
    progress: Progress = silent,
) -> RunRecord:
    """Score one interval and publish it, or leave every table as it was.

    Args:
        spark: A session that `open_session` made.
        job: The job.
        interval: The interval.
        force: Publish again even where the same run key stands, and even an empty result.
        model: A pinned model to score with, in place of the job's; a rollback's pin comes first.
        progress: Called with the name of each step.

    Returns:
        The run's record; `status` is `published`, `held`, or `unchanged` where nothing had to be done.

    Raises:
        BatchscoreError: Anything that kept the run from publishing; the audit then has a record of it.
    """
    config = job.config
    attempt = begin_attempt(config.job, interval, config_sha256(config), code_version(), progress)
    with settle(open_outputs(spark, job), attempt) as settlement:
        return _run(spark, job, interval, force, model, settlement)


def _run(
    spark: SparkSession, job: Job, interval: Interval, force: bool, model: ModelBytes | None, settlement: Settlement
) -> RunRecord:
    attempt, target = settlement.attempt, settlement.target
    with attempt.step("repair"):
        target.ledger.repair()
    with attempt.step("plan"):
        settlement.planned_version = target.scores.version()  # first: what lands from here on is then read back
        prepared, standing = _plan(spark, job, interval, force, model, target)
        attempt.learn(**_planned(prepared, standing, force, attempt.run_id))
        if standing.action == "unchanged":
            return attempt.ended("unchanged", **_of_current(standing))
        if standing.action in REFUSALS:
            raise REFUSALS[standing.action](standing.message)
        _check_skew(prepared)
        check_reference(prepared, target)
        reached("plan.pinned")
        target.prepare_tables(prepared)
    with attempt.step("keys"):
        _check_keys(job, prepared)
        reached("keys.checked")
    settlement.material = prepared.key_material
    settlement.claim(attempt.run_id)
    with attempt.step("score", _known_rows(prepared)):
        settlement.note("started")
        reached("stage.noted")
        scan = choose_scan(spark, prepared)
        place = target.stages.location(attempt.run_id)
        stage, told = stage_interval(spark, prepared, scan, place, stamps_of(attempt.record, datetime.now(UTC)))
        attempt.learn(scan=told)
        reached("stage.written")
    return publish_stage(spark, prepared, stage, standing, settlement, force=force)


def publish_stage(
    spark: SparkSession, prepared: Prepared, stage: Stage, standing: Standing, settlement: Settlement, *, force: bool
) -> RunRecord:
    """Judge a whole stage, and publish it, hold it, or refuse it."""
    attempt, target = settlement.attempt, settlement.target
    with attempt.step("judge"):
        verdict = judge_stage(spark, prepared, stage)
        told = _judged(spark, attempt.run_id, verdict, stage)
        if prepared.models.challenger is not None:
            pinned, seen = attempt.record.challenger, told["runtime"].pop("challenger", {})
            told["challenger"] = {**pinned, **seen, "columns": compare_scores(spark, stage)}
        attempt.learn(**told)
        settlement.stage = stage
        reason = stop_reason(prepared, verdict, standing, force=force)
        if reason is not None:
            raise reason
        gating = judge_gates(prepared, verdict, target, attempt.record)
        attempt.learn(gates=tuple(to_dict(gate) for gate in gating.gates), distributions=gating.distributions)
        if gating.content:
            target.write_detail(gating.distributions["sha256"], gating.content)
        reached("stage.judged")
    holding = [gate for gate in gating.gates if gate.holds]
    if holding:
        return settlement.hold("; ".join(gate.sentence for gate in holding))
    settlement.note("staged")
    reached("stage.sealed")
    write_challenge(target, spark, stage, attempt.record)
    aside = None
    if verdict.counts["quarantined"]:
        rows = read_stage(spark, stage, "quarantined")
        aside = target.quarantined_rows(rows, prepared.source, attempt.record)
    return settlement.publish(target.staged_scores(stage, attempt.record), aside)


def _plan(
    spark: SparkSession, job: Job, interval: Interval, force: bool, model: ModelBytes | None, target: Outputs
) -> tuple[Prepared, Standing]:
    generation = target.ledger.generation(interval.name)  # before the account: a commit in between makes it stale
    account = target.ledger.account(interval.name)
    reached("plan.read")
    if account.blocked is not None:
        raise IntervalBlocked(find_standing(account, "", generation, str(interval), force=force).message)
    if account.pinned is not None:
        model = pin_job_models(job, account.pinned)
    prepared = prepare(spark, job, interval, model=model)
    return prepared, find_standing(account, prepared.content_key, generation, str(interval), force=force)


def submit_line(job: Job, interval: Interval) -> str:
    """The `spark-submit` line that runs this interval of this job."""
    span = ["--interval", interval.label] if interval.start else []
    options = submit_options(delta=needs_delta(job.config), comet=job.config.engine.accelerator == "comet")
    run = shlex.join(["jobs/score.py", "run", job.file, *span])
    return " ".join(part for part in ("spark-submit", options, run) if part)


def _planned(prepared: Prepared, standing: Standing, force: bool, run_id: str) -> dict[str, Any]:
    forced = force and standing.current is not None
    return {
        "kind": "force" if forced else "run",
        "generation": standing.generation,
        "content_key": prepared.content_key,
        "run_key": salted_key(prepared.content_key, run_id) if forced else prepared.content_key,
        "input": pinned_summary(prepared.input),
        "lookups": {name: pinned_summary(pinned) for name, pinned in prepared.lookups.items()},
        "model": prepared.models.summary(),
        "features": _describe_definitions(prepared),
        "challenger": {"model": describe_pinned(beside)} if (beside := prepared.models.challenger) else {},
    }


def _describe_definitions(prepared: Prepared) -> dict[str, Any]:
    skew = [asdict(one) for one in prepared.skew]
    return {"sha256": prepared.definitions.sha256, **({"skew": skew} if skew else {})}


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
        "tables": {"stage": stage.location},
    }


def _known_rows(prepared: Prepared) -> int | None:
    pinned = prepared.input
    return pinned.rows if pinned.rows is not None else pinned.rows_at_most if pinned.whole else None


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


def _check_skew(prepared: Prepared) -> None:
    """Refuse a model that was trained with other definitions of its features, where the job says so.

    Raises:
        ModelError: So it is.
    """
    if prepared.skew and prepared.job.config.features.on_hash_mismatch == "stop":
        raise ModelError(
            "features: expected the definitions that the model was trained with; found others "
            f"({name_skew(prepared)}). `batchscore plan` shows both. Restore them, train the model anew, or set "
            "features.on_hash_mismatch: warn."
        )


def name_skew(prepared: Prepared) -> str:
    """The models and features that differ, in few words."""
    models = dict.fromkeys(one.model for one in prepared.skew)
    named = [f"{model}: {', '.join(one.feature for one in prepared.skew if one.model == model)}" for model in models]
    return "; ".join(named)


def _warnings(prepared: Prepared) -> tuple[str, ...]:
    found = []
    if prepared.skew:
        stops = prepared.job.config.features.on_hash_mismatch == "stop"
        action = "a run would stop" if stops else "scores may be wrong"
        found.append(f"trained with other feature definitions, so {action}: {name_skew(prepared)}")
    if (prepared.input.files or 0) > MANY_FILES:
        found.append(
            f"{prepared.input.files:,} files hold the interval's rows: reading so many is slow. Compact the table "
            "upstream, for example by OPTIMIZE"
        )
    for check in describe_checks(prepared):
        if check.get("engine") == "gx" and check.get("why"):
            found.append(f"{check['rule']} {check['expectation']} runs in Great Expectations: {check['why']}")
    return tuple(found)
