"""The Python API of what comes before scoring: features explained, constants fitted, training sets, models logged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchscore.api import JobOrPath, find_range, load, spark_session
from batchscore.baselines import count_baseline
from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.explaining import FeatureList, explain_features
from batchscore.features.definitions import define_features, read_sources
from batchscore.patterns import MODEL_URI
from batchscore.references import resolve_sqlite
from batchscore.schedules import resolve_interval
from batchscore.training_sets import (
    FittedConstants,
    TrainingSet,
    build_training_set,
    fit_constants,
    read_definitions,
)

_SQLITE = re.compile(r"sqlite:///(/.*)")


def list_features(job: JobOrPath, interval: str | None = None) -> FeatureList:
    """What a job's features are: types, null policies, what each reads, and Spark's joins and shuffles.

    Args:
        job: The job or its file; it names its features, and needs no model.
        interval: The interval whose plan is shown; without it, the whole table's.
    """
    job = load(job)
    chosen = None if interval is None else resolve_interval(interval, job.config.interval, datetime.now(UTC))
    return explain_features(spark_session(job), job, chosen)


def fit_encoders(
    job: JobOrPath, start: str | None = None, end: str | None = None, *, overwrite: bool = False
) -> FittedConstants:
    """Fit the constants of a job's encoders on a range of intervals, and write them to `features.constants`.

    Args:
        job: The job or its file.
        start: First interval; left out for a snapshot.
        end: The first interval that is not taken any more.
        overwrite: Whether constants that stand are replaced.
    """
    job = load(job)
    return fit_constants(spark_session(job), job, find_range(job, start, end), overwrite=overwrite)


def training_set(job: JobOrPath, start: str | None, end: str | None, *, label: str | None = None) -> TrainingSet:
    """The features of a range of intervals, exactly as scoring computes them, and a label; needs no model."""
    job = load(job)
    return build_training_set(spark_session(job), job, find_range(job, start, end), label)


def log_model(
    job: JobOrPath,
    model: Any,
    *,
    name: str | None = None,
    alias: str | None = None,
    trained_on: TrainingSet | str | None = None,
    columns: Sequence[str] | None = None,
    reference: Any = None,
    tags: Mapping[str, str] | None = None,
) -> int:
    """Log an ONNX model in the job's registry, with the definitions of the features that it was trained with.

    Runs of the job compare these with their own, and warn or stop (`features.on_hash_mismatch`).

    Args:
        job: The job or its file.
        model: The ONNX model (`onnx.ModelProto`), its bytes, or the path of its file.
        name: Registered name; without it, that of `model.uri`.
        alias: Alias to set on the new version, such as `champion`.
        trained_on: The training set, or where it was saved; without it, the definitions are the job's own of now.
        columns: Features in the order of the model's only input; without it, `model.inputs` or the job's features.
        reference: Rows that later runs are compared with by a drift gate with `reference: model`: a training set, a
            Spark or pandas frame, or an Arrow table, of features as the model takes them, and of its scores under the
            names of the output columns. Of each column the distribution is kept, and no row.
        tags: Tags of the new version.

    Returns:
        The number of the new version.

    Raises:
        ConfigError: No name is given, and the job has no `model.uri`.
        ModelError: The model is no ONNX model.
        RegistryError: The registry cannot be reached.
    """
    from batchscore.models.register import register_onnx  # noqa: PLC0415 - mlflow takes seconds to import

    job = load(job)
    registry = job.config.registry.uri
    if registry is None:
        raise ConfigError("registry.uri: expected the registry in which the model is logged; found none. Name it.")
    uri = resolve_sqlite(registry, job.folder)
    local = _SQLITE.match(uri)
    chosen = name or _name_of(job)
    return register_onnx(
        model,
        chosen,
        uri,
        artifact_folder=Path(local[1]).parent / "artifacts" / chosen if local else None,
        columns=tuple(columns or _input_columns(job)),
        alias=alias,
        tags=tags,
        features=_definitions(job, trained_on),
        reference=None if reference is None else count_baseline(job, reference),
    )


def _name_of(job: Job) -> str:
    parts = MODEL_URI.match(job.config.model.uri or "")
    if parts is None:
        raise ConfigError("log_model: expected the model's registered name; found none, and no model.uri. Give a name.")
    return str(parts[1])


def _input_columns(job: Job) -> Sequence[str]:
    inputs = list(job.config.model.inputs.values())
    if len(inputs) == 1:
        return inputs[0]
    return () if inputs else [feature.name for feature in job.config.features.columns]


def _definitions(job: Job, trained_on: TrainingSet | str | None) -> Any:
    if isinstance(trained_on, TrainingSet):
        return trained_on.definitions.logged()
    if trained_on is not None:
        return read_definitions(spark_session(job), trained_on)
    return define_features(job, read_sources(job), job.config.features.columns).logged()
