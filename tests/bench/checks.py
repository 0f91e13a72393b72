"""Case `checks`: expectations alone beside a Great Expectations Checkpoint, and their cost within a scoring run.

Both look at the same Parquet table in the same Spark session, warm; their rounds alternate, and medians are compared.
"""

from __future__ import annotations

import importlib
import json
import statistics
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = tuple(f"c{number:02d}" for number in range(50))
FEATURES = COLUMNS[:20]
SEED = 2
ROW_RULES = 100
JOB = {
    "job": "bench_checks",
    "interval": {"grain": "snapshot"},
    "input": {"table": "./rows", "format": "parquet", "key": ["id"], "on_duplicate_key": "keep"},
    "features": {"columns": [{"name": name, "on_null": "fail"} for name in FEATURES]},
    "model": {"uri": "models:/bench@champion", "outputs": {"p": "probabilities[:, 1]"}},
    "output": {"scores": "./scores", "format": "parquet"},
    "registry": {"uri": "sqlite:///mlflow.db"},
}


def expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    """One expectation in Great Expectations' form."""
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": "warning", "meta": {}}


def thirteen() -> list[dict[str, Any]]:
    """A small suite: some of each kind."""
    a, b, c, d, e = COLUMNS[:5]
    return [
        expect("table_row_count_to_be_between", min_value=1),
        *[expect("column_values_to_not_be_null", column=name) for name in (a, b, c)],
        *[expect("column_values_to_be_between", column=name, min_value=-4, max_value=4) for name in (a, b, c, d)],
        expect("column_min_to_be_between", column=a, max_value=0),
        expect("column_max_to_be_between", column=b, min_value=0),
        expect("column_mean_to_be_between", column=c, min_value=-1, max_value=1),
        expect("column_stdev_to_be_between", column=d, min_value=0, max_value=2),
        expect("column_sum_to_be_between", column=e, min_value=-1e9, max_value=1e9),
    ]


def row_rules(count: int) -> list[dict[str, Any]]:
    """Row rules over all columns: two kinds in turn."""
    rules = [expect("column_values_to_be_between", column=name, min_value=-4, max_value=4) for name in COLUMNS]
    rules += [expect("column_values_to_not_be_null", column=name) for name in COLUMNS]
    return rules[:count]


def write_rows(folder: Path, rows: int, files: int) -> None:
    """Write the table: normal doubles, one in a hundred null."""
    rng = np.random.default_rng(SEED)
    (folder / "rows").mkdir()
    for number in range(files):
        share = rows // files
        columns = {"id": pa.array(np.arange(number * share, (number + 1) * share, dtype=np.int64))}
        for name in COLUMNS:
            nulls = None if name in FEATURES else rng.random(share) < 0.01
            columns[name] = pa.array(rng.normal(size=share), mask=nulls)
        pq.write_table(pa.table(columns), folder / "rows" / f"{number}.parquet", row_group_size=131_072)


