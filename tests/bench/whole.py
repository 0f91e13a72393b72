"""Case `whole`: whole runs beside the limit, and beside what a user would write today; case `small`: few rows.

`score` only scores and publishes; `delta` does so from a Delta table; `fastest` verifies no page checksums. `full`
checks 13 expectations, computes 50 SQL features on Comet, scores and publishes. Beside them:

- `limit`: see `limit.py`.
- `daft`: Daft scores the same files with the same model into Parquet files.
- `recipe`: a Great Expectations Checkpoint, Spark SQL, `mlflow.pyfunc.spark_udf` and a Delta overwrite.
- `spark_udf`: MLflow's function and a Delta overwrite. `predict_batch_udf`: the same with Spark's own batch function.

`small` is a warm run of 1,000 rows beside four `replaceWhere` commits of as many. All are warm, on one table, with one
model; rounds alternate, and medians are compared.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from checks import make_checkpoint, thirteen
from features import FORMS
from limit import BATCH_ROWS, open_pool, run_limit
from onnx import TensorProto, helper

COLUMNS = tuple(f"c{number:02d}" for number in range(50))
SMALL_ROWS = 1000
SEED = 3
NAME = "bench_peers"


def bench_whole(folder: Path, rows: int, rounds: int, processes: int, trees: int) -> dict[str, Any]:
    """Time case `whole`; the result as plain values."""
    from pyspark.sql.functions import array  # noqa: PLC0415

    from batchscore import api  # noqa: PLC0415

    sql = {f"m{i:02d}": FORMS[i % len(FORMS)].format(a=a, b=COLUMNS[(i + 7) % 50]) for i, a in enumerate(COLUMNS)}
    made, plain = [{"name": n, "sql": text} for n, text in sql.items()], [{"name": name} for name in COLUMNS]
    (folder / "suite.json").write_text(json.dumps({"name": "s", "expectations": thirteen()}))
    jobs = {
        "score": _write_job(folder, "score", rows, processes, plain),
        "delta": _write_job(folder, "delta", rows, processes, plain, input={"table": "./delta", "format": "delta"}),
        "fastest": _write_job(folder, "fastest", rows, processes, plain, engine={"verify_pages": False}),
        "full": _write_job(folder, "full", rows, processes, made, checks={"input": "suite.json"}),
    }
    loaded = {name: api.load(file) for name, file in jobs.items()}
    spark = api.spark_session(loaded["full"])
    files = _write_rows(spark, folder, rows, processes)
    table = spark.read.parquet(str(folder / f"rows{rows}"))
    table.write.format("delta").save(str(folder / "delta"))
    uri, model = _register(folder, trees)
    checkpoint = make_checkpoint(_quiet_gx(), spark, folder, thirteen(), f"rows{rows}")
    udf, batch_udf = _mlflow_udf(spark, uri), _batch_udf(spark, model)
    steps: dict[str, list[Mapping[str, float]]] = {name: [] for name in loaded}

    def ours(name: str) -> Callable[[], None]:
        def run() -> None:
            record = api.run(loaded[name], force=True)
            if record.counts != {"read": rows, "scored": rows, "quarantined": 0}:
                raise SystemExit(f"expected {rows} rows to be scored; found {dict(record.counts)}")
            steps[name].append(record.timings_s)

        return run

    def overwrite(frame: Any, name: str) -> None:
        frame.write.format("delta").mode("overwrite").save(str(folder / name))

    def recipe() -> None:
        checkpoint()
        features = table.selectExpr("id", *[f"cast({text} as float) as {name}" for name, text in sql.items()])
        overwrite(features.select("id", udf(*sql).alias("p")), "recipe")

    with open_pool(model, processes) as pool:
        shares = [files[number::processes] for number in range(processes)]
        sides: dict[str, Callable[[], Any]] = {
            "limit": lambda: run_limit(pool, shares, folder, COLUMNS),
            **{name: ours(name) for name in loaded},
            "daft": _daft(files, model, folder),
            "spark_udf": lambda: overwrite(table.select("id", udf(*COLUMNS).alias("p")), "spark_udf"),
            "predict_batch_udf": lambda: overwrite(
                table.select("id", batch_udf(array(*COLUMNS)).alias("p")), "batch_udf"
            ),
            "recipe": recipe,
        }
        taken = _race(sides, rounds)
    _compare(api.scores(loaded["score"]), spark.read.format("delta").load(str(folder / "spark_udf")))
    _compare(api.scores(loaded["score"]), spark.read.parquet(str(folder / "limit*.parquet")))
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "case": "whole",
        "rows": rows,
        "columns": len(COLUMNS),
        "trees": trees,
        "rounds_s": taken,
        "median_s": seconds,
        "step_median_s": {name: _median_steps(steps[name][1:]) for name in steps},
        "ratios": {
            "score / limit": seconds["limit"] / seconds["score"],
            "delta / limit": seconds["limit"] / seconds["delta"],
            "fastest / limit": seconds["limit"] / seconds["fastest"],
            "full / limit": seconds["limit"] / seconds["full"],
            "scoring alone / daft": seconds["daft"] / statistics.median(one["score"] for one in steps["score"][1:]),
            "score / spark_udf": seconds["spark_udf"] / seconds["score"],
            "score / predict_batch_udf": seconds["predict_batch_udf"] / seconds["score"],
            "full / recipe": seconds["recipe"] / seconds["full"],
        },
    }


def bench_small(folder: Path, rounds: int, processes: int, trees: int) -> dict[str, Any]:
    """Time case `small`; the result as plain values."""
    from batchscore import api  # noqa: PLC0415

    job = api.load(_write_job(folder, "small", SMALL_ROWS, processes, [{"name": name} for name in COLUMNS]))
    spark = api.spark_session(job)
    _write_rows(spark, folder, SMALL_ROWS, processes)
    _register(folder, trees)
    small = spark.read.parquet(str(folder / f"rows{SMALL_ROWS}"))

    def commits() -> None:
        for _ in range(4):
            part = small.selectExpr("id", "c00 as p", "'one' as part").write.format("delta").partitionBy("part")
            part.mode("overwrite").option("replaceWhere", "part = 'one'").save(str(folder / "commits"))

    records: list[Any] = []
    taken = _race({"small": lambda: records.append(api.run(job, force=True)), "commits": commits}, 2 * rounds)
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "case": "small",
        "rows": SMALL_ROWS,
        "rounds_s": taken,
        "median_s": seconds,
        "step_median_s": {"small": _median_steps([one.timings_s for one in records[1:]])},
        "spark_jobs": records[-1].runtime["spark_jobs"],
        "ratios": {"small / 4 Delta commits": seconds["small"] / seconds["commits"]},
    }


def print_whole(case: Mapping[str, Any]) -> None:
    """The figures of cases whose sides are timed by name."""
    for name, seconds in case["median_s"].items():
        steps = case["step_median_s"].get(name, {})
        took = ", ".join(f"{step} {time:.2f}" for step, time in steps.items())
        print(f"  {name:<18} {seconds:7.2f} s {case['rows'] / seconds:>10,.0f} rows/s  {took}")
    for name, ratio in case["ratios"].items():
        print(f"  {name:<28} {ratio:5.2f}")


def _median_steps(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(step[name] for step in steps), 3) for name in steps[0]}


def _write_job(
    folder: Path, name: str, rows: int, processes: int, features: list[dict[str, Any]], **sections: dict[str, Any]
) -> Path:
    file = folder / f"{name}.yaml"
    source = {"table": f"./rows{rows}", "format": "parquet", "key": ["id"], "on_duplicate_key": "keep"}
    engine = {"master": f"local[{processes}]", "driver_memory": "4g", "accelerator": "comet"}
    job = {
        "job": f"bench_{name}",
        "interval": {"grain": "snapshot"},
        "input": {**source, **sections.get("input", {})},
        "checks": sections.get("checks", {}),
        "features": {"columns": [{**feature, "on_null": "fail"} for feature in features]},
        "model": {"uri": f"models:/{NAME}@champion", "outputs": {"p": "p"}},
        "output": {"scores": f"./{name}_scores"},
        "engine": {**engine, **sections.get("engine", {})},
        "registry": {"uri": "sqlite:///mlflow.db"},
    }
    file.write_text(json.dumps(job))
    return file


def _write_rows(spark: Any, folder: Path, rows: int, files: int) -> list[str]:
    """Normal floats in Parquet files with page checksums; their paths."""
    rng = np.random.default_rng(SEED)
    values = {name: pa.array(rng.normal(size=rows).astype(np.float32)) for name in COLUMNS}
    table = pa.table({"id": pa.array(np.arange(rows, dtype=np.int64)), **values})
    pq.write_table(table, folder / f"made{rows}.parquet", row_group_size=65_536)
    made = spark.read.parquet(str(folder / f"made{rows}.parquet")).repartition(files).write
    made.option("parquet.page.write-checksum.enabled", "true").parquet(str(folder / f"rows{rows}"))
    return sorted(str(path) for path in (folder / f"rows{rows}").glob("*.parquet"))


def _register(folder: Path, trees: int) -> tuple[str, bytes]:
    """Train and register a classifier whose only output is the probability; the registry's URI, and its bytes."""
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
    return uri, bytes(model.SerializeToString())


