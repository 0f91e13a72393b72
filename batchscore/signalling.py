"""Signalling: once a run has ended, whoever the job names is told; what goes wrong here is a warning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from batchscore.attempts import Progress
from batchscore.config import Job, SignalsConfig
from batchscore.errors import BatchscoreError
from batchscore.lineups import members_of
from batchscore.outputs import Outputs
from batchscore.records import RunRecord, to_dict
from batchscore.redaction import redact
from batchscore.references import resolve, resolve_path, resolve_sqlite
from batchscore.report.pages import render_run
from batchscore.tables.locations import qualify, write_file

_SQLITE = re.compile(r"sqlite:///(/.*)")
_PARENT = {"run": "parentRunId", "job": "parentJobName", "namespace": "parentJobNamespace"}
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
    plain = to_dict(record)
    page = render_run(plain, target.read_distributions(plain), target.locations())
    for name, action in _actions(target, signals, plain, page):
        try:
            action()
        except Exception as error:
            said = str(error) if isinstance(error, (BatchscoreError, OSError)) else ""
            text = redact(f"{type(error).__name__}{f': {said}' if said else ''}")
            progress(f"warning: signals.{name}: the run stands, but was not told there: {text}")


def _actions(
    target: Outputs, signals: SignalsConfig, record: Mapping[str, Any], page: str
) -> Iterator[tuple[str, _Action]]:
    if signals.reports is not None:
        yield "reports", lambda: _write_page(target, record, page)
    if signals.mlflow is not None:
        yield "mlflow", lambda: _log_run(target.job, record, page)
    if signals.prometheus is not None:
        yield "prometheus", lambda: _write_figures(target, record)
    if signals.openlineage is not None:
        yield "openlineage", lambda: _send_lineage(target, record)
    for place in range(len(signals.webhooks)):
        yield f"webhooks[{place}]", lambda place=place: _call_webhook(target.job, place, record)  # type: ignore[misc]


def _write_page(target: Outputs, record: Mapping[str, Any], page: str) -> None:
    folder = resolve_path(str(target.job.config.signals.reports), target.job.folder).rstrip("/")
    name = f"{record['job']}-{record['run_id']}.html"
    write_file(target.spark, qualify(target.spark, f"{folder}/{name}"), page.encode())


def _log_run(job: Job, record: Mapping[str, Any], page: str) -> None:
    from batchscore.models.runs import log_run  # noqa: PLC0415 - mlflow takes seconds to import

    signals = job.config.signals
    uri = resolve_sqlite(str(job.config.registry.uri), job.folder)
    local = _SQLITE.match(uri)
    assert signals.mlflow is not None
    experiment = signals.mlflow.experiment
    folder = Path(local[1]).parent / "artifacts" / experiment if local else None
    models = members_of(record["model"]) if record.get("model") else []
    log_run(record, models, page, experiment, uri, folder, signals.timeout_s)


def _write_figures(target: Outputs, record: Mapping[str, Any]) -> None:
    from batchscore.signals.prometheus import write_run  # noqa: PLC0415

    job = target.job
    config = job.config.signals.prometheus
    assert config is not None
    named = config.file if config.file is not None else str(config.push_gateway)
    place = resolve_path(named, job.folder) if config.file is not None else resolve(named, job.folder)
    published = [name for name, account in target.ledger.accounts().items() if account.current is not None]
    write_run(config, place, record, max(published, default=None), job.config.signals.timeout_s)


def _send_lineage(target: Outputs, record: Mapping[str, Any]) -> None:
    from batchscore.signals.lineage import send_events  # noqa: PLC0415

    job = target.job
    config = job.config.signals.openlineage
    assert config is not None
    named = config.file if config.file is not None else str(config.url)
    place = resolve_path(named, job.folder) if config.file is not None else resolve(named, job.folder)
    token = None if config.token is None else resolve(config.token, job.folder)
    conf = target.spark.sparkContext.getConf()
    parent = {key: str(conf.get(f"spark.openlineage.{name}", "") or "") for key, name in _PARENT.items()}
    told = parent if all(parent.values()) else {}
    send_events(config, place, token, record, target.locations(), told, job.config.signals.timeout_s)


def _call_webhook(job: Job, place: int, record: Mapping[str, Any]) -> None:
    from batchscore.signals.webhooks import call_webhook  # noqa: PLC0415

    config = job.config.signals.webhooks[place]
    call_webhook(config, resolve(config.url, job.folder), record, job.config.signals.timeout_s)
