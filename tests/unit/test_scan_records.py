"""What a run's record says of who read, once the plan is known."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from batchscore.scans import Scan, _as_it_was

NATIVE = ["CometMapInBatch", "CometProject", "CometNativeScan"]
OVER_SPARK = ["CometMapInBatch", "CometProject", "CometSparkColumnarToColumnar", "FileScan"]
NOTHING = ["MapInArrow", "Project", "ColumnarToRow", "FileScan"]

CASES: list[tuple[bool, list[str], dict[str, str], dict[str, Any]]] = [
    (False, NATIVE, {}, {"pages_verified": False}),
    (True, OVER_SPARK, {}, {"pages_verified": True}),
    (False, OVER_SPARK, {}, {"pages_verified": True}),  # it was asked not to verify; Spark's scan did all the same
    (
        False,
        NOTHING,
        {"Scan": "no such type", "Project": "no such type"},
        {"by": "spark", "why": "Comet left all of it to Spark: no such type", "pages_verified": True},
    ),
    (
        True,
        NOTHING,
        {},
        {"by": "spark", "why": "Comet left all of it to Spark: it gives no reason", "pages_verified": True},
    ),
]


@pytest.mark.parametrize(("verified", "operators", "fallback", "told"), CASES)
def test_the_record_says_who_really_read(
    verified: bool, operators: list[str], fallback: dict[str, str], told: dict[str, Any]
) -> None:
    by: Literal["comet"] = "comet"
    scan = Scan(by=by, why="Spark computes features", verified=verified)
    assert _as_it_was(scan, {"operators": operators, "fallback": fallback, "java": []}) == told
