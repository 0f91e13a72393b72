"""Case `features`: 50 SQL features beside the same expressions in plain Spark SQL, null policies and faults left out.

Case `lookups`: columns of a large table, by equal keys and as of a point in time, beside Spark SQL written by hand
for the same result, in a driver with a heap of 2 GiB. All read Parquet files and write to the `noop` sink; rounds
alternate.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

COLUMNS = 50
KEYS = 100_000
MIB = 1 << 20
FORMS = (
    "{a} * {b} + 1.5",
    "ln(abs({a}) + 1)",
    "case when {a} > {b} then {a} - {b} else 0 end",
    "round({a} * 100, 2)",
    "coalesce({a}, 0) + coalesce({b}, 0)",
    "greatest({a}, {b})",
    "{a} / (abs({b}) + 1)",
    "cast(floor({a} * 10) as int)",
    "pow({a}, 2) + pow({b}, 2)",
    "if({a} between -1 and 1, 1, 0)",
)
AS_OF = """
select l.*, r.v from l left join (
  select id, max_by(named_struct('value', value), known_at) as v
  from (select l.id, l.at, r.known_at, r.value from l join r on l.key = r.key
        and r.known_at < l.at and r.known_at >= l.at - interval 1 day)
  group by id
) r on l.id = r.id
"""
EXACT = """
select l.*, r.v, r.n > 1 as doubled from l left join (
  select right_id, named_struct('value', any_value(value)) as v, count(*) as n from r group by right_id
) r on l.right_id = r.right_id
"""


def bench_features(folder: Path, rows: int, rounds: int, processes: int) -> dict[str, Any]:
    """Time case `features`; the result as plain values."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - the limit's processes need none of it

    names = [f"f{number:02d}" for number in range(COLUMNS)]
    spark, _ = _session(folder, processes, "4g")
    made = spark.range(rows).select("id", *[(F.rand(i) * 4 - 2).alias(name) for i, name in enumerate(names)])
    made.write.parquet(str(folder / "rows"))
    texts = [FORMS[i % len(FORMS)].format(a=name, b=names[(i + 7) % COLUMNS]) for i, name in enumerate(names)]

    from batchscore.config import FeatureConfig  # noqa: PLC0415
    from batchscore.features.build import build_features  # noqa: PLC0415

    features = [FeatureConfig(name=f"made_{i}", sql=text) for i, text in enumerate(texts)]

    def ours() -> Any:
        return build_features(spark, spark.read.parquet(str(folder / "rows")), features, needed=["id"], flags=[]).rows

    def theirs() -> Any:
        plain = [f"{text} as made_{i}" for i, text in enumerate(texts)]
        return spark.read.parquet(str(folder / "rows")).selectExpr("id", *plain)

    return {"case": "features", "rows": rows, "features": len(texts), **_race({"sql": (ours, theirs)}, rounds)}


def bench_lookups(folder: Path, rows: int, rounds: int, processes: int) -> dict[str, Any]:
    """Time case `lookups`: `rows` rows on the left, and two and a half times as many on the right."""
    spark, lookup_of = _session(folder, processes, "2g")
    right = rows * 5 // 2
    moment = "timestamp'2013-10-01 00:00:00' + make_dt_interval(0, 0, 0, pmod(xxhash64({}), 864000))"
    spark.range(rows).selectExpr(
        "id",
        f"pmod(xxhash64(id, 1), {KEYS}) as key",
        f"pmod(xxhash64(id, 2), {right}) as right_id",
        f"{moment.format('id, 3')} as at",
    ).write.parquet(str(folder / "left"))
    spark.range(right).selectExpr(
        "id as right_id",
        f"pmod(xxhash64(id, 4), {KEYS}) as key",
        f"{moment.format('id, 5')} as known_at",
        "cast(id as double) as value",
    ).write.parquet(str(folder / "right"))

    from batchscore.features.lookups import add_lookups  # noqa: PLC0415

    def ours(lookup: Any) -> Callable[[], Any]:
        def run() -> Any:
            left, table = (spark.read.parquet(str(folder / name)) for name in ("left", "right"))
            return add_lookups(left, {"v": lookup}, {"v": table})

        return run

    def theirs(text: str) -> Callable[[], Any]:
        def run() -> Any:
            for name, view in (("left", "l"), ("right", "r")):
                spark.read.parquet(str(folder / name)).createOrReplaceTempView(view)
            return spark.sql(text)

        return run

    exact = lookup_of(table="r", on=("right_id",), columns=("value",))
    as_of = lookup_of(table="r", on=("key",), columns=("value",), at="at", known_at="known_at", max_age="24h")
    pairs = {"exact": (ours(exact), theirs(EXACT)), "as of": (ours(as_of), theirs(AS_OF))}
    for own, plain in pairs.values():
        _compare(own(), plain())
    found = _race(pairs, rounds)
    return {"case": "lookups", "rows": rows, "right_rows": right, "peak_mib": _peak_mib(), **found}


def _session(folder: Path, processes: int, memory: str) -> tuple[Any, Any]:
    from batchscore.config import EngineConfig, LookupConfig  # noqa: PLC0415
    from batchscore.session import open_session  # noqa: PLC0415

    engine = EngineConfig(master=f"local[{processes}]", driver_memory=memory)
    spark = open_session(engine, "UTC", {"spark.sql.warehouse.dir": str(folder / "warehouse")}, delta=False)
    return spark, LookupConfig


def _race(pairs: Mapping[str, tuple[Callable[[], Any], Callable[[], Any]]], rounds: int) -> dict[str, Any]:
    """Seconds of each side of each pair, their rounds alternating; the first, cold one does not count."""
    taken: dict[str, dict[str, list[float]]] = {name: {"batchscore_s": [], "spark_sql_s": []} for name in pairs}
    for turn in range(rounds + 1):
        for name, sides in pairs.items():
            for key, side in zip(taken[name], sides, strict=True):
                started = time.perf_counter()
                side().write.format("noop").mode("overwrite").save()
                if turn:
                    taken[name][key].append(round(time.perf_counter() - started, 3))
    return {name: {**found, "ratio": _ratio(found)} for name, found in taken.items()}


def _ratio(found: Mapping[str, list[float]]) -> float:
    return statistics.median(found["spark_sql_s"]) / statistics.median(found["batchscore_s"])


def _compare(own: Any, plain: Any) -> None:
    """Both give the same: counted, and by a sum of hashes over all rows."""
    found = [
        frame.selectExpr("count(*) as n", "sum(cast(pmod(xxhash64(id, v.value), 1000003) as bigint)) as h").collect()[0]
        for frame in (own, plain)
    ]
    if found[0] != found[1]:
        raise SystemExit(f"expected one result of both; found {found}")


def _peak_mib() -> int:
    """Most memory that the JVM has held, as the kernel counts it."""
    from pyspark import SparkContext  # noqa: PLC0415

    gateway: Any = SparkContext._gateway
    status = Path(f"/proc/{gateway.proc.pid}/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024 // MIB


def print_features(case: Mapping[str, Any]) -> None:
    """The figures of cases `features` and `lookups`."""
    for name, found in case.items():
        if isinstance(found, dict):
            ours, theirs = (statistics.median(found[key]) for key in ("batchscore_s", "spark_sql_s"))
            print(f"  {name:<6} {ours:6.2f} s; Spark SQL {theirs:6.2f} s; ratio {found['ratio']:.2f}")
    if "peak_mib" in case:
        print(f"  the driver held at most {case['peak_mib']:,} MiB")
    print(f"  {json.dumps({k: v for k, v in case.items() if not isinstance(v, dict)})}")
