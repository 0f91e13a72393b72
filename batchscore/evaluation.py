"""Evaluation: how good published scores were, once labels are there; computed in Spark, by model and segment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from batchscore.accuracy import measure_scores
from batchscore.attempts import make_event
from batchscore.config import Format, Job
from batchscore.errors import ConfigError, InputError
from batchscore.expressions import check_expression, guard, parse_column
from batchscore.features.build import find_fault
from batchscore.intervals import Interval
from batchscore.outputs import Outputs, open_outputs
from batchscore.pinning import resolve_table
from batchscore.rendering import Sheet, Shown
from batchscore.tables.pin import pin_table
from batchscore.tables.read import quote, read_pinned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Kind = Literal["auto", "binary", "regression"]
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MOST_SEGMENTS = 200
_SHOWN = {
    "binary": ("rows", "positives", "auc", "log_loss", "brier"),
    "regression": ("rows", "mean_error", "mean_absolute_error", "root_mean_squared_error", "r2"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation(Shown):
    """How good the scores of a range were.

    Attributes:
        job: The job's name.
        span: The range, half-open.
        kind: `binary` or `regression`.
        score: The output column.
        label: The label, as SQL.
        labels: The labels' table, with its version.
        scores_version: Version of the scores table.
        counts: Published rows: `scored`, `labelled`, and of these `used`, whose score is there and finite.
        models: Model, as `name/version`, to its figures.
        segments: Model to segment to its figures; empty where none were asked for.
        by: The column that the segments are values of.
    """

    job: str
    span: str
    kind: str
    score: str
    label: str
    labels: Mapping[str, Any]
    scores_version: int
    counts: Mapping[str, int]
    models: Mapping[str, Mapping[str, Any]]
    segments: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    by: str | None = None

    def sheet(self) -> Sheet:
        """The evaluation laid out."""
        names = _SHOWN[self.kind]
        facts = [
            ("rows", self.counts),
            ("score", self.score),
            ("label", self.label),
            ("labels", _at_version(self.labels)),
        ]
        tables: list[tuple[str, Sequence[str], list[list[Any]]]] = [
            ("by model", ("model", *names), [[m, *(one[n] for n in names)] for m, one in self.models.items()])
        ]
        for model, segments in self.segments.items():
            lines = [[segment, *(one[n] for n in names)] for segment, one in segments.items()]
            tables.append((f"{model}, by {self.by}", (str(self.by), *names), lines))
        for model, one in self.models.items() if self.kind == "binary" else ():
            cut = ("threshold", "precision", "recall", "f1")
            tables.append((f"{model}, scores at or above a threshold", cut, _lines(one["thresholds"], cut)))
            bins = ("from", "to", "rows", "mean_score", "positive_share")
            tables.append((f"{model}, calibration", bins, _lines(one["calibration"], bins)))
        return Sheet(f"evaluate {self.job} · {self.span}", facts, tables)


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is to be evaluated, and against what.

    Attributes:
        labels: The labels' table, as the config's tables are named.
        format: Its format.
        label: SQL expression over its columns.
        score: The output column; None where the job has one only.
        kind: `auto` takes boolean labels for `binary`, numbers for `regression`.
        by: A column of the scores whose values are segments.
        thresholds: Where precision and recall are taken.
    """

    labels: str
    format: Format = "delta"
    label: str = "label"
    score: str | None = None
    kind: Kind = "auto"
    by: str | None = None
    thresholds: tuple[float, ...] = THRESHOLDS


