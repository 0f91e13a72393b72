"""Results as text and HTML: alignment, folding to a width, and lines that stay whole."""

from __future__ import annotations

import pytest

from batchscore.rendering import Sheet, show, text_table

TABLE = (
    "checks",
    ("rule", "expectation", "rows"),
    [["input[0]", "expect_column_values_to_be_between", 1200], ["input[1]", "expect_x", None]],
)
LINE = "spark-submit --jars " + ",".join(f"/jars/{k}.jar" for k in range(9)) + " jobs/score.py run a.yaml"
SHEET = Sheet(
    "a title", (("n", 1200), ("words", "one two three " * 5)), (TABLE, ("none", ("x",), [])), (("submit", LINE),)
)


def test_text_without_a_width_folds_nothing() -> None:
    lines = SHEET.text().splitlines()
    assert lines[:3] == ["a title", "  n      1,200", "  words  " + "one two three " * 5]
    assert lines[5:8] == [
        "    rule      expectation                         rows",
        "    input[0]  expect_column_values_to_be_between  1200",
        "    input[1]  expect_x",
    ]
    assert lines[-2:] == ["  submit", LINE]
    assert "none" not in SHEET.text()


@pytest.mark.parametrize("width", [40, 60, 120])
def test_text_is_folded_to_a_width_and_the_command_is_not(width: int) -> None:
    lines = SHEET.text(width).splitlines()
    assert all(len(line) <= width for line in lines if line != LINE)
    assert lines[-1] == LINE
    folded = [line[14:].split("  ")[0].strip() for line in lines[lines.index("  checks") + 2 :]]
    assert "".join(folded).startswith("expect_column_values_to_be_between")


def test_a_table_folds_the_widest_column_after_underscores() -> None:
    assert text_table(("a", "b"), [["x", "expect_column_values_to_be"], ["y", "run-1"]], 20) == [
        "a  b",
        "x  expect_column_",
        "   values_to_be",
        "y  run-1",
    ]


def test_a_table_breaks_only_very_long_words_and_rather_overflows() -> None:
    assert text_table(("a",), [["w" * 20]], 15) == ["a", "w" * 20]
    assert text_table(("a",), [["w" * 30]], 15) == ["a", "w" * 24, "w" * 6]


def test_html_escapes_every_value() -> None:
    sheet = Sheet("<t>", (("<n>", "<v>"),), (("<h>", ("<c>",), [["<x>"]]),), (("<p>", "<cmd>"),))
    html = sheet.html()
    assert all(f"&lt;{name}&gt;" in html and f"<{name}>" not in html for name in ("t", "n", "v", "h", "c", "x", "cmd"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (12345.678, "12,345.7"),
        ({"read": 1000, "scored": 0.5}, "read 1,000, scored 0.5"),
        (("a", 2), "a, 2"),
    ],
)
def test_values_for_people(value: object, text: str) -> None:
    assert show(value) == text
