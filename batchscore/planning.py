"""Planning: pin everything, compile checks, match the model, and say what a run would do, before any row is read."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batchscore.assembly import carries_raw, check_columns, check_unused, choose_features, feature_rows, find_all_skew
from batchscore.checks.compiled import CompiledSuite, describe
from batchscore.checks.flags import build_flags
from batchscore.checks.ready import ready_suite
from batchscore.checks.suite import PLACES, load_suites
from batchscore.config import Job, JobConfig
from batchscore.errors import ConfigError
from batchscore.expectations import Suite
from batchscore.features.build import FeatureRows
from batchscore.features.definitions import Definitions, Skew, define_features, read_sources
from batchscore.intervals import Interval
from batchscore.kernel.batch import stage_schema
from batchscore.kernel.distributions import is_numeric, is_watched
from batchscore.kernel.spec import FeatureSpec, KernelSpec, ScoresSpec
from batchscore.keys import digest_key, key_material
from batchscore.lineups import Lineup
from batchscore.pinning import Contents, ModelBytes, pin_input, pin_job_models, pin_lookups
from batchscore.records import PinnedTable
from batchscore.references import resolve
from batchscore.results import Place
from batchscore.scoring.lineup import Matched, match_lineup
from batchscore.scoring.resources import session_spec
from batchscore.session import has_comet
from batchscore.tables.read import read_interval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructField


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything that a plan, a preview and a run of one interval share.

    Attributes:
        job: The job.
        interval: The interval.
        input: The pinned input table.
        lookups: The pinned lookup tables.
        models: The pinned models.
        contents: Their bytes, by digest.
        suites: Compiled suites by place.
        source: The interval's rows as they stand in the input table.
        features: The job's features, or where it names none, the columns that the model asks for.
        definitions: What defines them.
        skew: Those that a model was trained with in another form.
        spec: What the kernel does with them.
        fields: Spark fields of the scores table's keys, passthrough and outputs.
        key_fields: Spark fields of the keys.
        challenger_fields: Spark fields of the keys and of the challenger's outputs; empty without one.
        key_material: Everything that decides the values.
        content_key: Its digest.
    """

    job: Job
    interval: Interval
    input: PinnedTable
    lookups: Mapping[str, PinnedTable]
    models: Lineup
    contents: Contents
    suites: Mapping[Place, CompiledSuite]
    source: DataFrame
    features: FeatureRows
    definitions: Definitions
    skew: tuple[Skew, ...]
    spec: KernelSpec
    fields: tuple[StructField, ...]
    key_fields: tuple[StructField, ...]
    challenger_fields: tuple[StructField, ...]
    key_material: Mapping[str, Any]
    content_key: str

    @property
    def rows(self) -> DataFrame:
        """The interval's rows as the kernel takes them."""
        return self.features.rows


def prepare(
    spark: SparkSession,
    job: Job,
    interval: Interval,
    *,
    model: ModelBytes | None = None,
    tables: tuple[PinnedTable, Mapping[str, PinnedTable]] | None = None,
) -> Prepared:
    """Pin input, lookups and models, and fit them together; reads metadata only.

    Args:
        spark: The session.
        job: The job.
        interval: The interval.
        model: Models that are pinned already, in place of the job's.
        tables: Input and lookups that are pinned already, as an older run had them.

    Raises:
        InputError: A table or column is missing or of the wrong kind.
        ConfigError: A suite or an expression is wrong.
        ModelError: A model is missing, unsafe, or does not fit the features and outputs.
        RegistryError: The registry cannot be reached.
    """
    from pyspark.sql.types import StructType  # noqa: PLC0415 - keeps `validate` free of Spark

    config = job.config
    sources = read_sources(job)
    pinned = pin_input(spark, job, interval) if tables is None else tables[0]
    lookups = pin_lookups(spark, job, pinned) if tables is None else tables[1]
    lineup, contents = model or pin_job_models(job)
    native = config.engine.accelerator != "none" and not config.engine.verify_pages and has_comet(spark)
    source = read_interval(spark, pinned, interval, config.interval.column, native=native)
    check_columns(config, source)
    loaded = load_suites(job)
    compiled: dict[Place, CompiledSuite | None] = {"input": ready_place(config, loaded.get("input"), source)}
    chosen = choose_features(config, lineup)
    features = feature_rows(spark, job, chosen, source, compiled["input"], lookups, sources=sources)
    types = {field.name: field.type for field in arrow_schema(features.rows)}
    compiled["features"] = ready_place(config, loaded.get("features"), features.rows)
    features = flag_features(spark, features, compiled["features"])
    carried = [*config.input.key, *config.output.passthrough]
    matched = match_lineup(lineup, config.model, features.features, types, carried)
    check_unused(job, features, matched.scores, compiled["features"])
    definitions = define_features(job, sources, chosen)
    scored = [pa.field(n, k) for n, k in ({**{n: types[n] for n in carried}, **matched.columns}).items()]
    _check_column_names(config, [field.name for field in scored])
    fields = _spark_fields(scored)
    beside = [pa.field(name, kind) for name, kind in matched.challenger.items()]
    scores = spark.createDataFrame([], StructType(list(fields)))
    compiled["output"] = ready_place(config, loaded.get("output"), scores)
    suites: dict[Place, CompiledSuite] = {p: c for p in PLACES if (c := compiled[p]) is not None}
    spec = _kernel_spec(config, features, suites, matched, types, scored, beside)
    spec = _watch(config, spec, types, matched.columns, pinned)
    digests = {place: suite.suite.sha256 for place, suite in suites.items()}
    material = key_material(config, interval, pinned, lookups, lineup, digests, definitions.keyed)
    return Prepared(
        job=job,
        interval=interval,
        input=pinned,
        lookups=lookups,
        models=lineup,
        contents=contents,
        suites=suites,
        source=source,
        features=features,
        definitions=definitions,
        skew=() if config.features.on_hash_mismatch == "ignore" else find_all_skew(lineup, matched.scores, definitions),
        spec=spec,
        fields=fields,
        key_fields=fields[: len(config.input.key)],
        challenger_fields=(*fields[: len(config.input.key)], *_spark_fields(beside)) if beside else (),
        key_material=material,
        content_key=digest_key(material),
    )


