"""Time batchscore, warm in one session, beside what else does the same work on the same data.

Case `score`: rows of float features and no checks. The limit is pyarrow, ONNX Runtime and pyarrow again in as many
processes as Spark has task slots; it proves nothing, checks nothing and publishes nothing, so it is what no run can
beat. Both are warm, their rounds alternate, and medians are compared. On few rows a run is mostly fixed cost.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
from checks import bench_checks
from features import bench_features, bench_lookups, print_features
from peers import bench_peers, print_peers

FEATURES = tuple(f"f{number:02d}" for number in range(20))
BATCH_ROWS = 8192
SEED = 1
JOB = """
job: bench_score
interval: {{grain: snapshot}}
input: {{table: ./rows, format: {format}, key: [id], on_duplicate_key: keep}}
features: {{columns: [{features}]}}
model: {{uri: "models:/bench@champion", outputs: {{p: "probabilities[:, 1]"}}}}
output: {{scores: ./scores, format: {format}}}
engine: {{master: "local[{processes}]"}}
registry: {{uri: "sqlite:///mlflow.db"}}
"""
_session: ort.InferenceSession


def make_model(folder: Path, trees: int) -> bytes:
    """Train and register a classifier on generated rows; its ONNX bytes."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - the limit's processes need none of it

    from batchscore.demo.export import export_onnx  # noqa: PLC0415
    from batchscore.models.register import register_onnx  # noqa: PLC0415

    rng = np.random.default_rng(SEED)
    values = rng.normal(size=(20_000, len(FEATURES))).astype(np.float32)
    late = values[:, 0] + values[:, 1] * values[:, 2] + rng.normal(size=len(values)) > 0
    estimator = HistGradientBoostingClassifier(max_iter=trees, early_stopping=False, random_state=SEED)
    model = export_onnx(estimator.fit(values, late), len(FEATURES))
    uri = f"sqlite:///{folder}/mlflow.db"
    register_onnx(model, "bench", uri, artifact_folder=folder / "artifacts", alias="champion")
    return bytes(model.SerializeToString())


def write_rows(spark: Any, folder: Path, rows: int, files: int, table_format: str) -> list[str]:
    """Write the input table as `files` files; their paths."""
    rng = np.random.default_rng(SEED)
    values = {name: pa.array(rng.normal(size=rows).astype(np.float32)) for name in FEATURES}
    table = pa.table({"id": pa.array(np.arange(rows, dtype=np.int64)), **values})
    pq.write_table(table, folder / "made.parquet", row_group_size=65_536)
    made = spark.read.parquet(str(folder / "made.parquet"))
    made.repartition(files).write.format(table_format).save(str(folder / "rows"))
    return sorted(str(path) for path in (folder / "rows").glob("*.parquet"))


def start_limit(model: bytes) -> None:
    """Build a process's session, once, with the one thread that a task slot has."""
    global _session  # noqa: PLW0603 - one for each process, as in Spark's workers
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    _session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def score_files(files: list[str], target: str) -> int:
    """Score some files into one; the rows."""
    done, schema = 0, pa.schema([("id", pa.int64()), ("p", pa.float32())])
    with pq.ParquetWriter(target, schema) as writer:
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=["id", *FEATURES]):
                tensor = np.column_stack([batch.column(name).to_numpy() for name in FEATURES])
                scores = _session.run(["probabilities"], {"features": tensor})[0][:, 1]
                writer.write_batch(pa.record_batch([batch.column("id"), pa.array(scores)], schema=schema))
                done += batch.num_rows
    return done


def time_limit(pool: ProcessPoolExecutor, shares: list[list[str]], folder: Path) -> float:
    """Seconds of one round without Spark."""
    started = time.perf_counter()
    list(pool.map(score_files, shares, [str(folder / f"limit{number}.parquet") for number in range(len(shares))]))
    return time.perf_counter() - started


def time_run(job: Any, rows: int) -> tuple[float, Mapping[str, float]]:
    """Seconds of one whole run, and of each of its steps."""
    from batchscore import api  # noqa: PLC0415

    started = time.perf_counter()
    record = api.run(job, force=True)
    took = time.perf_counter() - started
    if record.counts != {"read": rows, "scored": rows, "quarantined": 0}:
        raise SystemExit(f"expected {rows} rows to be scored; found {dict(record.counts)}")
    return took, record.timings_s


