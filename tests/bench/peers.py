"""Case `peers`: whole runs beside what a user would write today, and a small run beside bare Delta commits.

`full` checks 13 expectations, computes 50 SQL features, scores and publishes; its peer `recipe` does the same by a
Great Expectations Checkpoint, Spark SQL, `mlflow.pyfunc.spark_udf` and a Delta overwrite, as their documents show it.
`score` only scores and publishes; its peer `spark_udf` scores with MLflow and overwrites a Delta table. `small` is a
warm run of 1,000 rows beside four `replaceWhere` commits of as many. All are warm in one session, on one table; rounds
alternate.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from checks import make_checkpoint, thirteen
from features import FORMS
from onnx import TensorProto, helper

COLUMNS = tuple(f"c{number:02d}" for number in range(50))
SMALL_ROWS = 1000
SEED = 3
NAME = "bench_peers"


def bench_peers(folder: Path, rows: int, rounds: int, processes: int, trees: int) -> dict[str, Any]:
    """Time case `peers`; the result as plain values."""
    from batchscore import api  # noqa: PLC0415

    sql = {f"m{i:02d}": FORMS[i % len(FORMS)].format(a=a, b=COLUMNS[(i + 7) % 50]) for i, a in enumerate(COLUMNS)}
    (folder / "suite.json").write_text(json.dumps({"name": "s", "expectations": thirteen()}))
    jobs = {
        "full": _write_job(
            folder, "full", rows, processes, [{"name": n, "sql": text} for n, text in sql.items()], True
        ),
        "score": _write_job(folder, "score", rows, processes, [{"name": name} for name in COLUMNS], False),
        "small": _write_job(folder, "small", SMALL_ROWS, processes, [{"name": name} for name in COLUMNS], False),
    }
    loaded = {name: api.load(file) for name, file in jobs.items()}
    spark = api.spark_session(loaded["full"])
    for count in (rows, SMALL_ROWS):
        _write_rows(spark, folder, count, processes)
    uri = _register(folder, trees)
    checkpoint = make_checkpoint(_quiet_gx(), spark, folder, thirteen(), f"rows{rows}")
    udf = _mlflow_udf(spark, uri, folder)
    table, small = (spark.read.parquet(str(folder / f"rows{count}")) for count in (rows, SMALL_ROWS))

    def recipe() -> None:
        checkpoint()
        made = table.selectExpr("id", *[f"cast({text} as float) as {name}" for name, text in sql.items()])
        scored = made.select("id", udf(*sql).alias("p"))
        scored.write.format("delta").mode("overwrite").save(str(folder / "recipe"))

    def spark_udf() -> None:
        scored = table.select("id", udf(*COLUMNS).alias("p"))
        scored.write.format("delta").mode("overwrite").save(str(folder / "udf"))

    def commits() -> None:
        for _ in range(4):
            part = small.selectExpr("id", "c00 as p", "'one' as part").write.format("delta").partitionBy("part")
            part.mode("overwrite").option("replaceWhere", "part = 'one'").save(str(folder / "commits"))

    sides: dict[str, tuple[Callable[[], Any], Callable[[], None]]] = {
        "full": (lambda: api.run(loaded["full"], force=True), recipe),
        "score": (lambda: api.run(loaded["score"], force=True), spark_udf),
        "small": (lambda: api.run(loaded["small"], force=True), commits),
    }
    found = {name: _race(ours, theirs, rounds) for name, (ours, theirs) in sides.items()}
    _compare(api.scores(loaded["score"]), spark.read.format("delta").load(str(folder / "udf")))
    return {"case": "peers", "rows": rows, "columns": len(COLUMNS), "trees": trees, **found}


def print_peers(case: Mapping[str, Any]) -> None:
    """The figures of case `peers`."""
    for name, peer in (("full", "recipe"), ("score", "spark_udf"), ("small", "4 Delta commits")):
        ours, theirs = (statistics.median(case[name][key]) for key in ("batchscore_s", "peer_s"))
        print(f"  {name:<6} {ours:7.2f} s; {peer} {theirs:7.2f} s; {theirs / ours:.2f} times as fast")


def _write_job(
    folder: Path, name: str, rows: int, processes: int, features: list[dict[str, Any]], checked: bool
) -> Path:
    file = folder / f"{name}.yaml"
    job = {
        "job": f"bench_{name}",
        "interval": {"grain": "snapshot"},
        "input": {"table": f"./rows{rows}", "format": "parquet", "key": ["id"], "on_duplicate_key": "keep"},
        "checks": {"input": "suite.json"} if checked else {},
        "features": {"columns": [{**feature, "on_null": "fail"} for feature in features]},
        "model": {"uri": f"models:/{NAME}@champion", "outputs": {"p": "p"}},
        "output": {"scores": f"./{name}_scores"},
        "engine": {"master": f"local[{processes}]", "driver_memory": "4g"},
        "registry": {"uri": "sqlite:///mlflow.db"},
    }
    file.write_text(json.dumps(job))
    return file


def _write_rows(spark: Any, folder: Path, rows: int, files: int) -> None:
    rng = np.random.default_rng(SEED)
    values = {name: pa.array(rng.normal(size=rows).astype(np.float32)) for name in COLUMNS}
    table = pa.table({"id": pa.array(np.arange(rows, dtype=np.int64)), **values})
    pq.write_table(table, folder / f"made{rows}.parquet", row_group_size=65_536)
    made = spark.read.parquet(str(folder / f"made{rows}.parquet"))
    made.repartition(files).write.parquet(str(folder / f"rows{rows}"))


def _register(folder: Path, trees: int) -> str:
    """Train and register a classifier whose only output is the probability; the registry's URI."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415

    from batchscore.demo.export import export_onnx  # noqa: PLC0415
    from batchscore.models.register import register_onnx  # noqa: PLC0415

    rng = np.random.default_rng(SEED)
    values = rng.normal(size=(20_000, len(COLUMNS))).astype(np.float32)
    late = values[:, 0] + values[:, 1] * values[:, 2] + rng.normal(size=len(values)) > 0
    estimator = HistGradientBoostingClassifier(max_iter=trees, early_stopping=False, random_state=SEED)
    model = _keep_probability(export_onnx(estimator.fit(values, late), len(COLUMNS)))
    uri = f"sqlite:///{folder}/mlflow.db"
    register_onnx(model, NAME, uri, artifact_folder=folder / "artifacts", alias="champion", external_data=False)
    return uri


