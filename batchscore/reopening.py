"""Reopening: a run's inputs and models as they were, from its record, or a sentence on what is no longer kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchscore.config import Job
from batchscore.decisions import interval_of
from batchscore.errors import BatchscoreError, ConfigError, InputError, ModelError, RegistryError
from batchscore.ledger import PUBLISHING, content_key_of
from batchscore.outputs import Outputs
from batchscore.pinning import ModelBytes, pin_input, pin_job_models
from batchscore.planning import Prepared, prepare
from batchscore.records import PinnedTable
from batchscore.tables.locations import find_missing
from batchscore.tables.read import read_interval, read_pinned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, kw_only=True, slots=True)
class Reopened:
    """A run as it can be computed again.

    Attributes:
        record: Its record.
        prepared: The plan with the tables and models that it had.
        published: The rows that it published, at the version that it made.
        erased: Of these, rows that were erased since.
        same_key: Whether what decides the values is as it was, the job file included.
    """

    record: Mapping[str, Any]
    prepared: Prepared
    published: DataFrame
    erased: int
    same_key: bool


def reopen_run(spark: SparkSession, job: Job, target: Outputs, record: Mapping[str, Any]) -> Reopened:
    """A published run with its inputs by time travel and its models by their digests.

    Args:
        spark: The session.
        job: The job; its file must be as it was for the run.
        target: The job's outputs.
        record: The run's record.

    Raises:
        ConfigError: The run did not publish.
        InputError: A table, or the version of it that the run read or wrote, is gone; the message names which.
        ModelError: A model's version is gone, or has other bytes.
    """
    if record["kind"] not in PUBLISHING or "scores" not in (record.get("commits") or {}):
        raise ConfigError(f"run {record['run_id']}: expected a run that was published; it is {record['status']}.")
    prepared = reopen_plan(spark, job, record)
    published, erased = _published(spark, target, record)
    same = prepared.content_key == content_key_of(record)
    return Reopened(record=record, prepared=prepared, published=published, erased=erased, same_key=same)


def reopen_plan(
    spark: SparkSession, job: Job, record: Mapping[str, Any], *, model: ModelBytes | None = None
) -> Prepared:
    """The plan of a published run's interval, with the tables that the run pinned, and its models or others.

    Args:
        spark: The session.
        job: The job, as it is now.
        record: The run's record.
        model: Models to take instead.

    Raises:
        InputError: A version that the run read is gone; the message names which.
        ModelError: A model's version is gone, or has other bytes.
    """
    source, lookups = _reopen_tables(spark, job, record)
    if model is None:
        try:
            model = pin_job_models(job, record["model"])
        except (ModelError, RegistryError) as error:
            raise type(error)(f"run {record['run_id']} cannot be computed again: {error}") from error
    _check_kept(spark, job, record, source, lookups)
    return prepare(spark, job, interval_of(record, job), model=model, tables=(source, lookups))


def _published(spark: SparkSession, target: Outputs, record: Mapping[str, Any]) -> tuple[DataFrame, int]:
    """The rows that a run published, those that readers see or else those of the version that it made; rows erased."""

    def rows_of(frame: DataFrame) -> DataFrame:
        return frame.where((frame["_interval"] == record["interval"]) & (frame["_run_id"] == record["run_id"]))

    current = rows_of(target.scores.read())
    if current.count() == record["counts"]["scored"]:
        return current, 0
    seen = target.ledger.account(str(record["interval"])).current
    erased = target.ledger.erased_rows(record)
    if erased and seen is not None and seen["run_id"] == record["run_id"]:
        return current, erased
    version = int(record["commits"]["scores"])
    where = f"output.scores {target.scores.location}, version {version}"
    published = rows_of(_kept(where, lambda: target.scores.read_at(version)))
    _check_files(spark, where, published)
    return published, 0


def _reopen_tables(
    spark: SparkSession, job: Job, record: Mapping[str, Any]
) -> tuple[PinnedTable, dict[str, PinnedTable]]:
    lookups = {name: PinnedTable(**summary) for name, summary in (record.get("lookups") or {}).items()}
    summary = record["input"]
    if summary["format"] == "delta":
        return PinnedTable(**summary), lookups
    pinned = pin_input(spark, job, interval_of(record, job))
    if pinned.fingerprint != summary["fingerprint"]:
        raise InputError(
            f"input.table {pinned.table}: expected the Parquet files that the run read; they have changed since, and "
            "plain Parquet keeps no versions. Only a Delta table can be read as it was."
        )
    return pinned, lookups


def _check_kept(
    spark: SparkSession,
    job: Job,
    record: Mapping[str, Any],
    source: PinnedTable,
    lookups: Mapping[str, PinnedTable],
) -> None:
    interval, column = interval_of(record, job), job.config.interval.column
    where = f"input.table {source.table}{_version(source)}"
    _check_files(spark, where, _kept(where, lambda: read_interval(spark, source, interval, column)))
    for name, pinned in lookups.items():
        where = f"lookups.{name}.table {pinned.table}{_version(pinned)}"
        _check_files(spark, where, _kept(where, lambda pinned=pinned: read_pinned(spark, pinned)))


def _version(pinned: PinnedTable) -> str:
    return "" if pinned.version is None else f", version {pinned.version}"


def _kept(where: str, read: Any) -> Any:
    try:
        return read()
    except BatchscoreError:
        raise
    except Exception as error:
        raise InputError(_gone(where, "its log no longer has that version")) from error


def _check_files(spark: SparkSession, where: str, frame: DataFrame) -> None:
    missing = list(find_missing(spark, _files_of(where, frame)))
    if missing:
        raise InputError(_gone(where, f"{len(missing)} of its data files are gone, such as {missing[0]}"))


def _files_of(where: str, frame: DataFrame) -> Iterator[str]:
    yield from _kept(where, frame.inputFiles)


def _gone(where: str, what: str) -> str:
    return (
        f"{where}: expected it as the run left it; {what}. VACUUM, an erasure or the table's retention "
        "(delta.deletedFileRetentionDuration, delta.logRetentionDuration) has removed it, so the run cannot be "
        "computed again. Its record stays in the audit."
    )
