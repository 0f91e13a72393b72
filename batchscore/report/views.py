"""What a run's page shows, put together from the run's record and the counts of its distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from batchscore.kernel.distributions import Distribution
from batchscore.lineups import members_of
from batchscore.records import gate_word, show_model, show_scan
from batchscore.rendering import show
from batchscore.report.charts import HEIGHT, WIDTH, histograms, outline_path, share_path
from batchscore.results import CHECK_COLUMNS, check_lines, verdict_word

LONGEST_BAR = 100.0
MOST_BINS = 30
STEPS = ("repair", "plan", "keys", "score", "judge", "publish", "audit")
MEASURES = ("psi", "jensen_shannon", "kolmogorov_smirnov")
CHART = {"width": WIDTH, "height": HEIGHT}


def view_run(record: Mapping[str, Any], kept: Mapping[str, Any] | None, places: Mapping[str, str]) -> dict[str, Any]:
    """Everything that a run's page shows, as plain values.

    Args:
        record: The run's record.
        kept: The counts of its distributions, as the file beside the audit holds them; None where there are none.
        places: Where the output tables lie, by name.
    """
    counts, kept = record.get("counts") or {}, kept or {}
    return {
        "record": {name: record.get(name) for name in ("status", "run_id", "reason", "error", "error_type")},
        "title": f"{record['job']} · {record.get('interval_label', '')}",
        "model": show_model(record.get("model")),
        "scan": show_scan(record.get("scan") or {}),
        "seconds": _seconds(record),
        "tiles": _tiles(record, counts),
        "facts": _facts(record),
        "gates": [{**gate, "word": gate_word(gate)} for gate in record.get("gates") or ()],
        "checks": _checks(record.get("checks") or ()),
        "check_columns": CHECK_COLUMNS,
        "reasons": bars(record.get("reasons") or {}),
        "scores": _scores(kept),
        "columns": _columns(record, kept),
        "reference": (record.get("distributions") or {}).get("reference"),
        "sample_share": (record.get("distributions") or {}).get("sample_share"),
        "stages": bars(_in_order(record.get("timings_s") or {}), sort=False),
        "runtime": _runtime(record.get("runtime") or {}),
        "workers": _workers(record.get("runtime") or {}),
        "challenger": _challenger(record.get("challenger") or {}),
        "lineage": _lineage(record, places),
        "chart": CHART,
    }


def bars(values: Mapping[str, float], *, sort: bool = True) -> list[dict[str, Any]]:
    """Named numbers with the length of their bars, in percent of the longest."""
    pairs = sorted(values.items(), key=lambda item: -item[1]) if sort else list(values.items())
    most = max((value for _, value in pairs), default=0)
    return [
        {"name": name, "value": value, "text": show(value), "long": round(LONGEST_BAR * value / most, 1) if most else 0}
        for name, value in pairs
    ]


def _in_order(timings: Mapping[str, float]) -> dict[str, float]:
    """Steps as a run takes them; the audit's canonical JSON has them by name."""
    known = {name: place for place, name in enumerate(STEPS)}
    return dict(sorted(timings.items(), key=lambda item: known.get(item[0], len(STEPS))))


def _seconds(record: Mapping[str, Any]) -> float | None:
    try:
        started, ended = (datetime.fromisoformat(record[key]) for key in ("started_at", "ended_at"))
    except (KeyError, TypeError, ValueError):
        return None
    return (ended - started).total_seconds()


def _tiles(record: Mapping[str, Any], counts: Mapping[str, int]) -> list[tuple[str, str]]:
    tiles = [(name, show(counts[name])) for name in ("read", "scored", "quarantined") if name in counts]
    took = (record.get("timings_s") or {}).get("score")
    if took and counts.get("read"):
        tiles.append(("rows/s while scoring", show(round(counts["read"] / took))))
    seconds = _seconds(record)
    if seconds is not None:
        tiles.append(("seconds", f"{seconds:,.0f}"))
    return tiles


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    commits = record.get("commits") or {}
    facts = [
        ("run", record.get("run_id")),
        ("kind", record.get("kind")),
        ("of run", record.get("of")),
        ("generation", record.get("generation")),
        ("started", record.get("started_at")),
        ("ended", record.get("ended_at")),
        ("by", f"{record.get('user', '')}@{record.get('host', '')}"),
        ("command", record.get("command")),
        ("batchscore", record.get("code_version")),
        ("run key", record.get("run_key")),
        ("config sha256", record.get("config_sha256")),
        ("commits", ", ".join(f"{name} {version}" for name, version in commits.items())),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _checks(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"word": verdict_word(check), "cells": ["" if cell is None else show(cell) for cell in line]}
        for check, line in zip(checks, check_lines(checks), strict=True)
    ]


