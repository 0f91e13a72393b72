"""Logs a scoring run as a run of MLflow: parameters, figures, tags, the model that scored, and the page of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from batchscore.models.calls import mlflow_settings  # isort: skip  # before mlflow: it sets what mlflow reads on import

import mlflow  # isort: skip
from mlflow.entities import LoggedModelInput, Metric, Param, RunTag  # isort: skip

_PARAMS = ("interval", "kind", "generation", "run_key", "config_sha256", "code_version")
_MOST_COLUMNS = 200  # whose drift becomes metrics
_PAGE = "report.html"


def log_run(
    record: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]],
    page: str,
    experiment: str,
    registry_uri: str,
    artifact_folder: Path | None,
    timeout_s: float,
) -> str:
    """The id of the MLflow run that is made, and ended.

    Args:
        record: The scoring run's record.
        models: The models that scored, as the record has them.
        page: The run's page.
        experiment: Name of the experiment, created on first use.
        registry_uri: Tracking server and registry.
        artifact_folder: Folder for the files of an experiment that this call creates; None leaves it to the server.
        timeout_s: Seconds that a request may take.

    Raises:
        Exception: MLflow's own, where the server refuses or does not answer.
    """
    started, ended = (round(1000 * datetime.fromisoformat(record[k]).timestamp()) for k in ("started_at", "ended_at"))
    with mlflow_settings(timeout_s):
        client = mlflow.MlflowClient(tracking_uri=registry_uri, registry_uri=registry_uri)
        found = client.get_experiment_by_name(experiment)
        folder = artifact_folder and artifact_folder.resolve().as_uri()
        experiment_id = found.experiment_id if found else client.create_experiment(experiment, folder)
        name = f"{record['job']} {record.get('interval_label', '')}"
        run = client.create_run(experiment_id, start_time=started, run_name=name)
        run_id = str(run.info.run_id)
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, ended, 0) for key, value in _metrics(record)],
            params=[Param(key, str(record[key])) for key in _PARAMS if record.get(key) is not None],
            tags=[RunTag(key, str(value)) for key, value in _tags(record).items() if value is not None],
        )
        inputs = [
            LoggedModelInput(version.model_id)
            for model in models
            if (version := client.get_model_version(model["name"], str(model["version"]))).model_id
        ]
        if inputs:
            client.log_inputs(run_id, models=inputs)
        client.log_text(run_id, page, _PAGE)
        good = record["status"] == "published"
        client.set_terminated(run_id, "FINISHED" if good else "FAILED", end_time=ended)
    return run_id


def _metrics(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, count in (record.get("counts") or {}).items():
        yield f"rows_{name}", float(count)
    for step, seconds in (record.get("timings_s") or {}).items():
        yield f"seconds_{step}", float(seconds)
    rate = (record.get("runtime") or {}).get("rows_per_s")
    if rate:
        yield "rows_per_s_in_model", float(rate)
    for one in ((record.get("distributions") or {}).get("columns") or ())[:_MOST_COLUMNS]:
        yield f"psi_{one['column']}", float(one["psi"])


def _tags(record: Mapping[str, Any]) -> dict[str, Any]:
    failed = [gate["gate"] for gate in record.get("gates") or () if gate["verdict"] == "fail"]
    return {
        "batchscore.job": record["job"],
        "batchscore.run_id": record["run_id"],
        "batchscore.status": record["status"],
        "batchscore.interval_label": record.get("interval_label"),
        "batchscore.failed_gates": ", ".join(failed) or None,
        "batchscore.error_type": record.get("error_type"),
    }
