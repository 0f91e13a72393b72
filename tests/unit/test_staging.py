"""Stage files that workers write: named when whole, one outcome each; and how pieces become tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchscore.errors import WriteError
from batchscore.kernel.batch import stage_schema
from batchscore.kernel.scan import Piece
from batchscore.kernel.staging import StagePlace, stage_batches
from batchscore.tables.direct import TASK_BYTES, share_out

SCHEMA = stage_schema([pa.field("id", pa.int64()), pa.field("p", pa.float32())], pa.struct([("id", pa.int64())]))


def batch(outcome: str, ids: list[int]) -> pa.RecordBatch:
    """Some rows of one outcome."""
    known = {"id": pa.array(ids, pa.int64()), "_outcome": pa.array([outcome] * len(ids))}
    columns = [known.get(one.name, pa.nulls(len(ids), one.type)) for one in SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def test_each_outcome_has_its_file(tmp_path: Path) -> None:
    batches = [batch("scored", [1, 2]), batch("quarantined", [3]), batch("scored", [4]), batch("tally", [5])]
    (told,) = stage_batches(iter(batches), StagePlace(str(tmp_path)))
    files = {row["_outcome"]: row["_file"] for row in told.to_pylist()}
    tables = {outcome: pq.ParquetFile(tmp_path / file).read() for outcome, file in files.items()}
    assert {outcome: table.column_names for outcome, table in tables.items()} == {
        "scored": ["id", "p"],
        "quarantined": ["id", "p", "_stage", "_reasons", "_raw"],
        "tally": ["_tally"],
    }
    assert (tables["scored"]["id"].to_pylist(), tables["quarantined"]["id"].to_pylist()) == ([1, 2, 4], [3])
    assert all(file.startswith(f"_outcome={outcome}/part-") for outcome, file in files.items())


def test_two_attempts_share_no_file(tmp_path: Path) -> None:
    told = [next(stage_batches(iter([batch("scored", [1])]), StagePlace(str(tmp_path)))) for _ in range(2)]
    assert told[0]["_file"][0] != told[1]["_file"][0]


def test_a_task_that_fails_names_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield batch("scored", [1])
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(stage_batches(broken(), StagePlace(str(tmp_path))))


def test_a_disk_that_takes_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "stage").touch()
    with pytest.raises(WriteError, match="/stage: expected to write the stage; the store said: Not a directory"):
        list(stage_batches(iter([batch("scored", [1])]), StagePlace(str(tmp_path / "stage"))))


@pytest.mark.parametrize(
    ("sizes", "slots", "expected"),
    [
        ([5, 4, 3, 2], 2, [7, 7]),
        ([5], 4, [5]),
        ([], 2, []),
        ([TASK_BYTES // 2] * 8, 2, [TASK_BYTES] * 4),
        ([1] * 3, 8, [1, 1, 1]),
    ],
)
def test_tasks_are_of_like_size(sizes: list[int], slots: int, expected: list[int]) -> None:
    pieces = [Piece(path=f"{n}", groups=(0,), rows=1, size_bytes=size) for n, size in enumerate(sizes)]
    shares = share_out(pieces, slots)
    assert sorted((sum(piece.size_bytes for piece in share) for share in shares), reverse=True) == expected
    assert sorted(piece.path for share in shares for piece in share) == sorted(piece.path for piece in pieces)


def test_neighbours_of_a_file_are_read_together() -> None:
    pieces = [Piece(path="a", groups=(n,), rows=10, size_bytes=1) for n in range(3)]
    assert share_out(pieces, 1) == [(Piece(path="a", groups=(0, 1, 2), rows=30, size_bytes=3),)]


def test_stamps_are_columns_of_scored_rows_alone_and_floats_have_no_bounds(tmp_path: Path) -> None:
    scored = pa.RecordBatch.from_pydict(
        {"_outcome": ["scored"] * 3, "id": [1, 2, 3], "p": [0.5, float("nan"), 0.25], "_model": ["a/1"] * 3}
    )
    aside = pa.RecordBatch.from_pydict({"_outcome": ["quarantined"], "id": [4], "p": [0.0], "_model": ["a/1"]})
    at = datetime(2013, 10, 1, 4, tzinfo=UTC)
    place = StagePlace(str(tmp_path), {"_run_id": "r", "_generation": 2, "_model": "other", "_scored_at": at})
    (told,) = stage_batches(iter([scored, aside]), place)
    files = dict(zip(told["_outcome"].to_pylist(), told["_file"].to_pylist(), strict=True))
    found = pq.read_table(tmp_path / files["scored"], partitioning=None)
    assert found.column_names == ["id", "p", "_model", "_run_id", "_generation", "_scored_at"]
    assert set(found["_model"].to_pylist()) == {"a/1"}  # the rows' own, where they have one
    assert set(zip(*(found[name].to_pylist() for name in ("_run_id", "_generation", "_scored_at")), strict=True)) == {
        ("r", 2, at)
    }
    assert "_run_id" not in pq.read_schema(tmp_path / files["quarantined"]).names
    group = pq.read_metadata(tmp_path / files["scored"]).row_group(0)
    bounds = {group.column(k).path_in_schema: group.column(k).is_stats_set for k in range(group.num_columns)}
    assert bounds["id"] and bounds["_run_id"] and not bounds["p"]


def test_small_batches_share_a_row_group(tmp_path: Path) -> None:
    many = [batch("scored", list(range(1000))) for _ in range(300)]
    (told,) = stage_batches(iter(many), StagePlace(str(tmp_path), {"_run_id": "r"}))
    footer = pq.read_metadata(tmp_path / told["_file"][0].as_py())
    assert (footer.num_rows, footer.num_row_groups) == (300_000, 2)
    assert footer.row_group(0).column(footer.num_columns - 1).statistics.max == "r"
