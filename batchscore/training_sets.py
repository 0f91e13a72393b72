"""Training sets: a range of the input with exactly the features that scoring computes, and a label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from batchscore.assembly import check_columns, feature_rows
from batchscore.config import FeatureConfig, Job
from batchscore.errors import ConfigError
from batchscore.expressions import check_expression, guard, parse_column
from batchscore.features.build import find_fault
from batchscore.features.definitions import Definitions, define_features, read_sources
from batchscore.features.encoders import Constants
from batchscore.features.fitting import fit_encoders, write_constants
from batchscore.intervals import Interval
from batchscore.kernel.training import FillSpec, filled_type
from batchscore.pinning import pin_input, pin_lookups, pinned_summary
from batchscore.planning import arrow_schema
from batchscore.records import PinnedTable
from batchscore.references import resolve_file
from batchscore.rendering import Sheet, Shown
from batchscore.scoring.udf import fill_rows
from batchscore.tables.locations import list_names, qualify, read_file, write_file
from batchscore.tables.read import quote, read_interval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LABEL = "label"
_MADE = "_label"
NOTE = "_batchscore_features.json"  # readers of Parquet leave names with an underscore alone


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenSet(Shown):
    """A training set that is written.

    Attributes:
        job: The job.
        span: The range, half-open.
        input: The pinned input.
        lookups: The pinned lookups.
        columns: Its columns with their types.
        rows: Its rows.
        out: Where it lies.
    """

    job: str
    span: str
    input: Mapping[str, Any]
    lookups: Mapping[str, Any]
    columns: tuple[tuple[str, str], ...]
    rows: int
    out: str

    def sheet(self) -> Sheet:
        """The training set laid out."""
        facts = [
            ("input", _at_version(self.input)),
            *((f"lookup {name}", _at_version(pinned)) for name, pinned in self.lookups.items()),
            ("rows", self.rows),
            ("written to", self.out),
        ]
        columns = [list(column) for column in self.columns]
        return Sheet(f"training set {self.job} · {self.span}", facts, (("columns", ("name", "type"), columns),))


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedConstants(Shown):
    """Encoders' constants that are written.

    Attributes:
        job: The job.
        span: The range that they were fitted on, half-open.
        input: The pinned input.
        constants: By feature.
        file: Where they stand, as the config names it.
    """

    job: str
    span: str
    input: Mapping[str, Any]
    constants: Constants
    file: str

    def sheet(self) -> Sheet:
        """The constants laid out."""
        lines = [[name, str(one["do"]), _shown(one)] for name, one in self.constants.items()]
        facts = [("input", _at_version(self.input)), ("written to", self.file)]
        title = f"encoders {self.job} · {self.span}"
        return Sheet(title, facts, (("constants", ("feature", "encoder", "constants"), lines),))


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A training set of pinned tables; nothing is computed until its frame is read or saved.

    Attributes:
        frame: Keys, the interval's column, the label, and the features.
        job: The job's name.
        span: The range, half-open.
        input: The pinned input.
        lookups: The pinned lookups.
        definitions: What defines the features, for `log_model`.
    """

    frame: DataFrame
    job: str
    span: str
    input: PinnedTable
    lookups: Mapping[str, PinnedTable]
    definitions: Definitions

    def save(self, out: str, kind: Literal["parquet", "delta"] = "parquet") -> WrittenSet:
        """Write it to a new place, the definitions of its features beside it; no row is there until all are.

        Args:
            out: A path where nothing is yet.
            kind: How to store it.

        Raises:
            ConfigError: Something is there already.
        """
        spark = self.frame.sparkSession
        place = qualify(spark, out if "://" in out else str(Path(out).resolve()))
        if list_names(spark, place):
            raise ConfigError(f"--out {out}: expected a place where nothing is yet; found files. Name another.")
        self.frame.write.format(kind).save(place)
        write_file(spark, f"{place}/{NOTE}", self.definitions.logged().encode())
        written = spark.read.format(kind).load(place)
        return WrittenSet(
            job=self.job,
            span=self.span,
            input=pinned_summary(self.input),
            lookups={name: pinned_summary(pinned) for name, pinned in self.lookups.items()},
            columns=tuple(written.dtypes),
            rows=written.count(),
            out=place,
        )


