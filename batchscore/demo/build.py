"""Build the demo in one folder: job files, suites, tables, training sets and models; what is there is kept."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from batchscore.demo.packages import DATA_PACKAGE, require_packages
from batchscore.demo.tables import build_tables
from batchscore.loading import job_schema
from batchscore.training import log_model, training_set
from batchscore.training_sets import NOTE

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

    from batchscore.demo.training import TrainedModel

ALIAS = "champion"
MODELS = {"flights_delay": "flights", "flights_delay_linear": "flights", "planes_seats": "planes"}  # by their jobs
_RECORDED = ("scikit-learn", "skl2onnx", "onnx", DATA_PACKAGE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoPaths:
    """Where the demo's parts lie.

    Attributes:
        flights: The job that scores one day of flights.
        planes: The job that scores the registry of planes as it is.
        tables: Folder of the Delta tables.
        registry: SQLite file of the MLflow registry.
        models: Folder with one record of each trained model: rows, quality, package versions.
        training: Folder of the training sets.
    """

    flights: Path
    planes: Path
    tables: Path
    registry: Path
    models: Path
    training: Path


def build_demo(spark: SparkSession, folder: Path, progress: Callable[[str], None]) -> DemoPaths:
    """Write whatever of the demo is not yet in `folder`.

    Args:
        spark: A session with Delta's jars.
        folder: Where to; it is made if missing.
        progress: Told what is being done, in one line.

    Raises:
        SetupError: A package of the `demo` extra is missing, or a foreign table lies where one of the demo's should.
    """
    require_packages()
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder)
    build_tables(spark, folder, progress)
    build_models(folder, progress)
    return demo_paths(folder)


def demo_paths(folder: Path) -> DemoPaths:
    """The demo's paths under `folder`, built or not."""
    return DemoPaths(
        flights=folder / "flights.yaml",
        planes=folder / "planes.yaml",
        tables=folder / "tables",
        registry=folder / "mlflow.db",
        models=folder / "models",
        training=folder / "training",
    )


def write_files(folder: Path) -> None:
    """Write the job files, their suites and the schema that editors read; files that are there stay as they are."""
    _copy_missing(resources.files("batchscore.demo") / "files", folder)
    schema = folder / "job.schema.json"
    if not schema.exists():
        schema.write_text(json.dumps(job_schema(), indent=2) + "\n", encoding="utf-8")


def build_models(folder: Path, progress: Callable[[str], None]) -> None:
    """Train, export and register each model that `folder` has no record of."""
    paths = demo_paths(folder)
    for name, job in MODELS.items():
        record = paths.models / f"{name}.json"
        if record.is_file() and paths.registry.is_file():
            progress(f"model {name}: already there")
            continue
        started = time.monotonic()
        place = write_training_set(folder, job, progress)
        progress(f"model {name}: training")
        model = _train(name, read_rows(place))
        progress(f"model {name}: {_describe(model.quality)}")
        _register(model, folder / f"{job}.yaml", place, record)
        progress(f"model {name}: registered as {ALIAS} after {time.monotonic() - started:.0f} s")


def write_training_set(folder: Path, job: str, progress: Callable[[str], None]) -> Path:
    """The training set of one of the demo's jobs, written if it is not there; half of one is written again."""
    from batchscore.demo.training import LABELS  # noqa: PLC0415 - scikit-learn is an extra, checked before

    place = demo_paths(folder).training / job
    if not (place / NOTE).is_file():
        shutil.rmtree(place, ignore_errors=True)
        progress(f"training set {job}: computing features as scoring does")
        span = ("2013-01-01", "2014-01-01") if job == "flights" else (None, None)
        training_set(folder / f"{job}.yaml", *span, label=LABELS[job]).save(str(place))
    return place


def read_rows(place: Path) -> pd.DataFrame:
    """A training set's rows."""
    return pq.read_table(place).to_pandas(date_as_object=True)


def _describe(quality: Mapping[str, float]) -> str:
    shown = {key: f"{value:,}" if isinstance(value, int) else f"{value:.3f}" for key, value in quality.items()}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())


def _train(name: str, rows: pd.DataFrame) -> TrainedModel:
    from batchscore.demo import training  # noqa: PLC0415 - scikit-learn is an extra, checked before

    train = {
        "flights_delay": training.train_flights,
        "flights_delay_linear": training.train_flights_linear,
        "planes_seats": training.train_planes,
    }
    return train[name](rows)


def _register(model: TrainedModel, job: Path, place: Path, record: Path) -> None:
    from batchscore.demo.export import export_onnx  # noqa: PLC0415 - skl2onnx is an extra, checked before

    version = log_model(
        job,
        export_onnx(model.estimator, len(model.feature_names)),
        name=model.name,
        alias=ALIAS,
        trained_on=str(place),
        columns=model.feature_names,
        tags={"source": "batchscore demo"},
    )
    content: dict[str, Any] = {
        "name": model.name,
        "version": version,
        "alias": ALIAS,
        "features": list(model.feature_names),
        "quality": dict(model.quality),
        "packages": {package: importlib.metadata.version(package) for package in _RECORDED},
    }
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(record)  # last, so that a record stands for a registered model


def _copy_missing(source: Traversable, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for child in source.iterdir():
            _copy_missing(child, target / child.name)
    elif not target.exists():
        with source.open("rb") as content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
