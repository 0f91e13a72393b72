"""OpenLineage: which datasets and model a run has read, and what it has written."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from batchscore.config import OpenLineageConfig
from batchscore.errors import SetupError
from batchscore.lineups import members_of
from batchscore.redaction import redact

PRODUCER = "urn:batchscore"
_ENDS = {"published": "COMPLETE", "unchanged": "COMPLETE", "failed": "FAIL"}


def send_events(
    config: OpenLineageConfig,
    place: str,
    token: str | None,
    record: Mapping[str, Any],
    places: Mapping[str, str],
    parent: Mapping[str, str],
    timeout_s: float,
) -> None:
    """Send a run's beginning and end, by OpenLineage's own client.

    Args:
        config: Server or file, and the job's namespace.
        place: Its address or path, references expanded.
        token: The server's API key.
        record: The run's record.
        places: Where the output tables lie, by name.
        parent: `run`, `job` and `namespace` of the run that started this one; empty for none.
        timeout_s: Seconds that the server may take for each.

    Raises:
        SetupError: The extra `lineage` is not installed.
        OSError: They could not be sent.
    """
    try:
        from openlineage.client.transport.file import FileConfig, FileTransport  # noqa: PLC0415 - an extra
        from openlineage.client.transport.http import (  # noqa: PLC0415
            ApiKeyTokenProvider,
            HttpConfig,
            HttpTransport,
            TokenProvider,
        )
    except ImportError as error:
        message = "signals.openlineage: expected the extra `lineage`; run: pip install 'batchscore[lineage]'."
        raise SetupError(message) from error
    events = list(make_events(record, places, config.namespace, parent))
    if config.file is not None:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        transport: Any = FileTransport(FileConfig(log_file_path=place, append=True))
    else:
        auth = ApiKeyTokenProvider({"api_key": token}) if token else TokenProvider({})
        transport = HttpTransport(HttpConfig(url=place, timeout=timeout_s, auth=auth, retry={"total": 2}))
    try:
        for event in events:
            transport.emit(event)
    except OSError:
        raise
    except Exception as error:  # the client's own, or those of its HTTP library
        raise OSError(type(error).__name__) from error
    finally:
        transport.close()


def make_events(
    record: Mapping[str, Any], places: Mapping[str, str], namespace: str, parent: Mapping[str, str]
) -> Iterator[Any]:
    """A run's START and the event of its end; see `send_events`.

    A run that is held or was cancelled ends with ABORT: it has written nothing that others see.
    """
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState  # noqa: PLC0415

    run = Run(run_uuid(record["job"], record["run_id"]), _run_facets(record, parent))
    job = Job(namespace, record["job"], _job_facets())
    end = RunState[_ENDS.get(record["status"], "ABORT")]
    inputs, outputs = list(_inputs(record)), list(_outputs(record, places)) if end is RunState.COMPLETE else []
    for state, time in ((RunState.START, record["started_at"]), (end, record["ended_at"])):
        first = state is RunState.START
        yield RunEvent(
            eventType=state,
            eventTime=time,
            run=run,
            job=job,
            inputs=[] if first else inputs,
            outputs=[] if first else outputs,
            producer=PRODUCER,
        )


def run_uuid(job: str, run_id: str) -> str:
    """The UUID by which OpenLineage knows a run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER}/{job}/{run_id}"))


def name_dataset(location: str) -> tuple[str, str]:
    """Namespace and name of a table. Source: OpenLineage's documentation, "Dataset naming"."""
    parts = urlsplit(location)
    if not parts.scheme:
        return ("file", location) if location.startswith("/") else ("spark_catalog", location)
    if parts.scheme == "file":
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/") or "/"


def _run_facets(record: Mapping[str, Any], parent: Mapping[str, str]) -> dict[str, Any]:
    from openlineage.client.facet_v2 import (  # noqa: PLC0415
        error_message_run,
        nominal_time_run,
        parent_run,
        processing_engine_run,
    )

    facets: dict[str, Any] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
            version=str(record.get("code_version")), name="batchscore", producer=PRODUCER
        )
    }
    if str(record.get("interval", "")).endswith("Z"):
        facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(
            nominalStartTime=record["interval"], producer=PRODUCER
        )
    if record.get("error"):
        text = redact(f"{record.get('error_type')}: {record['error']}")
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(text, "python", producer=PRODUCER)
    if parent:
        facets["parent"] = parent_run.ParentRunFacet(
            parent_run.Run(parent["run"]), parent_run.Job(parent["namespace"], parent["job"]), producer=PRODUCER
        )
    return facets


def _job_facets() -> dict[str, Any]:
    from openlineage.client.facet_v2 import job_type_job  # noqa: PLC0415

    return {"jobType": job_type_job.JobTypeJobFacet("BATCH", "BATCHSCORE", "JOB", producer=PRODUCER)}


def _inputs(record: Mapping[str, Any]) -> Iterator[Any]:
    from openlineage.client.event_v2 import InputDataset  # noqa: PLC0415
    from openlineage.client.facet_v2 import (  # noqa: PLC0415
        data_quality_assertions_dataset,
        dataset_version_dataset,
        input_statistics_input_dataset,
    )

    def version(text: Any) -> dict[str, Any]:
        facet = dataset_version_dataset.DatasetVersionDatasetFacet
        return {"version": facet(str(text), producer=PRODUCER)}

    tables = [("input", record.get("input")), *(record.get("lookups") or {}).items()]
    for name, table in tables:
        if not table:
            continue
        own: dict[str, Any] = {}
        rows = (record.get("counts") or {}).get("read")
        if name == "input" and rows is not None:
            statistics = input_statistics_input_dataset.InputStatisticsInputDatasetFacet
            own["inputStatistics"] = statistics(rowCount=rows, producer=PRODUCER)
        asserted = [_assertion(check) for check in record.get("checks") or () if check["place"] == "input"]
        if name == "input" and asserted:
            quality = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet
            own["dataQualityAssertions"] = quality(asserted, producer=PRODUCER)
        told = table["version"] if table.get("version") is not None else table.get("fingerprint", "")
        yield InputDataset(*name_dataset(table["location"]), inputFacets=own, facets=version(told))
    for model in members_of(record["model"]) if record.get("model") else ():
        yield InputDataset("mlflow", f"models:/{model['name']}", facets=version(model["version"]))


def _assertion(check: Mapping[str, Any]) -> Any:
    from openlineage.client.facet_v2 import data_quality_assertions_dataset  # noqa: PLC0415

    column = check["columns"][0] if len(check["columns"]) == 1 else None
    return data_quality_assertions_dataset.Assertion(check["expectation"], bool(check["success"]), column)


def _outputs(record: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[Any]:
    from openlineage.client.event_v2 import OutputDataset  # noqa: PLC0415
    from openlineage.client.facet_v2 import (  # noqa: PLC0415
        dataset_version_dataset,
        output_statistics_output_dataset,
    )

    counts = record.get("counts") or {}
    for name, rows in (("scores", counts.get("scored")), ("quarantine", counts.get("quarantined"))):
        commit = (record.get("commits") or {}).get(name)
        if name not in places or commit is None:
            continue
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
        facet = dataset_version_dataset.DatasetVersionDatasetFacet
        yield OutputDataset(
            *name_dataset(places[name]),
            outputFacets={"outputStatistics": statistics(rowCount=rows, producer=PRODUCER)},
            facets={"version": facet(str(commit), producer=PRODUCER)},
        )