def _keep_probability(model: onnx.ModelProto) -> onnx.ModelProto:
    """The classifier with one output, `p` [n]: MLflow's wrapper gives back no tables of several columns."""
    graph = model.graph
    graph.initializer.append(helper.make_tensor("_one", TensorProto.INT64, [], [1]))
    graph.node.append(helper.make_node("Gather", ["probabilities", "_one"], ["p"], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, [None]))
    return model


def _mlflow_udf(spark: Any, uri: str) -> Any:
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


def _batch_udf(spark: Any, model: bytes) -> Any:
    from pyspark.ml.functions import predict_batch_udf  # noqa: PLC0415
    from pyspark.sql.types import FloatType  # noqa: PLC0415

    shared = spark.sparkContext.broadcast(model)

    def make_predict() -> Callable[..., np.ndarray]:
        import onnxruntime  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(shared.value, options, providers=["CPUExecutionProvider"])

        def predict(tensor: np.ndarray) -> np.ndarray:
            found: np.ndarray = session.run(["p"], {"features": tensor.astype(np.float32)})[0]
            return found

        return predict

    return predict_batch_udf(make_predict, return_type=FloatType(), batch_size=BATCH_ROWS, input_tensor_shapes=[[50]])


def _daft(files: Sequence[str], model: bytes, folder: Path) -> Callable[[], None]:
    import daft  # noqa: PLC0415 - a peer, installed for this alone

    @daft.cls
    class Scorer:
        def __init__(self) -> None:
            import onnxruntime  # noqa: PLC0415

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        @daft.method.batch(return_dtype=daft.DataType.float32(), batch_size=BATCH_ROWS)
        def score(self, *columns: Any) -> Any:
            tensor = np.column_stack([column.to_arrow().to_numpy() for column in columns])
            return pa.array(self.session.run(["p"], {"features": tensor})[0])

    scorer = Scorer()

    def run() -> None:
        frame = daft.read_parquet(list(files))
        scored = frame.select(frame["id"], scorer.score(*[frame[name] for name in COLUMNS]).alias("p"))
        scored.write_parquet(str(folder / "daft"), write_mode="overwrite")

    return run


def _race(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, their rounds alternating; the first, cold one does not count."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            if turn:
                taken[name].append(round(time.perf_counter() - started, 3))
    return taken


def _compare(ours: Any, theirs: Any) -> None:
    """Both scored the same rows alike."""
    joined = (
        ours.alias("a").join(theirs.alias("b"), "id", "full").selectExpr("max(abs(a.p - b.p)) as d", "count(*) as n")
    )
    found = joined.collect()[0]
    if found["d"] is None or found["d"] > 1e-6:
        raise SystemExit(f"expected equal scores of both; the largest difference is {found['d']}")
