"""Training sets: a range of the input with exactly the features that scoring computes, and a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.expressions import check_expression
from batchscore.features.build import find_fault
from batchscore.intervals import Interval
from batchscore.kernel.training import FillSpec, filled_type
from batchscore.pinning import pin_input, pin_lookups, pinned_summary
from batchscore.planning import arrow_schema, check_columns, feature_rows
from batchscore.records import PinnedTable
from batchscore.rendering import Sheet, Shown
from batchscore.scoring.udf import fill_rows
from batchscore.tables.locations import list_names, qualify
from batchscore.tables.read import quote, read_interval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LABEL = "label"
_MADE = "_label"


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


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A training set of pinned tables; nothing is computed until its frame is read or saved.

    Attributes:
        frame: Keys, the interval's column, the label, and the features.
        job: The job's name.
        span: The range, half-open.
        input: The pinned input.
        lookups: The pinned lookups.
    """

    frame: DataFrame
    job: str
    span: str
    input: PinnedTable
    lookups: Mapping[str, PinnedTable]

    def save(self, out: str, kind: Literal["parquet", "delta"] = "parquet") -> WrittenSet:
        """Write it to a new place; nothing is there until all of it is.

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
        label: Spark SQL expression over the input's columns; None for a set without labels.

    Raises:
        ConfigError: The job names no features, or an expression is wrong.
        InputError: A table or column is missing.
    """
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    config = job.config
    if not config.features.columns:
        raise ConfigError("features.columns: expected the features of the training set; found none. Name them.")
    span = _span(job, intervals)
    pinned, lookups = pin_input(spark, job, span), pin_lookups(spark, job)
    source = read_interval(spark, pinned, span, config.interval.column)
    check_columns(config, source)
    column = config.interval.column if span.start else None
    carried = list(dict.fromkeys([*config.input.key, *([column] if column is not None else [])]))
    taken = {feature.name for feature in config.features.columns}
    if label is not None:
        if LABEL in taken or LABEL in carried:
            raise ConfigError(f"label: expected no feature or key column of the name '{LABEL}'; rename it.")
        check_expression(spark, label, "label", source.columns)
        made_label = F.expr(label).alias(_MADE)
        fault = find_fault(lambda: source.select(made_label))
        if fault is not None:
            raise ConfigError(f"label: {fault}")
        source = source.select("*", made_label)
    carried = [name for name in carried if name not in taken]
    extra = [*carried, *([_MADE] if label is not None else [])]
    made = feature_rows(spark, config, config.features.columns, source, None, lookups, extra=extra)
    kinds = {field.name: field.type for field in arrow_schema(made.rows)}
    fields = [pa.field(name, kinds[name]) for name in extra]
    fields += [pa.field(feature.name, filled_type(feature, kinds[feature.name])) for feature in made.features]
    needed = [n for n in kinds if n in {*extra, *taken, "_doubled"} or n.startswith("_failed_")]
    spec = FillSpec(carried=tuple(extra), features=made.features, schema=pa.schema(fields).serialize().to_pybytes())
    frame = fill_rows(made.rows.select(*[quote(name) for name in needed]), spec)
    if label is not None:
        frame = frame.withColumnRenamed(_MADE, LABEL)
    return TrainingSet(frame, config.job, str(span), pinned, lookups)


def _span(job: Job, intervals: Sequence[Interval] | None) -> Interval:
    config = job.config.interval
    if config.grain == "snapshot":
        return Interval("snapshot", "snapshot", None, None, config.time_zone)
    if not intervals:
        raise ConfigError("--start and --end: expected a range of at least one interval; found none.")
    first, last = intervals[0], intervals[-1]
    label = first.label if first == last else f"{first.label} to {last.label}"
    return replace(first, label=label, end=last.end)


def _at_version(pinned: Mapping[str, Any]) -> str:
    version = pinned.get("version")
    return f"{pinned['table']} at version {version}" if version is not None else str(pinned["table"])
