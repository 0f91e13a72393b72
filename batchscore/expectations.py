"""Expectations as people write them: the types of Great Expectations 1.24's core, and every fault of a single one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from batchscore.conditions import find_condition_fault
from batchscore.results import Place, Severity

EXACT_INT = 2**53  # beyond this, canonical JSON has no integers

CORE: tuple[str, ...] = (
    "expect_column_distinct_values_to_be_in_set",
    "expect_column_distinct_values_to_contain_set",
    "expect_column_distinct_values_to_equal_set",
    "expect_column_kl_divergence_to_be_less_than",
    "expect_column_max_to_be_between",
    "expect_column_mean_to_be_between",
    "expect_column_median_to_be_between",
    "expect_column_min_to_be_between",
    "expect_column_most_common_value_to_be_in_set",
    "expect_column_pair_values_a_to_be_greater_than_b",
    "expect_column_pair_values_to_be_equal",
    "expect_column_pair_values_to_be_in_set",
    "expect_column_proportion_of_non_null_values_to_be_between",
    "expect_column_proportion_of_unique_values_to_be_between",
    "expect_column_quantile_values_to_be_between",
    "expect_column_stdev_to_be_between",
    "expect_column_sum_to_be_between",
    "expect_column_to_exist",
    "expect_column_type_to_be",
    "expect_column_unique_value_count_to_be_between",
    "expect_column_value_lengths_to_be_between",
    "expect_column_value_lengths_to_equal",
    "expect_column_value_z_scores_to_be_less_than",
    "expect_column_values_to_be_between",
    "expect_column_values_to_be_dateutil_parseable",
    "expect_column_values_to_be_decreasing",
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_be_in_type_list",
    "expect_column_values_to_be_increasing",
    "expect_column_values_to_be_json_parseable",
    "expect_column_values_to_be_null",
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_be_unique",
    "expect_column_values_to_match_json_schema",
    "expect_column_values_to_match_like_pattern",
    "expect_column_values_to_match_like_pattern_list",
    "expect_column_values_to_match_regex",
    "expect_column_values_to_match_regex_list",
    "expect_column_values_to_match_strftime_format",
    "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_not_be_null",
    "expect_column_values_to_not_be_outliers",
    "expect_column_values_to_not_match_like_pattern",
    "expect_column_values_to_not_match_like_pattern_list",
    "expect_column_values_to_not_match_regex",
    "expect_column_values_to_not_match_regex_list",
    "expect_compound_columns_to_be_unique",
    "expect_multicolumn_sum_to_equal",
    "expect_multicolumn_values_to_be_equal",
    "expect_query_results_to_match_comparison",
    "expect_select_column_values_to_be_unique_within_record",
    "expect_table_column_count_to_be_between",
    "expect_table_column_count_to_equal",
    "expect_table_columns_to_match_ordered_list",
    "expect_table_columns_to_match_set",
    "expect_table_row_count_to_be_between",
    "expect_table_row_count_to_equal",
    "expect_table_row_count_to_equal_other_table",
    "unexpected_rows_expectation",
)

# They run SQL queries, or name other tables: a suite must not be able to read what the job does not name.
REFUSED: dict[str, str] = {
    "expect_query_results_to_match_comparison": "it runs SQL queries written in the suite",
    "expect_table_row_count_to_equal_other_table": "it reads a table that the job does not name",
}
ROW_SQL = "expect_row_sql"  # ours: a SQL expression that must not be false for a row
UNEXPECTED_ROWS = "unexpected_rows_expectation"
# The one form of an unexpected-rows query that is a rule on single rows.
ROWS_WHERE = re.compile(r"\s*SELECT\s+\*\s+FROM\s+\{batch\}\s+WHERE\s(?P<where>.+?);?\s*", re.IGNORECASE | re.DOTALL)

SEVERITIES: tuple[str, ...] = ("critical", "warning", "info")
ON_ROW_FAIL: tuple[str, ...] = ("quarantine", "keep")


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """One expectation.

    Attributes:
        rule: Its id within the job: place and position, such as `input[3]`.
        where: File, line and position, or the path in the job file; for messages.
        type: GX type name, or `expect_row_sql`.
        kwargs: Its arguments, as written.
        severity: `critical`, `warning` or `info`.
        on_row_fail: What becomes of failing rows; None where nothing is said.
        name: What people call it; may be empty.
        fingerprint: sha256 of the canonical type and kwargs.
    """

    rule: str
    where: str
    type: str
    kwargs: Mapping[str, Any]
    severity: Severity
    on_row_fail: str | None
    name: str = ""
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """The expectations of one place.

    Attributes:
        name: The suite's own name.
        file: As the job names it; the job file itself for expectations that stand in it.
        place: `input`, `features` or `output`.
        expectations: In the file's order.
        sha256: Digest over what decides verdicts: types, kwargs, severities and row policies, in order.
    """

    name: str
    file: str
    place: Place
    expectations: tuple[Expectation, ...] = ()
    sha256: str


class ExpectationFault(Exception):  # noqa: N818 - an answer; who reads the file gives it a place
    """What is wrong with an expectation.

    Args:
        message: What was expected and what was found.
        path: Keys that lead from the expectation to what is wrong.
        found: The word that was found, for "did you mean".
        known: Words that could have been meant.
    """

    def __init__(self, message: str, *path: str, found: Any = None, known: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.path = path
        self.found = found
        self.known = tuple(known)


def check_type(kind: Any) -> None:
    """Refuse a type that is not of GX's core, or that must not stand in a suite.

    Raises:
        ExpectationFault: So it is.
    """
    if kind not in CORE:
        what = "expected an expectation of Great Expectations 1.24's core"
        raise ExpectationFault(f"{what}; found '{kind}'", "type", found=kind, known=CORE)
    if kind in REFUSED:
        raise ExpectationFault(f"not allowed, because {REFUSED[kind]}. Remove it.", "type")


def check_kwargs(kind: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that no engine may be given: a wrong `mostly`, and SQL that could run code.

    Raises:
        ExpectationFault: So it is.
    """
    mostly = kwargs.get("mostly")
    if not (mostly is None or isinstance(mostly, dict)) and (  # a dict is a suite parameter, which GX resolves
        isinstance(mostly, bool) or not isinstance(mostly, (int, float)) or not 0 <= mostly <= 1
    ):
        raise ExpectationFault(f"expected 'mostly' to be a number from 0 to 1; found {mostly!r}.", "kwargs", "mostly")
    _check_condition(kwargs.get("row_condition"), kwargs.get("condition_parser"))
    if kind == UNEXPECTED_ROWS:
        _check_unexpected_rows(kwargs)


