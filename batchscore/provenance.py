"""Provenance: where one row's score came from, down to input row, features, model and commit; and the score again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from batchscore.config import Job
from batchscore.errors import ConfigError, InputError
from batchscore.failures import retell
from batchscore.kernel.batch import run_kernel
from batchscore.kernel.filling import fill_features
from batchscore.kernel.reasons import Failures
from batchscore.kernel.tally import Tally
from batchscore.ledger import find_run
from batchscore.outputs import Outputs, open_outputs
from batchscore.planning import Prepared, describe_checks
from batchscore.records import show_model
from batchscore.rendering import Sheet, Shown
from batchscore.reopening import reopen_run
from batchscore.tables.read import quote

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


@dataclass(frozen=True, kw_only=True, slots=True)
class RowStory(Shown):
    """Where a row's score came from.

    Attributes:
        job: The job's name.
        key: The row's key.
        interval_label: Its interval.
        run_id: The run that readers see.
        outcome: `scored` or `quarantined`.
        model: The model, with its digests.
        tables: Input and lookups with their versions.
        commits: Versions of the output tables that the run made.
        input: The input row as of its version.
        features: The features as the model took them.
        checks: Row rules that were asked of it, and whether it passed.
        published: What was published.
        computed: The same, computed now.
        reasons: Why it was set aside, if it was.
        same_key: Whether the job file still gives the run's key.
    """

    job: str
    key: Mapping[str, Any]
    interval_label: str
    run_id: str
    outcome: str
    model: str
    tables: Mapping[str, str]
    commits: Mapping[str, int]
    input: Mapping[str, Any]
    features: Mapping[str, Any]
    checks: tuple[Mapping[str, Any], ...]
    published: Mapping[str, Any]
    computed: Mapping[str, Any]
    reasons: tuple[Mapping[str, Any], ...] = ()
    same_key: bool = True

    def sheet(self) -> Sheet:
        """The story laid out."""
        named = ", ".join(f"{name}={value}" for name, value in self.key.items())
        facts: list[tuple[str, Any]] = [
            ("outcome", self.outcome),
            ("run", self.run_id),
            ("model", self.model),
            *self.tables.items(),
            ("commits", self.commits),
        ]
        if not self.same_key:
            facts.append(("warning", "the job file has changed since the run: features or columns may be others"))
        scores = [
            [name, value, self.computed.get(name), _apart(value, self.computed.get(name))]
            for name, value in self.published.items()
        ]
        checks = [[one["rule"], one["expectation"], one["columns"], one["verdict"]] for one in self.checks]
        reasons = [[one["rule"] or one["kind"], one["column"], one["severity"]] for one in self.reasons]
        return Sheet(
            f"{self.job} · {self.interval_label} · {named}",
            facts,
            (
                ("set aside", ("rule", "column", "severity"), reasons),
                ("scores", ("column", "published", "computed now", "difference"), scores),
                ("input row", ("column", "value"), _pairs(self.input)),
                ("features, as the model took them", ("feature", "value"), _pairs(self.features)),
                ("checks of this row", ("rule", "expectation", "columns", "verdict"), checks),
            ),
        )


def explain_row(spark: SparkSession, job: Job, key: Mapping[str, str], interval: str | None) -> RowStory:
    """Where the published score of one row came from; it is computed again from the same input and model.

    Args:
        spark: A session that `open_session` made.
        job: The job; it needs `input.key`.
        key: A value for each of its columns, as text.
        interval: The interval's name, where the key occurs in several; None takes the newest.

    Raises:
        ConfigError: The key is not the job's.
        InputError: No published run has such a row, or what it was computed from is no longer kept.
        ModelError: The model's version is gone, or has other bytes.
    """
    try:
        return _explain(spark, job, key, interval)
    except Exception as error:
        raise retell(error) from error


def _explain(spark: SparkSession, job: Job, key: Mapping[str, str], interval: str | None) -> RowStory:
    keys = job.config.input.key
    if not keys or set(key) != set(keys):
        raise ConfigError(
            f"--key: expected a value for each of {', '.join(keys) or '(the job has no key)'}; found "
            f"{', '.join(key) or 'none'}. Write --key COLUMN=VALUE for each."
        )
    target = open_outputs(spark, job)
    target.ledger.repair()
    _check_types(target, key)
    run_id, row, reasons = _find_row(target, key, interval)
    record = find_run(target.ledger, run_id)
    reopened = reopen_run(spark, job, target, record)
    prepared = reopened.prepared
    source = prepared.source.where(_matches(prepared.source, key)).limit(2).collect()
    if len(source) != 1:
        raise InputError(
            f"--key: expected one row of input.table {prepared.input.table} with that key; found "
            f"{'none' if not source else 'several'}."
        )
    computed, features, tally = _compute(prepared, prepared.rows.where(_matches(prepared.rows, key)).toArrow())
    carried = (*keys, *job.config.output.passthrough)
    outputs = [field.name for field in prepared.fields if field.name not in carried]
    _show_moments(source_row := source[0].asDict(recursive=True), prepared.source, job)
    values = {name: source_row[name] for name in keys}
    return RowStory(
        job=job.config.job,
        key=values,
        interval_label=str(record["interval_label"]),
        run_id=run_id,
        outcome="scored" if reasons is None else "quarantined",
        model=_tell_model(record),
        tables=_tell_tables(record),
        commits=dict(record.get("commits") or {}),
        input=source_row,
        features=features,
        checks=tuple(_tell_checks(prepared, tally)),
        published={} if row is None else {name: row[name] for name in outputs if name in row},
        computed={name: computed.get(name) for name in outputs},
        reasons=tuple(reasons or ()),
        same_key=reopened.same_key,
    )


def _check_types(target: Outputs, key: Mapping[str, str]) -> None:
    """Refuse a value that cannot be of its column's type: nothing would be found, for no reason that one sees."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    types = target.scores.columns() if target.scores.exists() else {}
    for name, text in key.items():
        if name in types:
            value = target.spark.range(1).select(F.lit(text).try_cast(types[name]).isNotNull().alias("ok")).first()
            if value is not None and not value["ok"]:
                raise ConfigError(f"--key {name}: expected a value of type {types[name]}; found none.")