def make_checkpoint(gx: Any, spark: Any, folder: Path, suite: list[Any], table: str = "rows") -> Any:
    """A checkpoint over the table, as GX's own documents set one up; returns what runs it."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_spark(name="bench", persist=False)
    batch = source.add_dataframe_asset(name="rows").add_batch_definition_whole_dataframe("whole")
    made = context.suites.add(gx.ExpectationSuite(name="bench", expectations=suite))
    definition = context.validation_definitions.add(gx.ValidationDefinition(data=batch, suite=made, name="bench"))
    checkpoint = context.checkpoints.add(gx.Checkpoint(name="bench", validation_definitions=[definition]))
    return lambda: checkpoint.run(batch_parameters={"dataframe": spark.read.parquet(str(folder / table))})


def count_jobs(spark: Any, work: Any) -> tuple[float, int, Any]:
    """Seconds and Spark jobs of some work, and what it gives."""
    group = uuid.uuid4().hex
    spark.sparkContext.setJobGroup(group, "bench")
    started = time.perf_counter()
    found = work()
    took = time.perf_counter() - started
    return took, len(spark.sparkContext.statusTracker().getJobIdsForGroup(group)), found


def compare(spark: Any, folder: Path, suite: list[dict[str, Any]], rounds: int) -> dict[str, Any]:
    """Checks alone by both."""
    from batchscore import api  # noqa: PLC0415

    importlib.import_module("batchscore.checks.engine")  # GX with its analytics off
    gx = importlib.import_module("great_expectations")
    (folder / "suite.json").write_text(json.dumps({"name": "bench", "expectations": suite}))
    (folder / "job.yaml").write_text(json.dumps({**JOB, "checks": {"input": "suite.json"}}))
    job = api.load(folder / "job.yaml")
    run_gx = make_checkpoint(gx, spark, folder, suite)
    ours_s: list[float] = []
    theirs_s: list[float] = []
    for number in range(rounds + 1):  # the first round warms both up
        report = api.check(job)
        took, jobs, result = count_jobs(spark, run_gx)
        theirs = {_name(r.expectation_config): r.success for r in next(iter(result.run_results.values())).results}
        configs = [(item["type"], item["kwargs"].get("column")) for item in suite]
        if theirs != dict(zip(configs, (check["success"] for check in report.checks), strict=True)):
            raise SystemExit("expected the same verdicts from both; they differ")
        if number:
            ours_s.append(report.seconds)
            theirs_s.append(took)
    times = statistics.median(theirs_s) / statistics.median(ours_s)
    return {
        "expectations": len(suite),
        "batchscore_s": [round(s, 3) for s in ours_s],
        "gx_s": [round(s, 3) for s in theirs_s],
        "batchscore_jobs": report.spark_jobs,
        "gx_jobs": jobs,
        "times_faster": round(times, 2),
    }


def _name(config: Any) -> tuple[str, str | None]:
    return config.type, config.kwargs.get("column")


def within_a_run(folder: Path, rounds: int) -> dict[str, Any]:
    """Whole scoring runs with one row rule and with many, in turn."""
    from batchscore import api  # noqa: PLC0415

    jobs = {}
    for count in (1, ROW_RULES):
        (folder / f"suite{count}.json").write_text(json.dumps({"name": "s", "expectations": row_rules(count)}))
        settings = {**JOB, "checks": {"input": f"suite{count}.json"}}
        (folder / f"job{count}.yaml").write_text(json.dumps(settings))
        jobs[count] = api.load(folder / f"job{count}.yaml")
    taken: dict[int, list[float]] = {count: [] for count in jobs}
    for number in range(rounds + 1):
        for count, job in jobs.items():
            started = time.perf_counter()
            api.run(job, force=True)
            if number:
                taken[count].append(time.perf_counter() - started)
    one, many = (statistics.median(taken[count]) for count in jobs)
    return {
        "row_rules": ROW_RULES,
        "one_rule_s": [round(s, 3) for s in taken[1]],
        "many_rules_s": [round(s, 3) for s in taken[ROW_RULES]],
        "added_pct": round(100 * (many / one - 1), 1),
    }


def bench_checks(folder: Path, rows: int, rounds: int, processes: int, model: Any) -> dict[str, Any]:
    """Time case `checks`; the result as plain values.

    Args:
        folder: An empty folder.
        rows: Rows of the table.
        rounds: Rounds that count.
        processes: Task slots.
        model: Makes and registers the model of the scoring runs, for a number of features.
    """
    from batchscore import api  # noqa: PLC0415

    JOB["engine"] = {"master": f"local[{processes}]", "driver_memory": "4g"}
    write_rows(folder, rows, processes)
    (folder / "job.yaml").write_text(json.dumps(JOB))
    spark = api.spark_session(api.load(folder / "job.yaml"))
    model(folder)
    return {
        "case": "checks",
        "rows": rows,
        "columns": len(COLUMNS),
        "processes": processes,
        "suite": compare(spark, folder, thirteen(), rounds),
        "row_rules": compare(spark, folder, row_rules(ROW_RULES), max(1, rounds - 1)),
        "within_a_run": within_a_run(folder, rounds),
    }