def evaluate_scores(
    spark: SparkSession, job: Job, intervals: Sequence[Interval] | None, question: Question
) -> Evaluation:
    """Join published scores with labels, measure them, and add the figures to the audit, one record for each model.

    Figures follow scikit-learn's definitions: `roc_auc_score`, `log_loss`, `brier_score_loss`, `calibration_curve`
    (ten bins of equal width), `precision_score`, `recall_score`, `mean_absolute_error`, `root_mean_squared_error`,
    `r2_score`. One that cannot be taken, such as the AUC of one class, is None.

    Args:
        spark: A session that `open_session` made.
        job: The job; it needs `input.key`.
        intervals: The intervals; None for the whole table.
        question: What is asked.

    Raises:
        ConfigError: The job has no key, the score or an expression is wrong, or the kind does not fit the labels.
        InputError: The labels' table is missing, lacks a key, has a key twice, or no row has a label.
    """
    target = open_outputs(spark, job)
    target.ledger.repair()
    _check(job, target, question)
    scores = target.scores.read()
    version = target.scores.version()
    name = _choose_score(job, question.score, dict(scores.dtypes))
    if intervals is not None:
        scores = scores.where(scores["_interval"].isin([interval.name for interval in intervals]))
    pinned = pin_table(
        spark,
        resolve_table(job, question.labels),
        question.format,
        named=question.labels,
        where="--labels",
        interval=None,
        column=None,
    )
    labels, kind = _labels(spark, job, read_pinned(spark, pinned), question)
    rows, counts = _join(scores, labels, job.config.input.key, name, question)
    _check_scores(rows, kind, name)
    models, segments = _measure(rows, kind, question)
    evaluation = Evaluation(
        job=job.config.job,
        span=_span(intervals),
        kind=kind,
        score=name,
        label=question.label,
        labels={"table": pinned.table, "version": pinned.version, "fingerprint": pinned.fingerprint},
        scores_version=version,
        counts=counts,
        models=models,
        segments=segments,
        by=question.by,
    )
    target.ledger.fold(events=_events(job, evaluation))
    return evaluation


def _at_version(labels: Mapping[str, Any]) -> str:
    version = labels.get("version")
    return str(labels["table"]) if version is None else f"{labels['table']}@{version}"


def _check(job: Job, target: Outputs, question: Question) -> None:
    for threshold in question.thresholds:
        if not 0 <= threshold <= 1:
            raise ConfigError(f"--threshold {threshold:g}: expected a number from 0 to 1.")
    if not job.config.input.key:
        raise ConfigError("input.key: expected a key, by which labels are joined; found none.")
    if not target.scores.exists():
        raise InputError(f"output.scores {target.scores.location}: expected published scores; found no table. Run one.")


def _choose_score(job: Job, asked: str | None, types: Mapping[str, str]) -> str:
    carried = {*job.config.input.key, *job.config.output.passthrough}
    numbers = [
        name
        for name, kind in types.items()
        if name not in carried and not name.startswith("_") and kind in ("float", "double")
    ]
    if asked is not None and asked in numbers:
        return asked
    if asked is not None or len(numbers) != 1:
        found = "several" if asked is None else asked
        raise ConfigError(f"--score: expected one of the columns {', '.join(numbers) or '(none)'}; found {found}.")
    return numbers[0]


def _labels(spark: SparkSession, job: Job, table: DataFrame, question: Question) -> tuple[DataFrame, str]:
    """The labels by key, as numbers, and their kind."""
    for key in job.config.input.key:
        if key not in table.columns:
            raise InputError(f"--labels {question.labels}: expected the key column '{key}'; found none of that name.")
    check_expression(spark, question.label, "--label", table.columns)
    plain = parse_column(spark, question.label, "--label")
    fault = find_fault(lambda: table.select(plain))
    if fault is not None:
        raise ConfigError(f"--label: {fault}")
    keys = [table[quote(key)] for key in job.config.input.key]
    made = table.select(*keys, guard(spark, plain).alias("_label"))
    found = dict(made.dtypes)["_label"]
    kind = question.kind if question.kind != "auto" else "binary" if found == "boolean" else "regression"
    if found != "boolean" and not found.startswith(("tinyint", "smallint", "int", "bigint", "float", "double", "dec")):
        raise ConfigError(f"--label: expected a boolean or a number; found {found}.")
    if found == "boolean":
        made = made.withColumn("_label", made["_label"].cast("int"))
    made = made.withColumn("_label", made["_label"].cast("double")).where("_label is not null and not isnan(_label)")
    return made, kind