def _scores(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    charts = []
    for name, plain in (kept.get("distributions") or {}).get("scores", {}).items():
        found = Distribution.from_plain(plain)
        if found.kind != "numeric":
            continue
        beside = (kept.get("reference_scores") or {}).get(name)
        edges, shares, reference = histograms(found, None if beside is None else Distribution.from_plain(beside))
        if shares:
            highest = max(*shares, *reference) if reference else max(shares)
            size = {"width": 640, "height": 160}
            charts.append(
                {
                    "name": name,
                    "low": f"{edges[0]:.4g}",
                    "middle": f"{(edges[0] + edges[-1]) / 2:.4g}",
                    "high": f"{edges[-1]:.4g}",
                    "bars": share_path(shares, highest, **size),
                    "line": outline_path(reference, highest, **size),
                    "highest": f"{100 * highest:.3g} %",
                    **size,
                }
            )
    return charts


def _columns(record: Mapping[str, Any], kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each column's drift, or where there is nothing to compare with, its distribution alone."""
    drift = {(one["place"], one["column"]): one for one in kept.get("drift") or ()}
    summary = (record.get("distributions") or {}).get("columns") or ()
    lines = []
    for one in summary:
        counted = drift.get((one["place"], one["column"]), {})
        lines.append(
            {**one, **_paths(counted.get("counts", ()), counted.get("reference", ()), counted.get("bins", ()))}
        )
    known = {(one["place"], one["column"]) for one in summary}
    for place, columns in (kept.get("distributions") or {}).items():
        for name, plain in columns.items():
            if (place, name) not in known and plain["rows"]:
                missing = plain["nulls"] / plain["rows"]
                lines.append({"place": place, "column": name, "missing": missing, "over": False, **_alone(plain)})
    return lines


def _paths(counts: Sequence[int], reference: Sequence[int], bins: Sequence[str]) -> dict[str, Any]:
    shares = [[count / (sum(side) or 1) for count in side[:MOST_BINS]] for side in (counts, reference)]
    highest = max([*shares[0], *shares[1]], default=0.0)
    what = "; ".join(
        f"{name}: {100 * ours:.1f} % ({100 * theirs:.1f} %)"
        for name, ours, theirs in zip(bins[:MOST_BINS], shares[0], shares[1], strict=False)
    )
    return {"bars": share_path(shares[0], highest), "line": outline_path(shares[1], highest), "what": what}


def _alone(plain: Mapping[str, Any]) -> dict[str, Any]:
    one = Distribution.from_plain(plain)
    if one.kind == "numeric":
        edges, shares, _ = histograms(one, None)
        what = f"{edges[0]:.4g} to {edges[-1]:.4g}" if edges else ""
        return {"bars": share_path(shares, max(shares, default=0.0)), "line": "", "what": what}
    values = sorted((one.values or {}).items(), key=lambda item: -item[1])[:MOST_BINS]
    what = "; ".join(f"{name}: {100 * count / one.rows:.1f} %" for name, count in values)
    counts = [count for _, count in values]
    return {"bars": share_path(counts, max(counts, default=0)), "line": "", "what": what}


def _runtime(runtime: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not runtime:
        return []
    latency = runtime.get("batch_latency_s") or {}
    devices = runtime.get("devices") or {}
    facts = [
        ("devices", ", ".join(f"{name} {100 * share:.3g} %" for name, share in devices.items())),
        ("ONNX Runtime", ", ".join(runtime.get("onnxruntime") or ())),
        ("calls of the model", show(runtime.get("batches"))),
        *((f"latency {q}", _milliseconds(latency.get(q))) for q in ("p50", "p95", "p99", "max")),
        ("rows/s in the model, one worker", show(round(runtime["rows_per_s"])) if runtime.get("rows_per_s") else ""),
        ("sessions built", show(runtime.get("sessions_built"))),
        ("Spark jobs", show(runtime.get("spark_jobs"))),
        ("peak memory of a worker", f"{runtime.get('peak_rss_bytes', 0) / 2**20:,.0f} MiB"),
    ]
    return [(name, text) for name, text in facts if text]


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.3g} ms"


def _workers(runtime: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "tasks": work["tasks"], "rows": show(work["rows"]), "model_s": f"{work['model_s']:.2f}"}
        for name, work in (runtime.get("workers") or {}).items()
    ]


def _challenger(challenger: Mapping[str, Any]) -> dict[str, Any] | None:
    columns = challenger.get("columns")
    if not columns:
        return None
    names = ("rows", "mean", "challenger_mean", "mean_abs_difference", "max_abs_difference", "psi", "rank_correlation")
    lines = [[name, *(show(one.get(key)) for key in (*names, "flips"))] for name, one in columns.items()]
    return {"model": show_model(challenger.get("model")), "names": ("column", *names, "flips"), "lines": lines}


def _lineage(record: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    inputs = [("input", record.get("input")), *(record.get("lookups") or {}).items()]
    commits = record.get("commits") or {}
    model = record.get("model")
    return {
        "inputs": [(name, f"{one['table']}{_version(one)}") for name, one in inputs if one],
        "models": [
            (f"{one['name']}/{one['version']}", f"sha256 {one['sha256'][:16]}…")
            for one in (members_of(model) if model else ())
        ],
        "outputs": [(name, f"{places.get(name, '')}@{version}") for name, version in commits.items()],
    }


def _version(table: Mapping[str, Any]) -> str:
    if table.get("version") is not None:
        return f"@{table['version']}"
    return f" ({table['fingerprint'][:12]}…)" if table.get("fingerprint") else ""