def compare_scores(job: Any, folder: Path, processes: int) -> float:
    """Largest difference between what both published."""
    from batchscore import api  # noqa: PLC0415

    columns = api.scores(job).select("id", "p").toArrow().sort_by("id")
    limit = pa.concat_tables([pq.read_table(folder / f"limit{n}.parquet") for n in range(processes)]).sort_by("id")
    if columns["id"].to_pylist() != limit["id"].to_pylist():
        raise SystemExit("expected both to score the same rows; they did not")
    return float(np.abs(columns["p"].to_numpy() - limit["p"].to_numpy()).max())


def bench_score(folder: Path, rows: int, rounds: int, processes: int, table_format: str, trees: int) -> dict[str, Any]:
    """Time case `score`; the result as plain values."""
    from batchscore import api  # noqa: PLC0415

    model = make_model(folder, trees)
    features = ", ".join(f"{{name: {name}, on_null: fail}}" for name in FEATURES)
    (folder / "job.yaml").write_text(JOB.format(format=table_format, features=features, processes=processes))
    job = api.load(folder / "job.yaml")
    files = write_rows(api.spark_session(job), folder, rows, processes, table_format)
    shares = [files[number::processes] for number in range(processes)]
    run_s, limit_s, steps = [], [], []
    with ProcessPoolExecutor(processes, get_context("spawn"), start_limit, (model,)) as pool:
        time_run(job, rows)  # both are warmed up by a round that does not count
        time_limit(pool, shares, folder)
        for _ in range(rounds):
            took, timings = time_run(job, rows)
            run_s.append(took)
            steps.append(timings)
            limit_s.append(time_limit(pool, shares, folder))
    run, limit = statistics.median(run_s), statistics.median(limit_s)
    return {
        "case": "score",
        "format": table_format,
        "rows": rows,
        "features": len(FEATURES),
        "trees": trees,
        "processes": processes,
        "batchscore": {"median_s": run, "rows_per_s": rows / run, "rounds_s": run_s},
        "limit": {"median_s": limit, "rows_per_s": rows / limit, "rounds_s": limit_s},
        "of_the_limit": limit / run,
        "step_median_s": {name: round(statistics.median(step[name] for step in steps), 3) for name in steps[0]},
        "largest_difference": compare_scores(job, folder, processes),
    }


def main() -> None:
    """Run the cases, say what came out, and keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--case", choices=["score", "checks", "features", "lookups", "peers", "all"], default="all")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--format", choices=["delta", "parquet"], default="delta")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    wish = parser.parse_args()
    cases = []
    if wish.case in ("score", "all"):
        with tempfile.TemporaryDirectory() as folder:
            cases.append(bench_score(Path(folder), wish.rows, wish.rounds, wish.processes, wish.format, wish.trees))
    if wish.case in ("checks", "all"):
        with tempfile.TemporaryDirectory() as folder:
            model = partial(make_model, trees=wish.trees)
            cases.append(bench_checks(Path(folder), wish.rows, wish.rounds, wish.processes, model))
    for name, bench in (("features", bench_features), ("lookups", bench_lookups)):
        if wish.case in (name, "all"):
            with tempfile.TemporaryDirectory() as folder:
                cases.append(bench(Path(folder), wish.rows, wish.rounds, wish.processes))
    if wish.case in ("peers", "all"):
        with tempfile.TemporaryDirectory() as folder:
            cases.append(bench_peers(Path(folder), wish.rows, wish.rounds, wish.processes, wish.trees))
    packages = ("batchscore", "pyspark", "delta-spark", "pyarrow", "onnxruntime")
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "system": platform.platform(terse=True)}
    result = {"machine": machine, "packages": {p: importlib.metadata.version(p) for p in packages}, "cases": cases}
    wish.out.write_text(json.dumps(result, indent=2) + "\n")
    for case in cases:
        print(f"{case['case']}, {wish.rows:,} rows, medians of {wish.rounds} rounds in {wish.processes} processes")
        {"score": print_score, "checks": print_checks, "peers": print_peers}.get(case["case"], print_features)(case)
    print(f"all of it in {wish.out}")


def print_score(case: Mapping[str, Any]) -> None:
    """The figures of case `score`."""
    run, limit = case["batchscore"], case["limit"]
    print(f"  batchscore  {run['median_s']:7.2f} s  {run['rows_per_s']:>12,.0f} rows/s")
    print(f"  limit       {limit['median_s']:7.2f} s  {limit['rows_per_s']:>12,.0f} rows/s")
    took = ", ".join(f"{name} {seconds:.2f}" for name, seconds in case["step_median_s"].items())
    print(f"  of the limit {case['of_the_limit']:.2f}; seconds by step: {took}")


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


if __name__ == "__main__":
    main()
