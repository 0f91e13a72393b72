"""Verdicts as people read them: one line each."""

from __future__ import annotations

from typing import Any

import pytest

from batchscore.results import CheckReport, check_lines, shorten, verdict_word

CHECK: dict[str, Any] = {
    "rule": "input[0]",
    "expectation": "expect_column_values_to_not_be_null",
    "columns": ("a",),
    "place": "input",
    "severity": "critical",
    "engine": "kernel",
    "on_row_fail": "quarantine",
    "success": False,
    "evaluated": 200,
    "unexpected": 3,
    "observed": None,
    "stops": False,
    "error": None,
    "fingerprint": "",
    "mostly": None,
    "name": "",
}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, ["input[0]", "WARN", "values_to_not_be_null", "a", "critical", "3 of 200", "1.50", None, "kernel"]),
        (
            {"mostly": 0.99, "stops": True},
            [
                "input[0]",
                "FAIL",
                "values_to_not_be_null",
                "a",
                "critical",
                "3 of 200",
                "1.50 (limit 1)",
                None,
                "kernel",
            ],
        ),
        (
            {"success": True, "evaluated": 0, "unexpected": 0, "name": "no nulls"},
            ["input[0]", "PASS", "no nulls", "a", "critical", "0 of 0", "0.00", None, "kernel"],
        ),
        (
            {"evaluated": None, "unexpected": None, "observed": list("abcdef"), "severity": "info"},
            ["input[0]", "INFO", "values_to_not_be_null", "a", "info", None, None, "6 names", "kernel"],
        ),
        (
            {"evaluated": None, "unexpected": None, "observed": 5, "error": "Spark could not", "stops": True},
            ["input[0]", "FAIL", "values_to_not_be_null", "a", "critical", None, None, "Spark could not", "kernel"],
        ),
    ],
)
def test_a_line_for_each_verdict(changes: dict[str, Any], line: list[Any]) -> None:
    assert check_lines([CHECK | changes]) == [line]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("expect_column_mean_to_be_between", "mean_to_be_between"),
        ("expect_column_to_exist", "column_to_exist"),
        ("expect_table_row_count_to_equal", "table_row_count_to_equal"),
        ("expect_multicolumn_sum_to_equal", "multicolumn_sum_to_equal"),
        ("unexpected_rows_expectation", "unexpected_rows_expectation"),
    ],
)
def test_names_are_shortened(name: str, short: str) -> None:
    assert shorten(name) == short


def test_a_report_says_what_would_happen_and_what_was_left_out() -> None:
    report = CheckReport(
        job="j",
        interval="i",
        interval_label="2013-10-01",
        counts={"read": 200, "set_aside": 3},
        checks=(CHECK, CHECK | {"success": True}),
        left_out={"output": "no scores are published for this interval"},
        stopped="checks: too many",
    )
    text = str(report)
    assert report.success is False
    for said in ("PASS 1, WARN 1", "read 200, set_aside 3", "output: no scores", "a run would stop  checks: too many"):
        assert said in text
    assert verdict_word(CHECK) == "WARN"