def _keep_probability(model: onnx.ModelProto) -> onnx.ModelProto:
    """The classifier with one output, `p` [n]: MLflow's wrapper gives back no tables of several columns."""
    graph = model.graph
    graph.initializer.append(helper.make_tensor("_one", TensorProto.INT64, [], [1]))
    graph.node.append(helper.make_node("Gather", ["probabilities", "_one"], ["p"], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, [None]))
    return model


def _mlflow_udf(spark: Any, uri: str, folder: Path) -> Any:
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    import mlflow  # noqa: PLC0415

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mlflow.pyfunc.spark_udf(spark, f"models:/{NAME}@champion", result_type="float", env_manager="local")


def _quiet_gx() -> Any:
    import importlib  # noqa: PLC0415

    importlib.import_module("batchscore.checks.engine")  # GX with its analytics off
    return importlib.import_module("great_expectations")


def _race(ours: Callable[[], Any], theirs: Callable[[], None], rounds: int) -> dict[str, list[float]]:
    """Seconds of both, their rounds alternating; the first, cold one does not count."""
    taken: dict[str, list[float]] = {"batchscore_s": [], "peer_s": []}
    for turn in range(rounds + 1):
        for key, side in (("batchscore_s", ours), ("peer_s", theirs)):
            started = time.perf_counter()
            side()
            if turn:
                taken[key].append(round(time.perf_counter() - started, 3))
    return taken


def _compare(ours: Any, theirs: Any) -> None:
    """Both scored the same rows alike."""
    joined = (
        ours.alias("a").join(theirs.alias("b"), "id", "full").selectExpr("max(abs(a.p - b.p)) as d", "count(*) as n")
    )
    found = joined.collect()[0]
    if found["d"] is None or found["d"] > 1e-6:
        raise SystemExit(f"expected equal scores of both; the largest difference is {found['d']}")
