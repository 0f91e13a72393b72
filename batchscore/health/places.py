"""The places that a job names: its registry and model, the tables that it reads, the tables that it writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from batchscore.config import InputConfig, Job, LookupConfig
from batchscore.errors import SetupError
from batchscore.health.checks import Check, attempt
from batchscore.pinning import pin_job_models
from batchscore.references import resolve_table
from batchscore.tables.catalog import expect_location, find_table
from batchscore.tables.locations import is_path, may_write, qualify
from batchscore.tables.locks import local_path
from batchscore.tables.pin import pin_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def check_places(job: Job, spark: SparkSession | None) -> Iterator[Check]:
    """Look at every place that a job names; nothing is written.

    Args:
        job: The job.
        spark: A session to look at tables with; None where none could be opened.
    """
    yield attempt("registry", partial(_describe_model, job))
    config = job.config
    if spark is not None:
        tables: dict[str, InputConfig | LookupConfig] = {"input.table": config.input}
        tables |= {f"lookups.{name}.table": lookup for name, lookup in config.lookups.items()}
        for where, read in tables.items():
            yield attempt(where, partial(_describe_table, spark, job, where, read.table, read.format))
    output = config.output
    places = {"scores": output.scores, "quarantine": output.quarantine_table, "audit": output.audit_table}
    for name, place in places.items():
        resolved = resolve_table(place, job.folder)
        if is_path(resolved):
            yield attempt(f"output.{name}", partial(_describe_place, resolved, place, name, spark))
        elif spark is not None:
            yield attempt(f"output.{name}", partial(_describe_name, spark, resolved))


def _describe_model(job: Job) -> str:
    lineup, _ = pin_job_models(job)
    told = [
        f"{model.label}{f' (alias {model.alias})' if model.alias else ''} loads: {model.size_bytes:,} bytes, sha256 "
        f"{model.sha256[:16]}…"
        for model in (*lineup.models, *([lineup.challenger] if lineup.challenger else []))
    ]
    return f"model {'; '.join(told)}"


def _describe_table(spark: SparkSession, job: Job, where: str, table: str, table_format: str) -> str:
    place = resolve_table(table, job.folder)
    pinned = pin_table(spark, place, table_format, named=table, where=where, interval=None, column=None)
    parts = [f"version {pinned.version}"] if pinned.version is not None else []
    if pinned.files is not None:  # a Delta table's files are not listed just to look at it
        parts.append(f"{pinned.files:,} file{'s' if pinned.files != 1 else ''}")
    return f"{table_format} table {table}: {', '.join(parts)}"


def _describe_name(spark: SparkSession, table: str) -> str:
    found = find_table(spark, table)
    if found is not None:
        return f"{table}: there, at {found}"
    return f"{table}: not there yet; the first run makes it at {expect_location(spark, table)}"


def _describe_place(resolved: str, place: str, name: str, spark: SparkSession | None) -> str:
    location = resolved if spark is None else qualify(spark, resolved)
    folder = local_path(location)
    if folder is None:
        if spark is None:
            return f"{place}: on another store, which is not looked at without Spark"
        if not may_write(spark, location):
            raise SetupError(
                f"output.{name}: expected a place that may be written to; the store says no. Correct its rights, or "
                f"output.{name}."
            )
        return f"{place}: on another store, which says that it may be written to"
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise SetupError(
            f"output.{name}: expected a folder to write to; {nearest} is none. Correct its rights, or output.{name}."
        )
    return f"{place}: {'there' if folder.exists() else 'not there yet; the first run makes it'}"
