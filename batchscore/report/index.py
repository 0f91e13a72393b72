"""What the index page shows of a job: a calendar of its intervals, trends, and its newest runs."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from batchscore.records import show_model
from batchscore.rendering import show
from batchscore.report.charts import line_path

STATES = ("done", "stale", "held", "failed", "missing", "blocked")
_TOLD = re.compile(r"run (\S+): ")
NEWEST_RUNS = 20
MOST_MONTHS = 24
MOST_CELLS = 400
MOST_POINTS = 400
TREND = {"width": 260, "height": 56}
_EVALUATED = ("auc", "log_loss", "brier", "mean_absolute_error", "root_mean_squared_error", "r2")


def view_job(
    name: str,
    grain: str,
    status: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    links: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that the index shows of one job.

    Args:
        name: The job's name.
        grain: Its grain.
        status: Its status, as `batchscore status --json` prints it.
        records: Its audit records, oldest first.
        links: Run id to the address of its page.
    """
    cells = [_cell(one, links) for one in status["intervals"]]
    published = _published(status["intervals"], records)
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    attempts = [record for record in records if record.get("run_id")]
    return {
        "name": name,
        "counts": status["counts"],
        "months": _months(cells) if grain == "day" else [],
        "cells": cells[-MOST_CELLS:],
        "trends": _trends(published[-MOST_POINTS:]),
        "runs": [_run(record, links) for record in reversed(attempts[-NEWEST_RUNS:])],
        **_evaluations(evaluations[-NEWEST_RUNS:]),
    }


def _cell(one: Mapping[str, Any], links: Mapping[str, str]) -> dict[str, Any]:
    run_id = one.get("run_id") or ""
    told = _TOLD.match(one.get("why") or "")  # of one that is held or failed, the run that is
    link = links.get(told[1] if told else run_id, "")
    return {"label": one["interval_label"], "state": one["state"], "why": one.get("why") or "", "link": link}


def _months(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    days = {date.fromisoformat(cell["label"]): cell for cell in cells}
    months = sorted({(day.year, day.month) for day in days})[-MOST_MONTHS:]
    found = []
    for year, month in months:
        weeks = [
            [None if not number else _day(date(year, month, number), days) for number in week]
            for week in calendar.Calendar().monthdayscalendar(year, month)
        ]
        found.append({"name": f"{calendar.month_name[month]} {year}", "weeks": weeks})
    return found


def _day(day: date, days: Mapping[date, Mapping[str, Any]]) -> dict[str, Any]:
    return {"number": day.day, "state": "", "label": day.isoformat(), "why": "", "link": "", **days.get(day, {})}


def _published(intervals: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records of the runs that readers see, by interval."""
    by_id = {record["run_id"]: record for record in records if record.get("run_id")}
    return [by_id[one["run_id"]] for one in intervals if one.get("run_id") in by_id]


def _trends(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if len(runs) < 2:
        return []
    series: dict[str, list[float | None]] = {
        "rows read": [run["counts"].get("read") for run in runs],
        "quarantined, %": [_quarantined(run["counts"]) for run in runs],
        "furthest drift, share of its threshold": [_furthest(run) for run in runs],
        "seconds": [sum((run.get("timings_s") or {}).values()) or None for run in runs],
    }
    names = dict.fromkeys(n for run in runs for n in (run.get("distributions") or {}).get("scores") or {})
    for name in names:
        series[f"median {name}"] = [
            ((run.get("distributions") or {}).get("scores") or {}).get(name, {}).get("p50") for run in runs
        ]
    return [_trend(name, values) for name, values in series.items() if any(value is not None for value in values)]


def _trend(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    path = line_path(values, width=TREND["width"], height=TREND["height"])
    return {
        "name": name,
        "path": path,
        "last": "none" if values[-1] is None else show(values[-1]),
        "low": show(min(known)),
        "high": show(max(known)),
        **TREND,
    }


def _quarantined(counts: Mapping[str, int]) -> float | None:
    return 100 * counts.get("quarantined", 0) / counts["read"] if counts.get("read") else None


def _furthest(run: Mapping[str, Any]) -> float | None:
    found = run.get("distributions") or {}
    measure, columns = found.get("measure", "psi"), found.get("columns") or ()
    shares = [one[measure] / one["threshold"] for one in columns if one.get("threshold") and one.get(measure)]
    return max(shares, default=None)


def _run(record: Mapping[str, Any], links: Mapping[str, str]) -> dict[str, Any]:
    counts = record.get("counts") or {}
    return {
        "label": str(record.get("interval_label", "")).partition(" (")[0],
        "status": record["status"],
        "run_id": record["run_id"],
        "link": links.get(record["run_id"], ""),
        "model": show_model(record.get("model")) or "",
        "why": record.get("reason") or record.get("error_type") or "",
        "seconds": _seconds(record),
        **{name: show(counts.get(name)) for name in ("read", "scored", "quarantined")},
    }


def _seconds(record: Mapping[str, Any]) -> str:
    try:
        started, ended = (datetime.fromisoformat(record[key]) for key in ("started_at", "ended_at"))
    except (KeyError, TypeError, ValueError):
        return ""
    return f"{(ended - started).total_seconds():,.0f}"


def _evaluations(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Evaluations, newest first, with the figures that any of them has."""
    names = [name for name in _EVALUATED if any(name in record["figures"] for record in records)]
    lines = [
        [r["model_label"], r["interval_label"], *(show(r["figures"].get(name)) for name in ("rows", *names))]
        for r in reversed(records)
    ]
    return {"evaluations": lines, "evaluation_names": ("model", "range", "rows", *names)}