def describe_checks(prepared: Prepared) -> tuple[Mapping[str, str], ...]:
    """One line for each expectation: rule, name, columns, severity, engine."""
    return tuple(line for suite in prepared.suites.values() for line in describe(suite))


def resolved_conf(job: Job) -> dict[str, str]:
    """`engine.conf` with its references expanded."""
    return {key: resolve(value, job.folder) for key, value in job.config.engine.conf.items()}


def code_version() -> str:
    """Version of the installed package."""
    return importlib.metadata.version("batchscore")


def _kernel_spec(
    config: JobConfig,
    features: FeatureRows,
    suites: Mapping[Place, CompiledSuite],
    matched: Matched,
    types: Mapping[str, pa.DataType],
    scored: list[pa.Field],
    beside: list[pa.Field],
) -> KernelSpec:
    raw = carries_raw(config)
    return KernelSpec(
        keys=config.input.key,
        passthrough=config.output.passthrough,
        rules=tuple(rule for suite in suites.values() for rule in suite.rules),
        tallies=tuple(tally for suite in suites.values() for tally in suite.tallies),
        features=_pass_segments(features.features, matched.scores),
        scores=matched.scores,
        on_bad_score=config.scoring.on_bad_score,
        batch_rows=0 if config.scoring.batch_rows == "auto" else config.scoring.batch_rows,
        max_failed_rows=config.scoring.max_failed_rows,
        session=session_spec(config.scoring, matched.scores),
        raw=raw,
        duplicates=config.input.on_duplicate_key == "quarantine",
        failed=features.failed,
        doubled="_doubled" in types,
        schema=stage_schema(
            scored,
            types["_raw"] if raw else None,
            labels=bool(matched.scores.by),
            challenger=beside,
        )
        .serialize()
        .to_pybytes(),
    )


def _watch(
    config: JobConfig,
    spec: KernelSpec,
    types: Mapping[str, pa.DataType],
    scores: Mapping[str, pa.DataType],
    pinned: PinnedTable,
) -> KernelSpec:
    """The spec with what gates and reports count: distributions from a sample, and the scores' ranges.

    Raises:
        ConfigError: A gate is about a column that is none of the scores, or no number.
    """
    for name in config.gates.scores:
        if name not in scores or not is_numeric(scores[name]):
            numbers = ", ".join(column for column, kind in scores.items() if is_numeric(kind)) or "none"
            raise ConfigError(
                f"gates.scores.{name}: expected an output column with one number a row; those are: {numbers}."
            )
    spec = replace(spec, ranges=tuple(config.gates.scores))
    if not config.gates.sample_rows:
        return spec
    return replace(
        spec,
        watched=tuple(feature.name for feature in spec.features if is_watched(types[feature.name])),
        watched_scores=tuple(name for name, kind in scores.items() if is_watched(kind)),
        watched_share=_share(config.gates.sample_rows, pinned),
    )


def _share(sample: int, pinned: PinnedTable) -> float:
    """The share of the rows that makes up a sample of that size; 0 where nobody knows how many rows there are."""
    most = pinned.rows_at_most
    if most is not None and most <= sample:
        return 1.0
    rows = pinned.rows if pinned.rows is not None else most if pinned.whole else None
    return 0.0 if rows is None else min(1.0, sample / max(rows, 1))


def _pass_segments(features: Sequence[FeatureSpec], scores: ScoresSpec) -> tuple[FeatureSpec, ...]:
    """The features; nulls of one that only says which model scores a row go to the default model."""
    taken = {name for model in scores.models for spec in model.inputs for name in spec.features}
    return tuple(
        replace(f, on_null="pass") if f.name == scores.by and f.name not in taken and f.on_null == "quarantine" else f
        for f in features
    )


def ready_place(config: JobConfig, suite: Suite | None, frame: DataFrame) -> CompiledSuite | None:
    """A suite made ready for the columns of its place; None without one."""
    return None if suite is None else ready_suite(suite, frame, config.interval.time_zone)


def flag_features(spark: SparkSession, features: FeatureRows, suite: CompiledSuite | None) -> FeatureRows:
    """The features with what their suite asks of Spark."""
    if suite is None or not suite.sql:
        return features
    rows = features.rows.select("*", *build_flags(spark, features.rows, suite.sql))
    return replace(features, rows=rows, plain=False)


def _check_column_names(config: JobConfig, names: Sequence[str]) -> None:
    """Refuse columns that Delta has no place for.

    Raises:
        ConfigError: There is one.
    """
    for name in names if config.output.format == "delta" else ():
        if set(name) & set(" ,;{}()\n\t="):
            raise ConfigError(
                f"output: expected column names that Delta can store; found '{name}' with a space or one of ,;{{}}()=. "
                "Rename it under model.outputs or upstream, or set `output.format: parquet`."
            )


def arrow_schema(frame: DataFrame) -> pa.Schema:
    """The columns of a frame as the kernel meets them."""
    from pyspark.sql.pandas.types import to_arrow_schema  # noqa: PLC0415

    return to_arrow_schema(frame.schema)


def _spark_fields(fields: list[pa.Field]) -> tuple[StructField, ...]:
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415

    return tuple(from_arrow_schema(pa.schema(fields)).fields)
