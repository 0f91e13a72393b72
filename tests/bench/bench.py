# ruff: noqa: E501
"""Time batchscore, warm in one session, beside what else does the same work on the same data; say what came out."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from checks import bench_checks
from features import bench_features, bench_lookups, print_features
from scale import bench_scale, print_scale
from start import bench_start, print_start
from watched import bench_watched
from whole import bench_small, bench_whole, print_whole

FEATURES = tuple(f"f{number:02d}" for number in range(20))
SEED = 1


def make_model(folder: Path, trees: int) -> None:
    """Train and register a classifier on generated rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - worker processes need none of it

    from batchscore.demo.export import export_onnx  # noqa: PLC0415
    from batchscore.models.register import register_onnx  # noqa: PLC0415

    rng = np.random.default_rng(SEED)
    values = rng.normal(size=(20_000, len(FEATURES))).astype(np.float32)
    late = values[:, 0] + values[:, 1] * values[:, 2] + rng.normal(size=len(values)) > 0
    estimator = HistGradientBoostingClassifier(max_iter=trees, early_stopping=False, random_state=SEED)
    model = export_onnx(estimator.fit(values, late), len(FEATURES))
    uri = f"sqlite:///{folder}/mlflow.db"
    register_onnx(model, "bench", uri, artifact_folder=folder / "artifacts", alias="champion")


def main() -> None:
    """Run the cases, say what came out, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=[*CASES, "all"], default="all")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    wish = parser.parse_args()
    packages = (
        "batchscore",
        "pyspark",
        "delta-spark",
        "pyarrow",
        "onnxruntime",
        "mlflow",
        "great-expectations",
        "daft",
    )
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "system": platform.platform(terse=True)}
    cases: list[dict[str, Any]] = []
    result = {"machine": machine, "packages": {p: importlib.metadata.version(p) for p in packages}, "cases": cases}
    for name, (bench, show) in CASES.items():
        if wish.case not in (name, "all"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            case = bench(Path(folder), wish)
        cases.append(case)
        wish.out.write_text(json.dumps(result, indent=2) + "\n")
        print(f"{name}, {case['rows']:,} rows, medians of {wish.rounds} rounds in {wish.processes} processes")
        show(case)
    print(f"all of it in {wish.out}")


def print_checks(case: Mapping[str, Any]) -> None:
    """The figures of case `checks`."""
    for name in ("suite", "row_rules"):
        found = case[name]
        ours, theirs = (statistics.median(found[key]) for key in ("batchscore_s", "gx_s"))
        print(
            f"  {found['expectations']:>3} expectations: {ours:.2f} s in {found['batchscore_jobs']} Spark jobs; "
            f"Great Expectations {theirs:.2f} s in {found['gx_jobs']}; {found['times_faster']:.1f} times as fast"
        )
    run = case["within_a_run"]
    print(f"  {run['row_rules']} row rules add {run['added_pct']:.1f} % to a scoring run with one")


CASES: dict[str, tuple[Callable[[Path, argparse.Namespace], dict[str, Any]], Callable[[Mapping[str, Any]], None]]] = {
    "whole": (lambda f, w: bench_whole(f, w.rows, w.rounds, w.processes, w.trees), print_whole),
    "small": (lambda f, w: bench_small(f, w.rounds, w.processes, w.trees), print_whole),
    "watched": (lambda f, w: bench_watched(f, w.rows, w.rounds, w.processes, w.trees), print_whole),
    "start": (lambda f, w: bench_start(f, w.rounds, w.processes), print_start),
    "scale": (lambda f, w: bench_scale(f, w.rows, w.rounds, w.processes, w.trees), print_scale),
    "checks": (lambda f, w: bench_checks(f, w.rows, w.rounds, w.processes, partial(make_model, trees=w.trees)), print_checks),
    "features": (lambda f, w: bench_features(f, w.rows, w.rounds, w.processes), print_features),
    "lookups": (lambda f, w: bench_lookups(f, w.rows, w.rounds, w.processes), print_features),
}  # fmt: skip

if __name__ == "__main__":
    main()
