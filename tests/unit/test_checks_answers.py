"""What is worked out on the driver: names, SQL, divergence, suggestions, and the page that lists every expectation."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from batchscore.checks.compile import compile_suite
from batchscore.checks.dataset import run_queries
from batchscore.checks.divergence import check_partition, diverge_bins, diverge_values
from batchscore.checks.names import resolve_column
from batchscore.checks.profile import profile_specs, suggest_suite
from batchscore.checks.queries import QUERIES
from batchscore.checks.row_rules import ROW_RULES
from batchscore.checks.schema_rules import SCHEMA_RULES
from batchscore.checks.sql import condition_sql, literal
from batchscore.checks.suite import load_suite
from batchscore.checks.table_rules import COLUMN_TALLIES, COUNTS
from batchscore.checks.values import Unsupported
from batchscore.errors import InputError
from batchscore.expectations import CORE, REFUSED, UNEXPECTED_ROWS
from batchscore.kernel.checking import CheckSpec
from batchscore.kernel.scan import Piece, ScanSpec, tally_pieces
from batchscore.kernel.spec import RuleSpec
from batchscore.kernel.tally import Tally
from batchscore.tables.direct import share_out

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        ("A", "A"),
        ("Dep Delay", "dep delay"),
        ("`x.y`", "x.y"),
        ("X.Y", "x.y"),
        ("É", "é"),
        ("tick`s", "tick`s"),
        ("b", "B"),
        ("none", None),
        ("twice", None),
    ],
)
def test_columns_are_found_in_another_case_where_only_one_fits(name: str, expected: str | None) -> None:
    names = ["a", "A", "dep delay", "x.y", "é", "tick`s", "B", "Twice", "TWICE"]
    assert resolve_column(name, pa.schema([(n, pa.int64()) for n in names])) == expected


CONDITIONS = [
    ({"row_condition": "a > 1", "condition_parser": "spark"}, "(a > 1)"),
    ({"row_condition": 'col("A") <= 5', "condition_parser": "great_expectations"}, "`a` <= 5"),
    ({"row_condition": 'col("a") == "5"', "condition_parser": "great_expectations"}, "`a` = 5"),
    ({"row_condition": "col(\"s\") != 'x'", "condition_parser": "great_expectations"}, "`s` <> 'x'"),
    ({"row_condition": 'col("s").notNull()', "condition_parser": "great_expectations"}, "`s` IS NOT NULL"),
    ({"row_condition": {"type": "nullity", "column": {"name": "s"}, "is_null": True}}, "`s` IS NULL"),
    (
        {"row_condition": {"type": "comparison", "column": {"name": "s"}, "operator": "IN", "parameter": ["a'b", "c"]}},
        "`s` IN ('a\\'b', 'c')",
    ),
    (
        {
            "row_condition": {
                "type": "or",
                "conditions": [
                    {"type": "comparison", "column": {"name": "a"}, "operator": "==", "parameter": 1},
                    {"type": "pass_through", "pass_through_filter": "a = 2"},
                ],
            }
        },
        "(`a` = 1 OR (a = 2))",
    ),
    ({}, None),
]


@pytest.mark.parametrize(("kwargs", "expected"), CONDITIONS)
def test_row_conditions_become_sql(kwargs: dict[str, Any], expected: str | None) -> None:
    assert condition_sql(kwargs, pa.schema([("a", pa.int64()), ("s", pa.string())])) == expected


@pytest.mark.parametrize("condition", ['col("a") ~ 1', 'col("a") > 1 and 1', {"type": "comparison"}, 5])
def test_other_row_conditions_are_left_to_gx(condition: Any) -> None:
    with pytest.raises(Unsupported):
        condition_sql(
            {"row_condition": condition, "condition_parser": "great_expectations"}, pa.schema([("a", pa.int64())])
        )


def test_literals_cannot_break_out() -> None:
    assert literal("a' OR '1' = '1") == "'a\\' OR \\'1\\' = \\'1'"
    assert literal("a\\") == "'a\\\\'"
    assert literal(2**70) == f"CAST('{2**70}' AS DECIMAL(38, 0))"
    with pytest.raises(Unsupported):
        literal(b"bytes")


BINS = {"bins": [0, 1, 2], "weights": [0.25, 0.75]}


@pytest.mark.parametrize(
    ("counts", "kwargs", "observed", "expected"),
    [
        ((0, 5, 15, 0), {"partition_object": BINS}, [0, 5, 15, 0], [0, 0.25, 0.75, 0]),
        ((0, 10, 10, 0), {"partition_object": BINS}, [0, 10, 10, 0], [0, 0.25, 0.75, 0]),
        ((2, 4, 10, 4), {"partition_object": BINS, "tail_weight_holdout": 0.2}, [2, 4, 10, 4], [0.1, 0.2, 0.6, 0.1]),
        (
            (1, 4, 5, 10),
            {
                "partition_object": {"bins": [0, 1, 2], "weights": [0, 0.5], "tail_weights": [0.2, 0.3]},
                "internal_weight_holdout": 0.1,
            },
            [1, 4, 5, 10],
            [0.2, 0.1, 0.45, 0.3],
        ),
    ],
)
def test_divergence_is_scipys(
    counts: tuple[int, ...], kwargs: dict[str, Any], observed: list[float], expected: list[float]
) -> None:
    check_partition(kwargs)
    below, *bins, above = counts
    answer = diverge_bins(bins, below, above, sum(counts), {**kwargs, "threshold": 0.1})
    wanted = stats.entropy(observed, expected)
    assert answer.observed == pytest.approx(wanted, rel=1e-12)
    assert answer.success is bool(wanted <= 0.1)


@pytest.mark.parametrize("holdout", [0.0, 0.2])
def test_divergence_of_values_counts_those_that_are_not_stated(holdout: float) -> None:
    kwargs = {
        "partition_object": {"values": ["a", "b"], "weights": [0.5, 0.5]},
        "tail_weight_holdout": holdout,
        "threshold": 1,
    }
    counts, others = [6, 2], [3, 1]  # rows of a and b, and of two more values
    told = {"kinds": 2, "rows": 4, "entropy": sum(n * math.log(n) for n in others)}
    answer = diverge_values(counts, told, 12, kwargs)
    with np.errstate(divide="ignore"):
        wanted = stats.entropy([*counts, *others], [0.5 * (1 - holdout)] * 2 + [holdout / 2] * 2)
    assert answer.observed == (pytest.approx(wanted, rel=1e-12) if holdout else None)


def test_divergence_of_nothing_is_a_failure() -> None:
    assert diverge_bins([0, 0], 0, 0, 0, {"partition_object": BINS, "threshold": 1}).success is False


PARTITIONS = [
    {"bins": [0, 1], "weights": [0.5, 0.5]},
    {"bins": [1, 0], "weights": [1]},
    {"bins": [0, 1], "weights": [0.9]},
    {"values": ["a", "a"], "weights": [0.5, 0.5]},
    {"values": [], "weights": []},
    {"weights": [1]},
]


@pytest.mark.parametrize("partition", PARTITIONS)
def test_inconsistent_partitions_are_left_to_gx(partition: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        check_partition({"partition_object": partition})


def test_a_suggested_suite_is_met_by_the_rows_that_it_came_from(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2, 3, 4], pa.int64()),
            "f": pa.array([0.5, None, float("nan"), 2.0]),
            "city": ["x", "y", "x", None],
            "gone": pa.nulls(4, pa.string()),
            "day": pa.array([15_000] * 4, pa.date32()),
        }
    )
    tally = Tally(read=4)
    columns = {name: table.column(name).combine_chunks() for name in table.schema.names}
    tally.add_columns("input", columns, profile_specs(table.schema))
    suite = suggest_suite("s", table.schema, tally, interval_column="day")
    said = {(e["type"].removeprefix("expect_"), e["kwargs"].get("column")): e["kwargs"] for e in suite["expectations"]}
    assert said["column_values_to_be_between", "id"] == {"column": "id", "min_value": 1, "max_value": 4}
    assert said["column_values_to_not_be_null", "f"] == {"column": "f", "mostly": 0.75}
    assert said["column_values_to_be_in_set", "city"]["value_set"] == ["x", "y"]
    assert said["column_values_to_be_of_type", "day"]["type_"] == "DateType"
    assert ("column_values_to_be_between", "f") not in said, "NaN has no place in JSON"
    assert ("column_values_to_be_between", "day") not in said, "its range is the interval's"
    assert ("column_values_to_not_be_null", "gone") not in said
    file = tmp_path / "suite.json"
    file.write_text(json.dumps(suite))
    assert {check.engine for check in compile_suite(load_suite(str(file), "input"), table.schema).checks} <= {
        *("kernel", "tally", "schema"),
    }


def target(kind: str) -> str:
    """What decides an expectation, as the page says it."""
    homes = {"kernel": ROW_RULES, "tally": {**COLUMN_TALLIES, **COUNTS}, "schema": SCHEMA_RULES, "query": QUERIES}
    if kind in REFUSED:
        return "refused"
    if kind == UNEXPECTED_ROWS:
        return "column"
    return next((name for name, home in homes.items() if kind in home), "gx")


def test_the_page_accounts_for_every_expectation() -> None:
    page = (REPOSITORY / "docs" / "expectations.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith(("| `expect", "| `unexpected"))]
    listed = {name.strip(" `"): said.strip() for name, said in rows}
    assert listed == {**{kind: target(kind) for kind in CORE}, "expect_row_sql": "column"}
    compiled = [kind for kind in CORE if target(kind) not in ("gx", "refused")]
    assert f"{len(compiled)} of {len(CORE)} core expectations are compiled" in page
    assert len(compiled) / len(CORE) >= 0.9


def write_parquet(folder: Path, rows: int) -> str:
    path = str(folder / "rows.parquet")
    table = pa.table({"x": pa.array(range(rows), pa.int64()), "y": ["a"] * rows})
    pq.write_table(table, path, row_group_size=10, write_page_checksum=True, compression="none", use_dictionary=False)
    return path


SMALL = CheckSpec(
    rules=(
        RuleSpec(
            rule="input[0]",
            fingerprint="",
            expectation="",
            place="input",
            kind="between",
            columns=("x",),
            severity="critical",
            on_row_fail="quarantine",
            args={"min": 0.0, "max": 30.0},
        ),
    ),
    tallies=(),
)


SCAN = ScanSpec(schema=pa.schema([("x", pa.int64())]).serialize().to_pybytes())


def whole(path: Path) -> Piece:
    """All row groups of a file of 45 rows."""
    return Piece(path=str(path), groups=tuple(range(5)), rows=45, size_bytes=1)


@pytest.mark.parametrize("shares", [1, 2, 3, 9])
def test_every_row_group_is_read_by_one_share(tmp_path: Path, shares: int) -> None:
    path = write_parquet(tmp_path, 45)
    pieces = [Piece(path=path, groups=(group,), rows=10, size_bytes=100 + group) for group in range(5)]
    told = [tally_pieces(share, SCAN, SMALL) for share in share_out(pieces, shares)]
    tally = Tally.merge(Tally.from_json(text) for text in told)
    assert len(told) == min(shares, 5)
    assert (tally.read, tally.quarantined, tally.rules) == (45, 14, {"input[0]": (45, 14)})


def test_a_flipped_byte_is_no_value(tmp_path: Path) -> None:
    path = Path(write_parquet(tmp_path, 45))
    content = bytearray(path.read_bytes())
    content[content.index((7).to_bytes(8, "little"))] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="expected a whole Parquet file"):
        tally_pieces([whole(path)], SCAN, SMALL)
    assert Tally.from_json(tally_pieces([whole(path)], replace(SCAN, verify=False), SMALL)).read == 45


def test_no_query_needs_no_frame() -> None:
    assert run_queries(None, {}) == {}  # type: ignore[arg-type]
