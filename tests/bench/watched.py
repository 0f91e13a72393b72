"""Case `watched`: what distributions, the drift gate, and being told of a run add to a whole one.

`bare` is `full` of case `whole` (13 expectations, 50 SQL features, scoring, publish) with `gates.sample_rows: 0`;
`full` counts distributions, as every run does unless told not to; `watched` has a drift gate on all columns besides,
and tells of the run by a report page, an MLflow run, OpenLineage events and a file for Prometheus.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checks import thirteen
from features import FORMS
from whole import COLUMNS, _median_steps, _race, _register, _write_job, _write_rows

SIGNALS = {
    "reports": "./reports",
    "mlflow": {"experiment": "bench"},
    "openlineage": {"file": "./lineage.jsonl"},
    "prometheus": {"file": "./bench.prom"},
}


def bench_watched(folder: Path, rows: int, rounds: int, processes: int, trees: int) -> dict[str, Any]:
    """Time case `watched`; the result as plain values."""
    from batchscore import api  # noqa: PLC0415

    sql = {f"m{i:02d}": FORMS[i % len(FORMS)].format(a=a, b=COLUMNS[(i + 7) % 50]) for i, a in enumerate(COLUMNS)}
    made = [{"name": name, "sql": text} for name, text in sql.items()]
    (folder / "suite.json").write_text(json.dumps({"name": "s", "expectations": thirteen()}))
    checks = {"input": "suite.json"}
    sides = ("bare", "full", "watched")
    jobs = {name: _write_job(folder, name, rows, processes, made, checks=checks) for name in sides}
    spark = api.spark_session(api.load(jobs["full"]))
    _write_rows(spark, folder, rows, processes)
    _register(folder, trees)
    first = api.run(api.load(jobs["watched"]))
    loaded = {
        "bare": api.load(jobs["bare"], ["gates.sample_rows=0"]),
        "full": api.load(jobs["full"]),
        "watched": api.load(
            jobs["watched"], [f"gates.drift={{reference: {first.run_id}}}", f"signals={json.dumps(SIGNALS)}"]
        ),
    }
    records: dict[str, list[Any]] = {name: [] for name in loaded}

    def ours(name: str) -> Callable[[], None]:
        return lambda: records[name].append(api.run(loaded[name], force=True))

    taken = _race({name: ours(name) for name in loaded}, rounds)
    if records["watched"][-1].gates[-1]["verdict"] != "pass" or len(list((folder / "reports").iterdir())) <= rounds:
        raise SystemExit("expected the drift gate to pass, and a page of every run")
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "case": "watched",
        "rows": rows,
        "rounds_s": taken,
        "median_s": seconds,
        "step_median_s": {name: _median_steps([one.timings_s for one in found[1:]]) for name, found in records.items()},
        "ratios": {
            "full / bare": seconds["full"] / seconds["bare"],
            "watched / bare": seconds["watched"] / seconds["bare"],
        },
    }
