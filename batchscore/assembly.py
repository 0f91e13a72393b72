"""The rows as the kernel takes them, put together from pinned tables, lookups and features; and what those are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batchscore.checks.compiled import FLAG_PREFIXES, CompiledSuite, columns_needed
from batchscore.checks.flags import build_flags
from batchscore.config import FeatureConfig, Job, JobConfig
from batchscore.errors import ConfigError, InputError
from batchscore.features.build import FeatureRows, Sources, build_features
from batchscore.features.definitions import Definitions, Skew, find_skew
from batchscore.features.lookups import add_lookups, flag_doubled
from batchscore.kernel.spec import FeatureSpec, ModelSpec, ScoresSpec
from batchscore.lineups import Lineup
from batchscore.records import PinnedTable
from batchscore.tables.lookback import read_span
from batchscore.tables.read import mark_duplicates, missing_columns, quote

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_RESERVED = frozenset(
    "_raw _duplicate _doubled _outcome _stage _reasons _tally _row _challenger "
    "_interval _run_id _generation _model _scored_at".split()
)


def feature_rows(
    spark: SparkSession,
    job: Job,
    chosen: tuple[FeatureConfig, ...],
    source: DataFrame,
    suite: CompiledSuite | None,
    lookups: Mapping[str, PinnedTable],
    *,
    sources: Sources,
    extra: Sequence[str] = (),
) -> FeatureRows:
    """The interval's rows with lookups, features, and whatever else the kernel reads."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    config = job.config
    rows, flags = source, []
    raw = [F.struct(*[F.col(quote(name)) for name in source.columns]).alias("_raw")] if carries_raw(config) else []
    if config.input.on_duplicate_key == "quarantine":
        rows = mark_duplicates(rows, config.input.key)
        flags.append(F.col("_duplicate"))
    if suite is not None:
        flags += build_flags(spark, source, suite.sql)
    doubled = flag_doubled(config.lookups)
    if doubled is not None:
        flags.append(doubled)
    tables = {name: read_span(spark, pinned) for name, pinned in lookups.items()}
    bounded = {name for name, pinned in lookups.items() if pinned.by}
    rows = add_lookups(rows, config.lookups, tables, bounded, lambda name: job.where(f"lookups.{name}"))
    checked = sorted(columns_needed(suite)) if suite is not None else []
    segments = config.model.segments
    by = [segments.by] if segments is not None and segments.by not in [f.name for f in chosen] else []
    needed = dict.fromkeys([*config.input.key, *config.output.passthrough, *checked, *by, *extra])
    built = build_features(spark, rows, chosen, needed=list(needed), flags=[*flags, *raw], sources=sources)
    plain = not flags and not config.lookups and all(step.kind == "input" for step in built.steps)
    return replace(built, plain=plain)


def choose_features(config: JobConfig, lineup: Lineup) -> tuple[FeatureConfig, ...]:
    """The job's features; where it names none, input columns by the names that the models know.

    Those are the columns of `model.inputs`, else of the MLflow signature, else the names of the ONNX inputs.
    """
    if config.features.columns:
        return config.features.columns
    own = config.model
    given = [member.inputs or own.inputs for member in own.ensemble] or [own.inputs] * len(lineup.models)
    models = list(lineup.models)
    if lineup.challenger is not None and own.challenger is not None:
        models.append(lineup.challenger)
        given.append(own.challenger.inputs or own.inputs)
    names: dict[str, None] = {}
    for model, inputs in zip(models, given, strict=True):
        named = [name for columns in inputs.values() for name in columns]
        named = named or list(model.signature_inputs) or [tensor.name for tensor in model.inputs]
        names |= dict.fromkeys(named)
    return tuple(FeatureConfig(name=name) for name in names)


def describe_features(rows: FeatureRows, specs: Sequence[FeatureSpec]) -> tuple[dict[str, Any], ...]:
    """One line for each feature: name, where it comes from, type, null policy, what it reads, whether it is slow."""
    types = dict(rows.rows.dtypes)
    steps = {step.name: step for step in rows.steps}
    described = []
    for spec in specs:
        step = steps[spec.name]
        policy = f"impute {spec.impute}" if spec.on_null == "impute" else spec.on_null
        line = {"name": spec.name, "from": step.origin, "type": types[spec.name], "on_null": policy}
        described.append({**line, "kind": step.kind, "reads": list(step.reads), "slow": step.kind == "arrow"})
    return tuple(described)


def check_columns(config: JobConfig, source: DataFrame) -> None:
    """Refuse an input table that lacks a column that the job names, or has one that batchscore adds.

    Raises:
        InputError: So it is.
    """
    segments = config.model.segments
    features = [feature.name for feature in config.features.columns]
    by = (segments.by,) if segments is not None and segments.by not in features else ()
    places = (("input.key", config.input.key), ("output.passthrough", config.output.passthrough))
    for where, names in (*places, ("model.segments.by", by)):
        missing = [name for name in names if name not in source.columns]
        if missing:
            raise InputError(missing_columns(missing, source.columns, where))
    reserved = [name for name in source.columns if name in _RESERVED or name.lower().startswith(FLAG_PREFIXES)]
    if reserved:
        raise InputError(f"input.table: column '{reserved[0]}' has a name that batchscore uses. Rename it upstream.")


def carries_raw(config: JobConfig) -> bool:
    """Whether the kernel carries whole rows: where a unique key proves which row failed, they are fetched after."""
    return config.input.on_duplicate_key != "fail" or not config.input.key


def check_unused(job: Job, rows: FeatureRows, scores: ScoresSpec, suite: CompiledSuite | None) -> None:
    """Refuse features that no model takes, no other feature reads, and no expectation asks about.

    Raises:
        ConfigError: There is one.
    """
    texts = list(_texts(_plain_suite(suite))) if suite is not None else []
    used = {name for model in _models_of(scores) for spec in model.inputs for name in spec.features} | {scores.by}
    listed = [step.name for step in rows.steps if step.listed]
    used |= {n for n in listed if any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", text) for text in texts)}
    for step in reversed(rows.steps):  # whoever reads a feature stands after it
        if step.name in used:
            folded = {name.lower() for name in step.reads}
            used |= {other.name for other in rows.steps if other.name.lower() in folded}
    for position, feature in enumerate(job.config.features.columns):
        if feature.name not in used:
            raise ConfigError(
                f"{job.where(f'features.columns.{position}')} ({feature.name}): expected a feature that a model takes, "
                "another feature reads, or an expectation asks about; found that nothing uses it. Remove it, or name "
                "it under model.inputs."
            )


def find_all_skew(lineup: Lineup, scores: ScoresSpec, own: Definitions) -> tuple[Skew, ...]:
    """Features that a model of the job was trained with in another form; models without a log of theirs say nothing."""
    pinned = [*lineup.models, *([lineup.challenger] if lineup.challenger is not None else [])]
    found: dict[Skew, None] = {}
    for model, spec in zip(pinned, _models_of(scores), strict=True):
        if model.features:
            taken = list(dict.fromkeys(name for one in spec.inputs for name in one.features))
            found |= dict.fromkeys(find_skew(model.label, model.features, taken, own))
    return tuple(found)


def _models_of(scores: ScoresSpec) -> tuple[ModelSpec, ...]:
    return (*scores.models, *([scores.challenger] if scores.challenger is not None else []))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)


def _plain_suite(suite: CompiledSuite) -> Any:
    return [one.kwargs for one in suite.suite.expectations]
