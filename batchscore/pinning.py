"""Pinning: a job's tables and model, each fixed at one version before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchscore.config import Job
from batchscore.errors import InputError, ModelError
from batchscore.intervals import Interval
from batchscore.records import PinnedModel, PinnedTable, to_dict
from batchscore.references import resolve_path, resolve_sqlite
from batchscore.tables.pin import pin_table
from batchscore.tables.read import read_interval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ModelBytes = tuple[PinnedModel, bytes]


def reopen_input(spark: SparkSession, job: Job, interval: Interval, summary: Mapping[str, Any]) -> DataFrame:
    """The rows of an interval as an older run read them.

    Args:
        spark: The session.
        job: The job.
        interval: The interval.
        summary: The run's input, as its record holds it.

    Raises:
        InputError: The table no longer has those rows.
    """
    if summary["format"] == "delta":
        pinned = PinnedTable(**summary)
    else:
        pinned = pin_input(spark, job, interval)
        if pinned.fingerprint != summary["fingerprint"]:
            raise InputError(
                f"input.table {pinned.table}: expected the files that the run read; they have changed since, so rows "
                "set aside cannot be fetched. Run the interval again."
            )
    return read_interval(spark, pinned, interval, job.config.interval.column)


def pin_job_model(job: Job, uri: str | None = None) -> ModelBytes:
    """The job's model, or another one of its registry, fixed at one version, with its bytes.

    Raises:
        ModelError: The model is missing, unsafe or will not load.
        RegistryError: The registry cannot be reached.
    """
    from batchscore.models.pin import pin_model  # noqa: PLC0415 - mlflow takes seconds to import

    registry = job.config.registry.uri
    return pin_model(uri or job.config.model.uri, resolve_sqlite(registry, job.folder) if registry else None)


def pin_version(job: Job, model: Mapping[str, Any]) -> ModelBytes:
    """The registered version that an audit record names, proved by the digest that it had.

    Raises:
        ModelError: It is gone, or its bytes are others.
    """
    label = f"{model['name']}/{model['version']}"
    pinned, content = pin_job_model(job, f"models:/{label}")
    if pinned.sha256 != model["sha256"]:
        raise ModelError(
            f"model {label}: expected the bytes that were scored with (sha256 {str(model['sha256'])[:16]}…); the "
            f"registry has others ({pinned.sha256[:16]}…). Registered versions must not change: restore it."
        )
    return pinned, content


def resolve_table(job: Job, table: str) -> str:
    """A table's absolute path or catalog name."""
    return resolve_path(table, job.folder)


def pinned_summary(pinned: PinnedTable) -> dict[str, Any]:
    """A pinned table for the audit: all but the list of files."""
    return {k: v for k, v in to_dict(pinned).items() if k != "paths"}


def pin_input(spark: SparkSession, job: Job, interval: Interval) -> PinnedTable:
    """The job's input at its latest version, with the files that can hold the interval."""
    config = job.config.input
    return pin_table(
        spark,
        resolve_table(job, config.table),
        config.format,
        named=config.table,
        where="input.table",
        interval=interval,
        column=job.config.interval.column,
    )


def pin_inputs(spark: SparkSession, job: Job, intervals: Sequence[Interval]) -> dict[str, PinnedTable]:
    """The job's input, pinned for each interval; by the interval's name."""
    return {interval.name: pin_input(spark, job, interval) for interval in intervals}


def pin_lookups(spark: SparkSession, job: Job) -> dict[str, PinnedTable]:
    """The job's lookup tables, each at its latest version."""
    return {
        name: pin_table(
            spark,
            resolve_table(job, lookup.table),
            lookup.format,
            named=lookup.table,
            where=f"lookups.{name}.table",
            interval=None,
            column=None,
        )
        for name, lookup in job.config.lookups.items()
    }