def make_suite(name: str, file: str, place: Place, expectations: Sequence[Expectation]) -> Suite:
    """A suite of these expectations.

    Raises:
        ExpectationFault: A text is no Unicode.
    """
    decides = [[e.type, dict(e.kwargs), e.severity, e.on_row_fail] for e in expectations]
    return Suite(name=name, file=file, place=place, expectations=tuple(expectations), sha256=digest(decides))


def digest(value: Any) -> str:
    """sha256 of the canonical JSON (RFC 8785); integers beyond its range stand as tagged text.

    Raises:
        ExpectationFault: Canonical JSON cannot hold it.
    """
    try:
        return hashlib.sha256(rfc8785.dumps(_exact(value))).hexdigest()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise ExpectationFault(f"expected text and numbers that canonical JSON can hold; {error}.") from error


def _check_unexpected_rows(kwargs: Mapping[str, Any]) -> None:
    query = kwargs.get("unexpected_rows_query")
    found = ROWS_WHERE.fullmatch(query) if isinstance(query, str) else None
    if found is None or "row_condition" in kwargs:
        raise ExpectationFault(
            "expected 'unexpected_rows_query' to be SELECT * FROM {batch} WHERE and a condition on single rows, and no "
            "'row_condition' beside it; other queries may not stand in a suite.",
            "kwargs",
            "unexpected_rows_query",
        )
    fault = find_condition_fault(found["where"])
    if fault:
        raise ExpectationFault(
            f"expected 'unexpected_rows_query' to compare columns with values by plain functions; it {fault}.",
            "kwargs",
            "unexpected_rows_query",
        )


def _check_condition(condition: Any, parser: Any) -> None:
    """Refuse SQL that could run code, at any depth of a condition written as objects."""
    if isinstance(condition, str) and parser not in ("great_expectations", "great_expectations__experimental__"):
        fault = find_condition_fault(condition)
        if fault:
            raise ExpectationFault(
                f"expected 'row_condition' to compare columns with values by plain functions; it {fault}.",
                "kwargs",
                "row_condition",
            )
    elif isinstance(condition, dict):
        for value in condition.values():
            _check_condition(value, None) if isinstance(value, (dict, list)) else None
        _check_condition(condition.get("pass_through_filter"), None)
    elif isinstance(condition, list):
        for value in condition:
            _check_condition(value, None) if isinstance(value, dict) else None


def _exact(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= EXACT_INT:
        return {"$int": str(value)}
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    return [_exact(inner) for inner in value] if isinstance(value, (list, tuple)) else value