def _show_moments(row: dict[str, Any], frame: DataFrame, job: Job) -> None:
    """Timestamps in the job's zone with their offset, so that what is printed can be given as a key."""
    zone = ZoneInfo(job.config.interval.time_zone)
    for field in frame.schema.fields:
        if field.dataType.typeName() == "timestamp" and row.get(field.name) is not None:
            row[field.name] = row[field.name].astimezone(zone).isoformat(sep=" ")  # Spark gave the driver's clock


def _find_row(
    target: Outputs, key: Mapping[str, str], interval: str | None
) -> tuple[str, dict[str, Any] | None, list[dict[str, Any]] | None]:
    """The run that readers see a row of, with its scores, or the reasons why it was set aside."""
    found = []
    for frame in (target.scores.read() if target.scores.exists() else None, target.open_quarantine()):
        if frame is None or not set(key) <= set(frame.columns):
            continue
        rows = frame.where(_matches(frame, key))
        if interval is not None:
            rows = rows.where(rows["_interval"] == interval)
        found += [one.asDict(recursive=True) for one in rows.orderBy(rows["_interval"].desc()).limit(1).collect()]
    if not found:
        place = "" if interval is None else f" in interval {interval}"
        raise InputError(f"--key: expected a row that a published run scored or set aside{place}; found none.")
    newest = max(found, key=lambda one: str(one["_interval"]))
    aside = "_reasons" in newest
    return str(newest["_run_id"]), None if aside else newest, list(newest["_reasons"]) if aside else None


def _matches(frame: DataFrame, key: Mapping[str, str]) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    condition = F.lit(True)
    for name, text in key.items():
        column = frame[quote(name)]
        condition = condition & (column == F.lit(text).try_cast(frame.schema[name].dataType))
    return condition


def _compute(prepared: Prepared, table: pa.Table) -> tuple[dict[str, Any], dict[str, Any], Tally]:
    """What the kernel makes of one row here, the features as the model takes them, and its tally."""
    (batch,) = table.combine_chunks().to_batches()[:1]
    columns = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
    inputs = [spec for model in prepared.spec.scores.models for spec in model.inputs]
    filled = fill_features(prepared.spec.features, inputs, columns, Failures(batch.num_rows))
    computed: dict[str, Any] = {}
    tally = Tally()
    for out in run_kernel(iter([batch]), prepared.spec, prepared.contents.__getitem__, "here"):
        for row in out.to_pylist():
            if row["_outcome"] == "tally":
                tally = Tally.from_json(row["_tally"])
            elif row["_outcome"] == "scored":
                computed = row
    return computed, {name: column[0].as_py() for name, column in filled.items()}, tally


def _tell_checks(prepared: Prepared, tally: Tally) -> list[Mapping[str, Any]]:
    told: list[Mapping[str, Any]] = []
    for line in describe_checks(prepared):
        evaluated, failed = tally.rules.get(line["rule"], (0, 0))
        if line["rule"] in tally.rules:
            verdict = "FAIL" if failed else "PASS" if evaluated else "not asked (null)"
            told.append({**{k: line[k] for k in ("rule", "expectation", "columns")}, "verdict": verdict})
    return told


def _tell_model(record: Mapping[str, Any]) -> str:
    digest = (record.get("model") or {}).get("sha256")
    return f"{show_model(record.get('model'))}{f' sha256 {digest}' if digest else ''}"


def _tell_tables(record: Mapping[str, Any]) -> dict[str, str]:
    tables = {"input": record["input"], **{f"lookup {n}": one for n, one in (record.get("lookups") or {}).items()}}
    return {
        name: f"{one['table']}@{one['version']}" if one.get("version") is not None else str(one["table"])
        for name, one in tables.items()
    }


def _pairs(values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    return [[name, "null" if value is None else value] for name, value in values.items()]


def _apart(one: Any, other: Any) -> Any:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other)
    return 0.0 if one == other else "differs"
