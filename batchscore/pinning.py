"""Pinning: a job's tables and model, each fixed at one version before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchscore.config import Job
from batchscore.errors import InputError, ModelError
from batchscore.intervals import Interval
from batchscore.lineups import Lineup
from batchscore.records import PinnedModel, PinnedTable, to_dict
from batchscore.references import resolve_path, resolve_sqlite
from batchscore.tables.pin import pin_table
from batchscore.tables.read import read_interval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Pinned = tuple[PinnedModel, bytes]
Contents = Mapping[str, bytes]
ModelBytes = tuple[Lineup, Contents]  # by digest


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


def pin_one(job: Job, uri: str) -> Pinned:
    """A model of the job's registry, fixed at one version, with its bytes.

    Raises:
        ModelError: The model is missing, unsafe or will not load.
        RegistryError: The registry cannot be reached.
    """
    from batchscore.models.pin import pin_model  # noqa: PLC0415 - mlflow takes seconds to import

    registry = job.config.registry.uri
    return pin_model(uri, resolve_sqlite(registry, job.folder) if registry else None)


def pin_job_models(job: Job) -> ModelBytes:
    """The job's models, each fixed at one version, with their bytes.

    Raises:
        ModelError: A model is missing, unsafe or will not load.
        RegistryError: The registry cannot be reached.
    """
    config = job.config.model
    if config.segments is not None:
        pins = _Pins(job)
        by_value = {value: pins.add(uri) for value, uri in config.segments.models.items()}
        default = None if config.segments.default is None else pins.add(config.segments.default)
        return pins.line_up(by=config.segments.by, segments=by_value, default=default)
    pins = _Pins(job)
    for uri in [member.uri for member in config.ensemble] or [config.uri or ""]:
        pins.append(pin_one(job, uri))
    return pins.line_up(weights=tuple(member.weight for member in config.ensemble))


def pin_version(job: Job, model: Mapping[str, Any]) -> ModelBytes:
    """The registered versions that an audit record names, proved by the digests that they had.

    The challenger is today's: it decides nothing.

    Raises:
        ModelError: One is gone, or its bytes are others.
    """
    pins = _Pins(job)
    if "segments" in model:
        segments = model["segments"]
        known: dict[str, int] = {}
        for value, one in segments["models"].items():
            known[value] = pins.add(_uri(one), one["sha256"])
        default = segments["default"]
        place = pins.add(_uri(default), default["sha256"]) if default else None
        return pins.line_up(by=segments["by"], segments=known, default=place)
    members = model.get("ensemble") or [model]
    for one in members:
        pins.append(_prove(pin_one(job, _uri(one)), one["sha256"]))
    return pins.line_up(weights=tuple(one["weight"] for one in model.get("ensemble") or ()))


class _Pins:
    """Models as they are pinned one after the other."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._models: list[PinnedModel] = []
        self._contents: dict[str, bytes] = {}
        self._places: dict[str, int] = {}

    def append(self, pinned: Pinned) -> int:
        """Take a pinned model; returns its position."""
        self._models.append(pinned[0])
        self._contents[pinned[0].sha256] = pinned[1]
        return len(self._models) - 1

    def add(self, uri: str, sha256: str | None = None) -> int:
        """The position of the model that a URI names, which is pinned once."""
        if uri not in self._places:
            pinned = pin_one(self._job, uri)
            self._places[uri] = self.append(_prove(pinned, sha256) if sha256 else pinned)
        return self._places[uri]

    def line_up(self, **choice: Any) -> ModelBytes:
        """The lineup of the models so far, with the job's challenger."""
        challenger = self._job.config.model.challenger
        models = tuple(self._models)
        if challenger is None:
            return Lineup(models=models, **choice), self._contents
        beside, content = pin_one(self._job, challenger.uri)
        return Lineup(models=models, challenger=beside, **choice), {**self._contents, beside.sha256: content}


def _uri(model: Mapping[str, Any]) -> str:
    return f"models:/{model['name']}/{model['version']}"


def _prove(pinned: Pinned, sha256: str) -> Pinned:
    if pinned[0].sha256 != sha256:
        raise ModelError(
            f"model {pinned[0].label}: expected the bytes that were scored with (sha256 {sha256[:16]}…); the registry "
            f"has others ({pinned[0].sha256[:16]}…). Registered versions must not change: restore it."
        )
    return pinned


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