def build_training_set(
    spark: SparkSession, job: Job, intervals: Sequence[Interval] | None, label: str | None
) -> TrainingSet:
    """The rows of a range with their features; needs no model.

    A row that scoring sets aside for a feature is left out; expectations are not asked.

    Args:
        spark: The session.
        job: The job; it names its features.
        intervals: The intervals; None for the whole of a snapshot.
        label: Spark SQL expression over the input's columns, null where it cannot be computed for a row; None for a
            set without labels.

    Raises:
        ConfigError: The job names no features, or an expression is wrong.
        InputError: A table or column is missing.
    """
    config = job.config
    if not config.features.columns:
        raise ConfigError("features.columns: expected the features of the training set; found none. Name them.")
    span = _span(job, intervals)
    sources = read_sources(job)
    pinned = pin_input(spark, job, span)
    lookups = pin_lookups(spark, job, pinned)
    source = read_interval(spark, pinned, span, config.interval.column)
    check_columns(config, source)
    column = config.interval.column if span.start else None
    carried = list(dict.fromkeys([*config.input.key, *([column] if column is not None else [])]))
    taken = {feature.name for feature in config.features.columns}
    if label is not None:
        if LABEL in {name.lower() for name in [*taken, *carried]}:
            raise ConfigError(f"label: expected no feature or key column of the name '{LABEL}'; rename it.")
        check_expression(spark, label, "label", source.columns)
        plain = parse_column(spark, label, "label")
        fault = find_fault(lambda: source.select(plain))
        if fault is not None:
            raise ConfigError(f"label: {fault}")
        source = source.select("*", guard(spark, plain).alias(_MADE))
    carried = [name for name in carried if name not in taken]
    extra = [*carried, *([_MADE] if label is not None else [])]
    made = feature_rows(spark, job, config.features.columns, source, None, lookups, sources=sources, extra=extra)
    kinds = {field.name: field.type for field in arrow_schema(made.rows)}
    fields = [pa.field(name, kinds[name]) for name in extra]
    fields += [pa.field(feature.name, filled_type(feature, kinds[feature.name])) for feature in made.features]
    needed = [n for n in kinds if n in {*extra, *taken, "_doubled"} or n.startswith("_failed_")]
    spec = FillSpec(carried=tuple(extra), features=made.features, schema=pa.schema(fields).serialize().to_pybytes())
    frame = fill_rows(made.rows.select(*[quote(name) for name in needed]), spec)
    if label is not None:
        frame = frame.withColumnRenamed(_MADE, LABEL)
    definitions = define_features(job, sources, config.features.columns)
    return TrainingSet(frame, config.job, str(span), pinned, lookups, definitions)


def read_definitions(spark: SparkSession, place: str) -> str:
    """The definitions of the features in a training set that was saved, as they are logged with a model.

    Raises:
        ConfigError: There is no such training set.
    """
    content = read_file(spark, f"{qualify(spark, place if '://' in place else str(Path(place).resolve()))}/{NOTE}")
    if content is None:
        raise ConfigError(f"training set {place}: expected one that batchscore wrote; found no {NOTE} there.")
    return content.decode()


def fit_constants(
    spark: SparkSession, job: Job, intervals: Sequence[Interval] | None, *, overwrite: bool = False
) -> FittedConstants:
    """Fit the constants of a job's encoders on a range of its input, and write them to `features.constants`.

    Args:
        spark: The session.
        job: The job.
        intervals: The intervals; None for the whole of a snapshot.
        overwrite: Whether constants that stand are replaced.

    Raises:
        ConfigError: The job has no encoders, or constants stand already.
        InputError: A table or column is missing, or a column has no values to fit.
    """
    config = job.config
    named = config.features.constants
    encoders = [feature for feature in config.features.columns if feature.encode is not None]
    if not encoders or named is None:
        raise ConfigError("features.columns: expected a feature with `encode` to fit; found none.")
    path = Path(resolve_file(named, job.folder))
    if path.exists() and not overwrite:
        raise ConfigError(f"features.constants: {named}: expected no such file yet; it is there. Add --overwrite.")
    span = _span(job, intervals)
    sources = read_sources(job, {})
    pinned = pin_input(spark, job, span)
    lookups = pin_lookups(spark, job, pinned)
    source = read_interval(spark, pinned, span, config.interval.column)
    check_columns(config, source)

    known = {name.lower() for name in source.columns}

    def rows_of(places: Sequence[int], constants: Constants, columns: Sequence[str]) -> DataFrame:
        chosen = [config.features.columns[place] for place in places]
        named = {feature.name for feature in chosen}
        helpers = [name for name in columns if name in sources.functions and name not in named]
        own = replace(
            sources, constants=constants, where_of=lambda i: sources.where_of(places[i] if i < len(places) else i)
        )
        extra = [name for name in columns if name.lower() in known]
        wanted = (*chosen, *(FeatureConfig(name=name) for name in helpers))
        return feature_rows(spark, job, wanted, source, None, lookups, sources=own, extra=extra).rows

    fitted = fit_encoders(config.features.columns, sources, rows_of)
    write_constants(path, fitted)
    return FittedConstants(job=config.job, span=str(span), input=pinned_summary(pinned), constants=fitted, file=named)


def _span(job: Job, intervals: Sequence[Interval] | None) -> Interval:
    config = job.config.interval
    if config.grain == "snapshot":
        return Interval("snapshot", "snapshot", None, None, config.time_zone)
    if not intervals:
        raise ConfigError("--start and --end: expected a range of at least one interval; found none.")
    first, last = intervals[0], intervals[-1]
    label = first.label if first == last else f"{first.label} to {last.label}"
    return replace(first, label=label, end=last.end)


def _shown(constants: Mapping[str, Any]) -> str:
    values = {key: json.dumps(value, ensure_ascii=False) for key, value in constants.items() if key != "do"}
    text = ", ".join(f"{key} {value}" for key, value in values.items())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _at_version(pinned: Mapping[str, Any]) -> str:
    version = pinned.get("version")
    return f"{pinned['table']} at version {version}" if version is not None else str(pinned["table"])
