"""Case `scale`: rows per second, and the driver's memory, as a table grows: half, 2.5 and 10 times the rows.

The last table has its rows in many small files. One model; rounds alternate, and medians are compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from features import _peak_mib
from whole import COLUMNS, SEED, _race, _register, _write_job

FILE_ROWS = 500_000
SMALL_FILE_ROWS = 5_000
MAX_ROUNDS = 2  # the largest run takes minutes


def bench_scale(folder: Path, rows: int, rounds: int, processes: int, trees: int) -> dict[str, Any]:
    """Time case `scale`; the result as plain values."""
    from batchscore import api  # noqa: PLC0415

    sizes = {f"{count:,} rows": (count, FILE_ROWS) for count in (rows // 2, rows * 5 // 2, rows * 10)}
    sizes["small files"] = (rows, SMALL_FILE_ROWS)
    jobs = {}
    for name, (count, per_file) in sizes.items():
        table = f"{count}_{per_file}"
        _write_files(folder / table, count, per_file)
        file = _write_job(folder, f"scale_{table}", count, processes, [{"name": name} for name in COLUMNS])
        file.write_text(file.read_text().replace(f"./rows{count}", f"./{table}"))
        jobs[name] = api.load(file)
    _register(folder, trees)
    peaks: dict[str, int] = {}

    def run(name: str) -> None:
        record = api.run(jobs[name], force=True)
        if record.counts["scored"] != sizes[name][0]:
            raise SystemExit(f"expected {sizes[name][0]} rows to be scored; found {dict(record.counts)}")
        peaks.setdefault(name, _peak_mib())

    taken = _race({name: partial(run, name) for name in sizes}, min(rounds, MAX_ROUNDS))
    speeds = {name: round(sizes[name][0] / statistics.median(times)) for name, times in taken.items()}
    half, most = (speeds[f"{count:,} rows"] for count in (rows * 5 // 2, rows * 10))
    return {
        "case": "scale",
        "rows": rows,
        "rounds_s": taken,
        "rows_per_s": speeds,
        "driver_peak_mib": peaks,
        "largest / middle": most / half,
    }


def print_scale(case: Mapping[str, Any]) -> None:
    """The figures of case `scale`."""
    for name, speed in case["rows_per_s"].items():
        print(f"  {name:<16} {speed:>9,} rows/s; the driver has held at most {case['driver_peak_mib'][name]:,} MiB")
    print(f"  rows/s of the largest / the middle one {case['largest / middle']:.2f}")


def _write_files(folder: Path, rows: int, per_file: int) -> None:
    rng = np.random.default_rng(SEED)
    folder.mkdir()
    for number, start in enumerate(range(0, rows, per_file)):
        count = min(per_file, rows - start)
        columns = {name: pa.array(rng.normal(size=count).astype(np.float32)) for name in COLUMNS}
        table = pa.table({"id": pa.array(np.arange(start, start + count, dtype=np.int64)), **columns})
        path = folder / f"{number:05}.parquet"
        pq.write_table(table, path, row_group_size=65_536, write_page_checksum=True)
