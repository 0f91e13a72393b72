"""Build the demo in one folder: job files, suites, Delta tables and two registered models; what is there is kept."""

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

from batchscore.demo.packages import DATA_PACKAGE, find_data_folder
from batchscore.demo.tables import build_tables
from batchscore.loading import job_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from batchscore.demo.training import TrainedModel

ALIAS = "champion"
MODELS = ("flights_delay", "flights_delay_linear", "planes_seats")
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
    """

    flights: Path
    planes: Path
    tables: Path
    registry: Path
    models: Path


def build_demo(spark: SparkSession, folder: Path, progress: Callable[[str], None]) -> DemoPaths:
    """Write whatever of the demo is not yet in `folder`.

    Args:
        spark: A session with Delta's jars.
        folder: Where to; it is made if missing.
        progress: Told what is being done, in one line.

    Raises:
        SetupError: A package of the `demo` extra is missing, or a foreign table lies where one of the demo's should.
    """
    data_folder = find_data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder)
    build_tables(spark, folder, progress)
    build_models(data_folder, folder, progress)
    return demo_paths(folder)


def demo_paths(folder: Path) -> DemoPaths:
    """The demo's paths under `folder`, built or not."""
    return DemoPaths(
        flights=folder / "flights.yaml",
        planes=folder / "planes.yaml",
        tables=folder / "tables",
        registry=folder / "mlflow.db",
        models=folder / "models",
    )


def write_files(folder: Path) -> None:
    """Write the job files, their suites and the schema that editors read; files that are there stay as they are."""
    _copy_missing(resources.files("batchscore.demo") / "files", folder)
    schema = folder / "job.schema.json"
    if not schema.exists():
        schema.write_text(json.dumps(job_schema(), indent=2) + "\n", encoding="utf-8")


def build_models(data_folder: Path, folder: Path, progress: Callable[[str], None]) -> None:
    """Train, export and register each model that `folder` has no record of."""
    paths = demo_paths(folder)
    for name in MODELS:
        record = paths.models / f"{name}.json"
        if record.is_file() and paths.registry.is_file():
            progress(f"model {name}: already there")
            continue
        started = time.monotonic()
        progress(f"model {name}: training")
        model = _train(name, data_folder)
        progress(f"model {name}: {_describe(model.quality)}")
        _register(model, folder, record)
        progress(f"model {name}: registered as {ALIAS} after {time.monotonic() - started:.0f} s")


def _describe(quality: Mapping[str, float]) -> str:
    shown = {key: f"{value:,}" if isinstance(value, int) else f"{value:.3f}" for key, value in quality.items()}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())


def _train(name: str, data_folder: Path) -> TrainedModel:
    from batchscore.demo import training  # noqa: PLC0415 - scikit-learn is an extra, checked before

    train = {
        "flights_delay": training.train_flights,
        "flights_delay_linear": training.train_flights_linear,
        "planes_seats": training.train_planes,
    }
    return train[name](data_folder)


def _register(model: TrainedModel, folder: Path, record: Path) -> None:
    from batchscore.demo.export import export_onnx  # noqa: PLC0415 - skl2onnx is an extra, checked before
    from batchscore.models.register import register_onnx  # noqa: PLC0415 - seconds of import, not on a second run

    paths = demo_paths(folder)
    version = register_onnx(
        export_onnx(model.estimator, len(model.feature_names)),
        model.name,
        f"sqlite:///{paths.registry.resolve()}",
        artifact_folder=folder / "artifacts" / model.name,
        signature_frame=model.example,
        alias=ALIAS,
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