def _join(
    scores: DataFrame, labels: DataFrame, keys: Sequence[str], name: str, question: Question
) -> tuple[DataFrame, dict[str, int]]:
    """Scores with their labels, and how many there are."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    if question.by is not None and question.by not in scores.columns:
        raise ConfigError(
            f"--by {question.by}: expected a column of the scores; they have {', '.join(scores.columns)}."
        )
    segment = F.lit(None) if question.by is None else scores[quote(question.by)]
    _check_key_types(scores, labels, keys, question)
    mine = scores.select(
        *[scores[quote(key)].alias(f"_k{i}") for i, key in enumerate(keys)],
        scores["_model"],
        segment.cast("string").alias("_segment"),
        scores[quote(name)].cast("double").alias("_score"),
    )
    theirs = labels.select(*[labels[quote(key)].alias(f"_k{i}") for i, key in enumerate(keys)], "_label")
    on = [f"_k{i}" for i in range(len(keys))]
    wanted = theirs.join(mine.select(*on).distinct(), on, "left_semi")
    doubled = wanted.groupBy(*on).count().where("count > 1").limit(1).count()
    if doubled:
        raise InputError(
            f"--labels {question.labels}: expected one label for each {', '.join(keys)}; found keys with several. "
            "Name a table that has one row for each."
        )
    joined = mine.join(theirs, on, "left")
    usable = F.col("_label").isNotNull() & F.col("_score").isNotNull() & (F.abs("_score") < F.lit(math.inf))
    usable = usable & ~F.isnan("_score")
    first = joined.agg(
        F.count(F.lit(1)).alias("scored"),
        F.count("_label").alias("labelled"),
        F.count_if(usable).alias("used"),
    ).first()
    assert first is not None
    counts = {key: int(first[key]) for key in ("scored", "labelled", "used")}
    if not counts["used"]:
        raise InputError(
            f"--labels {question.labels}: expected labels for published scores; found {counts['scored']} scores, "
            f"{counts['labelled']} of them with a label, and none to compare. Check the range and the keys."
        )
    return joined.where(usable).select("_model", "_segment", "_score", "_label"), counts


def _check_key_types(scores: DataFrame, labels: DataFrame, keys: Sequence[str], question: Question) -> None:
    mine, theirs = dict(scores.dtypes), dict(labels.dtypes)
    for key in keys:
        whole = {mine[key], theirs[key]} <= {"tinyint", "smallint", "int", "bigint"}
        if mine[key] != theirs[key] and not whole:
            raise InputError(
                f"--labels {question.labels}: expected the key column '{key}' as {mine[key]}, as the scores have it; "
                f"found {theirs[key]}. Cast it upstream."
            )


def _check_scores(rows: DataFrame, kind: str, name: str) -> None:
    from pyspark.sql import functions as F  # noqa: PLC0415

    if kind != "binary":
        return
    bad = rows.agg(
        F.count_if(~F.col("_label").isin(0.0, 1.0)).alias("labels"),
        F.count_if((F.col("_score") < 0) | (F.col("_score") > 1)).alias("scores"),
    ).first()
    assert bad is not None
    if bad["labels"]:
        raise ConfigError(
            f"--label: expected true or false, or 1 or 0; found {bad['labels']} rows with other numbers. For numbers, "
            "use --kind regression."
        )
    if bad["scores"]:
        raise ConfigError(
            f"--score {name}: expected probabilities from 0 to 1; found {bad['scores']} rows with others. For numbers, "
            "use --kind regression."
        )


def _measure(
    rows: DataFrame, kind: str, question: Question
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, dict[str, Any]]]]:
    models = {
        group[0]: figures for group, figures in measure_scores(rows, kind, ["_model"], question.thresholds).items()
    }
    segments: dict[str, dict[str, dict[str, Any]]] = {}
    if question.by is not None:
        if rows.select("_segment").distinct().limit(MOST_SEGMENTS + 1).count() > MOST_SEGMENTS:
            raise ConfigError(
                f"--by {question.by}: expected at most {MOST_SEGMENTS} segments; found more. Name a column with fewer "
                "values."
            )
        found = measure_scores(rows, kind, ["_model", "_segment"], question.thresholds)
        for (model, segment), figures in sorted(found.items()):
            segments.setdefault(model, {})[segment] = figures
    return dict(sorted(models.items())), segments


def _span(intervals: Sequence[Interval] | None) -> str:
    if not intervals:
        return "all"
    first, last = intervals[0].label, intervals[-1].label
    return first if first == last else f"{first} to {last}"


def _events(job: Job, evaluation: Evaluation) -> list[dict[str, Any]]:
    shared = ("span", "kind", "score", "label", "labels", "scores_version", "by")
    asked = {name: getattr(evaluation, name) for name in shared if getattr(evaluation, name) is not None}
    return [
        {
            **make_event("evaluation", job.config.job, None, None),
            "interval_label": evaluation.span,
            "model_label": model,
            "evaluation": asked,
            "figures": dict(figures),
            "segments": dict(evaluation.segments.get(model, {})),
        }
        for model, figures in evaluation.models.items()
    ]


def _lines(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
    return [[row[name] for name in names] for row in rows]
