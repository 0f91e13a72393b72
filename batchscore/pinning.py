"""Pinning: a job's tables and model, each fixed at one version before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batchscore import references
from batchscore.config import Job
from batchscore.errors import InputError, LineupChanged, ModelError
from batchscore.intervals import Interval
from batchscore.lineups import Lineup, members_of
from batchscore.patterns import MODEL_URI
from batchscore.records import PinnedModel, PinnedTable, to_dict
from batchscore.references import resolve_sqlite
from batchscore.tables.lookback import pin_span
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


def pin_job_models(job: Job, recorded: Mapping[str, Any] | None = None) -> ModelBytes:
    """The job's models, each fixed at one version, with their bytes.

    Args:
        job: The job; it says which models there are, with which weights and for which segments.
        recorded: Models as an audit record holds them: each of the job's is taken at the version that it had there,
            proved by its digest. The challenger is today's: it decides nothing.

    Raises:
        LineupChanged: The record has no version of one of the job's models.
        ModelError: A model is missing, unsafe or will not load, or its bytes are others than recorded.
        RegistryError: The registry cannot be reached.
    """
    config = job.config.model
    pins = _Pins(job, recorded)
    if config.segments is not None:
        by_value = {value: pins.add(uri) for value, uri in config.segments.models.items()}
        default = None if config.segments.default is None else pins.add(config.segments.default)
        return pins.line_up(by=config.segments.by, segments=by_value, default=default)
    for uri in [member.uri for member in config.ensemble] or [config.uri or ""]:
        pins.append(pins.pin(uri))
    return pins.line_up(weights=tuple(member.weight for member in config.ensemble))


class _Pins:
    """Models as they are pinned one after the other."""

    def __init__(self, job: Job, recorded: Mapping[str, Any] | None) -> None:
        self._job = job
        self._recorded = None if recorded is None else members_of(recorded)
        self._models: list[PinnedModel] = []
        self._contents: dict[str, bytes] = {}
        self._places: dict[str, int] = {}

    def append(self, pinned: Pinned) -> int:
        """Take a pinned model; returns its position."""
        self._models.append(pinned[0])
        self._contents[pinned[0].sha256] = pinned[1]
        return len(self._models) - 1

    def add(self, uri: str) -> int:
        """The position of the model that a URI names, which is pinned once."""
        if uri not in self._places:
            self._places[uri] = self.append(self.pin(uri))
        return self._places[uri]

    def pin(self, uri: str) -> Pinned:
        """The model that a URI names now, or that it named in the record."""
        if self._recorded is None:
            return pin_one(self._job, uri)
        one = _choose(uri, self._recorded)
        pinned, content = pin_one(self._job, f"models:/{one['name']}/{one['version']}")
        if pinned.sha256 != one["sha256"]:
            raise ModelError(
                f"model {pinned.label}: expected the bytes that were scored with (sha256 {one['sha256'][:16]}…); the "
                f"registry has others ({pinned.sha256[:16]}…). Registered versions must not change: restore it."
            )
        return replace(pinned, uri=uri), content

    def line_up(self, **choice: Any) -> ModelBytes:
        """The lineup of the models so far, with the job's challenger."""
        challenger = self._job.config.model.challenger
        models = tuple(self._models)
        if challenger is None:
            return Lineup(models=models, **choice), self._contents
        beside, content = pin_one(self._job, challenger.uri)
        return Lineup(models=models, challenger=beside, **choice), {**self._contents, beside.sha256: content}


def _choose(uri: str, recorded: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The recorded model that a URI of the job named: by the URI itself, or else by the model's name alone."""
    parts = MODEL_URI.match(uri)
    same = [one for one in recorded if parts is not None and one["name"] == parts[1]]
    exact = [one for one in same if one.get("uri") == uri]
    found = {one["version"]: one for one in exact or same}
    if len(found) != 1:
        known = ", ".join(dict.fromkeys(f"{one['name']}/{one['version']}" for one in recorded))
        raise LineupChanged(
            f"model {uri}: expected one version of it in the run whose models are kept; that run had {known}. The job "
            "names other models now: release the interval (`batchscore rollback --release`) if a rollback pinned it, "
            "or leave out `--model as-of`."
        )
    return next(iter(found.values()))


def resolve_table(job: Job, table: str) -> str:
    """A table's absolute path or catalog name."""
    return references.resolve_table(table, job.folder)


def pinned_summary(pinned: PinnedTable) -> dict[str, Any]:
    """A pinned table for the audit: all but the list of files, and of a span only what there is."""
    spanned = ("since", "until", "by")
    left_out = ("paths", "schema", "whole", "parts", "moments", "rows_at_most")
    plain = {k: v for k, v in to_dict(pinned).items() if k not in left_out}
    return {k: v for k, v in plain.items() if v is not None or k not in spanned}


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
        moments=sorted({lookup.at for lookup in job.config.lookups.values() if lookup.at is not None}),
    )


def pin_inputs(spark: SparkSession, job: Job, intervals: Sequence[Interval]) -> dict[str, PinnedTable]:
    """The job's input, pinned for each interval; by the interval's name."""
    return {interval.name: pin_input(spark, job, interval) for interval in intervals}


def pin_lookups(spark: SparkSession, job: Job, source: PinnedTable) -> dict[str, PinnedTable]:
    """The job's lookup tables, each at its latest version, narrowed to what the rows of an interval may know.

    Args:
        spark: The session.
        job: The job.
        source: The pinned input.
    """
    return narrow_lookups(spark, job, pin_whole_lookups(spark, job), source)


def narrow_lookups(
    spark: SparkSession, job: Job, lookups: Mapping[str, PinnedTable], source: PinnedTable
) -> dict[str, PinnedTable]:
    """Pinned lookups, those of points in time narrowed to the files that an interval's rows may know of.

    So what becomes known later, such as the next day's rows, changes nothing for the intervals before it. Where the
    statistics of the files do not say which those are, the whole table counts.
    """
    found = {}
    for name, pinned in lookups.items():
        lookup = job.config.lookups[name]
        moments = source.moments.get(lookup.at or "")
        if pinned.format == "delta" and lookup.known_at is not None and moments is not None:
            pinned = pin_span(spark, pinned, lookup.known_at, moments, lookup.back_s)  # noqa: PLW2901 - the same table
        found[name] = pinned
    return found


def pin_whole_lookups(spark: SparkSession, job: Job) -> dict[str, PinnedTable]:
    """The job's lookup tables, each at its latest version."""
    return {
        name: pin_table(
            spark,
            resolve_table(job, lookup.table),
            lookup.format,
            named=lookup.table,
            where=f"{job.where(f'lookups.{name}')}.table",
            interval=None,
            column=None,
        )
        for name, lookup in job.config.lookups.items()
    }
