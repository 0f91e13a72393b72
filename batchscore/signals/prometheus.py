"""Prometheus: a run's figures and a job's status, as a text file or for a push gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from batchscore.config import PrometheusConfig
from batchscore.errors import SetupError

STATUSES = ("published", "held", "failed", "cancelled")


def write_run(
    config: PrometheusConfig, place: str, record: Mapping[str, Any], newest: str | None, timeout_s: float
) -> None:
    """Put a run's figures where Prometheus finds them.

    Args:
        config: File or push gateway.
        place: Its path or address, references expanded.
        record: The run's record.
        newest: Start of the newest interval that is published, in ISO 8601; None before the first.
        timeout_s: Seconds that a push gateway may take.

    Raises:
        SetupError: The extra `metrics` is not installed.
        OSError: The file cannot be written, or the gateway not reached.
    """
    _write(config, place, _run_figures(record, newest), record["job"], timeout_s)


def write_status(file: str, job: str, counts: Mapping[str, int], states: Sequence[str], newest: str | None) -> None:
    """Put a job's status into a text file.

    Args:
        file: The file, ending in `.prom`.
        job: The job's name.
        counts: Intervals by state.
        states: All states.
        newest: Start of the newest interval that is published, in ISO 8601; None before the first.

    Raises:
        SetupError: The extra `metrics` is not installed.
        OSError: The file cannot be written.
    """
    figures: list[tuple[str, str, dict[str, str], float]] = [
        ("intervals", "Intervals by state", {"state": state}, float(counts.get(state, 0))) for state in states
    ]
    _write(PrometheusConfig(file=file), file, [*figures, *_newest(newest)], job, 0)


Figure = tuple[str, str, dict[str, str], float]


def _run_figures(record: Mapping[str, Any], newest: str | None) -> list[Figure]:
    ended = datetime.fromisoformat(record["ended_at"]).timestamp()
    figures: list[Figure] = [("run_ended_timestamp_seconds", "When the newest run ended", {}, ended)]
    figures += [
        ("run_status", "1 for the status of the newest run", {"status": status}, float(record["status"] == status))
        for status in STATUSES
    ]
    figures += [
        ("run_rows", "Rows of the newest run", {"outcome": name}, float(count))
        for name, count in (record.get("counts") or {}).items()
    ]
    figures += [
        ("run_step_seconds", "Seconds of each step of the newest run", {"step": step}, float(seconds))
        for step, seconds in (record.get("timings_s") or {}).items()
    ]
    figures += [
        (
            "run_gate_failed",
            "1 where a gate of the newest run failed",
            {"gate": gate["gate"]},
            float(gate["verdict"] == "fail"),
        )
        for gate in record.get("gates") or ()
    ]
    for one in (record.get("distributions") or {}).get("columns") or ():
        labels = {"place": one["place"], "column": one["column"]}
        figures.append(("run_psi", "Population stability index against the reference", labels, float(one["psi"])))
    return [*figures, *_newest(newest)]


def _newest(newest: str | None) -> list[Figure]:
    if newest is None:
        return []
    try:
        instant = datetime.fromisoformat(newest).timestamp()
    except ValueError:  # a snapshot has no time
        return []
    return [("newest_published_interval_timestamp_seconds", "Start of the newest published interval", {}, instant)]


def _write(config: PrometheusConfig, place: str, figures: Sequence[Figure], job: str, timeout_s: float) -> None:
    try:
        from prometheus_client import (  # noqa: PLC0415 - an extra
            CollectorRegistry,
            Gauge,
            push_to_gateway,
            write_to_textfile,
        )
    except ImportError as error:
        message = "signals.prometheus: expected the extra `metrics`; run: pip install 'batchscore[metrics]'."
        raise SetupError(message) from error
    registry = CollectorRegistry()
    gauges: dict[str, Any] = {}
    for name, text, labels, value in figures:
        whole = f"batchscore_{name}"
        if whole not in gauges:
            gauges[whole] = Gauge(whole, text, ["job", *labels], registry=registry)
        gauges[whole].labels(job, *labels.values()).set(value)
    if config.file is not None:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(place, registry)  # in whole or not at all
    else:
        push_to_gateway(place, job=f"batchscore_{job}", registry=registry, timeout=timeout_s)
