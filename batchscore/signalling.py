"""Signalling: once a run has ended, whoever the job names is told; what goes wrong here is a warning."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from batchscore.attempts import Progress
from batchscore.config import Job, SignalsConfig
from batchscore.errors import BatchscoreError, WriteError
from batchscore.failures import reason_of
from batchscore.lineups import members_of
from batchscore.outputs import Outputs
from batchscore.records import RunRecord, to_dict
from batchscore.redaction import redact
from batchscore.references import resolve, resolve_path, resolve_sqlite
from batchscore.report.pages import render_run
from batchscore.tables.locations import qualify, write_file, write_local
from batchscore.tables.locks import local_path

_SQLITE = re.compile(r"sqlite:///(/.*)")
_PARENT = {"run": "parentRunId", "job": "parentJobName", "namespace": "parentJobNamespace"}
_GRACE_S = 1.0  # for what keeps its own time limit to say so
_Action = Callable[[], object]


def tell_of(target: Outputs, record: RunRecord, progress: Progress) -> None:
    """Tell everybody that the job's `signals` name of a run that has ended.

    Args:
        target: The job's outputs.
        record: The run's record.
        progress: Takes a line for each that could not be told.
    """
    signals = target.job.config.signals
    if signals == SignalsConfig():
        return
    progress("signals")
    plain = to_dict(record)
    for name, action in _actions(target, signals, plain):
        fault = _try_within(action, signals.timeout_s)
        if fault:
            progress(f"warning: signals.{name}: the run stands as it is, but was not told there: {redact(fault)}")


def _try_within(action: _Action, seconds: float) -> str:
    """Do something for so many seconds at most; what went wrong, or nothing.

    Whatever has not ended by then goes on in a thread that ends with the process at the latest: a server that sends
    a byte now and then keeps a client's own time limit from ever being reached.
    """
    fault: list[str] = []

    def attempt() -> None:
        try:
            action()
        except Exception as error:
            fault.append(_describe(error))

    worker = threading.Thread(target=attempt, name="batchscore-signal", daemon=True)
    worker.start()
    worker.join(seconds + _GRACE_S)
    return f"no end within {seconds:g} s" if worker.is_alive() else "".join(fault)


def _describe(error: Exception) -> str:
    if isinstance(error, WriteError) and error.__cause__ is not None:  # whose own text is about scores
        return reason_of(error.__cause__)
    said = str(error) if isinstance(error, (BatchscoreError, OSError)) else ""
    return f"{type(error).__name__}{f': {said}' if said else ''}"


def _actions(target: Outputs, signals: SignalsConfig, record: Mapping[str, Any]) -> Iterator[tuple[str, _Action]]:
    if signals.reports is not None:
        yield "reports", lambda: _write_page(target, record)
    if signals.mlflow is not None:
        yield "mlflow", lambda: _log_run(target, record)
    if signals.prometheus is not None:
        yield "prometheus", lambda: _write_figures(target, record)
    if signals.openlineage is not None:
        yield "openlineage", lambda: _send_lineage(target, record)
    for place in range(len(signals.webhooks)):
        yield f"webhooks[{place}]", lambda place=place: _call_webhook(target.job, place, record)  # type: ignore[misc]


def _page(target: Outputs, record: Mapping[str, Any]) -> str:
    return render_run(record, target.read_distributions(record), target.locations())


def _write_page(target: Outputs, record: Mapping[str, Any]) -> None:
    folder = resolve_path(str(target.job.config.signals.reports), target.job.folder).rstrip("/")
    name = f"{record['job']}-{record['run_id']}.html"
    place, page = qualify(target.spark, f"{folder}/{name}"), _page(target, record)
    local = local_path(place)
    if local is None:
        write_file(target.spark, place, page.encode())
    else:
        write_local(local, page)


def _log_run(target: Outputs, record: Mapping[str, Any]) -> None:
    from batchscore.models.runs import log_run  # noqa: PLC0415 - mlflow takes seconds to import

    job = target.job
    signals = job.config.signals
    uri = resolve_sqlite(str(job.config.registry.uri), job.folder)
    local = _SQLITE.match(uri)
    assert signals.mlflow is not None
    experiment = signals.mlflow.experiment
    folder = Path(local[1]).parent / "artifacts" / experiment if local else None
    models = members_of(record["model"]) if record.get("model") else []
    log_run(record, models, _page(target, record), experiment, uri, folder, signals.timeout_s)


def _write_figures(target: Outputs, record: Mapping[str, Any]) -> None:
    from batchscore.signals.prometheus import write_run  # noqa: PLC0415

    job = target.job
    config = job.config.signals.prometheus
    assert config is not None
    place = _place_of(job, config.file, config.push_gateway)
    published = [name for name, account in target.ledger.accounts().items() if account.current is not None]
    write_run(config, place, record, max(published, default=None), job.config.signals.timeout_s)


def _send_lineage(target: Outputs, record: Mapping[str, Any]) -> None:
    from batchscore.signals.lineage import send_events  # noqa: PLC0415

    job = target.job
    config = job.config.signals.openlineage
    assert config is not None
    place = _place_of(job, config.file, config.url)
    token = None if config.token is None else resolve(config.token, job.folder)
    conf = target.spark.sparkContext.getConf()
    parent = {key: str(conf.get(f"spark.openlineage.{name}", "") or "") for key, name in _PARENT.items()}
    told = parent if all(parent.values()) else {}
    send_events(config, place, token, record, target.locations(), told, job.config.signals.timeout_s)


def _place_of(job: Job, file: str | None, address: str | None) -> str:
    """A signal's file or address with its references expanded; the job has one of the two."""
    return resolve_path(file, job.folder) if file is not None else resolve(str(address), job.folder)


def _call_webhook(job: Job, place: int, record: Mapping[str, Any]) -> None:
    from batchscore.signals.webhooks import call_webhook  # noqa: PLC0415

    config = job.config.signals.webhooks[place]
    call_webhook(config, resolve(config.url, job.folder), record, job.config.signals.timeout_s)
