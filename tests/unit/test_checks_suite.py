"""Suite files: what is read, and how each fault is named with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchscore.checks.located_json import MAX_BYTES
from batchscore.checks.suite import load_suite
from batchscore.errors import ConfigError

NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}


def write(folder: Path, text: str) -> str:
    file = folder / "suite.json"
    file.write_text(text, encoding="utf-8")
    return str(file)


def suite_text(*expectations: Any, **more: Any) -> str:
    return json.dumps({"name": "s", "expectations": list(expectations), **more}, indent=2)


def test_reads_what_gx_1_writes(tmp_path: Path) -> None:
    item = {
        **NOT_NULL,
        "id": "0b2e5bc6-3e0b-4f10-9cb7-1a4dff0ee3a8",
        "meta": {"batchscore": {"on_row_fail": "keep"}, "owner": "ops"},
        "notes": ["why"],
        "severity": "warning",
        "description": None,
        "rendered_content": [],
    }
    path = write(
        tmp_path, suite_text(NOT_NULL, item, id=None, meta={"great_expectations_version": "1.24.1"}, notes=None)
    )
    suite = load_suite(path, "input")
    first, second = suite.expectations
    assert (suite.name, suite.place, len(suite.sha256)) == ("s", "input", 64)
    assert (first.rule, first.type, first.severity, first.on_row_fail) == (
        "input[0]",
        NOT_NULL["type"],
        "critical",
        None,
    )
    assert (second.rule, second.severity, second.on_row_fail) == ("input[1]", "warning", "keep")
    assert first.fingerprint == second.fingerprint  # type and kwargs alone
    assert second.where == f"{path}:10: expectation 1 (expect_column_values_to_not_be_null)"


def test_reads_what_gx_0_wrote(tmp_path: Path) -> None:
    old = {"expectation_type": NOT_NULL["type"], "kwargs": {"column": "x"}, "meta": {}, "ge_cloud_id": None}
    text = json.dumps({"expectation_suite_name": "old", "data_asset_type": "Dataset", "expectations": [old]})
    new = load_suite(write(tmp_path, suite_text(NOT_NULL)), "input")
    found = load_suite(write(tmp_path, text), "input")
    assert found.name == "old"
    assert found.expectations[0].fingerprint == new.expectations[0].fingerprint
    assert found.sha256 == new.sha256


def test_the_digest_is_canonical(tmp_path: Path) -> None:
    kind = '"type": "expect_column_values_to_be_between"'
    a = '{"name": "a", "expectations": [{' + kind + ', "kwargs": {"column": "x", "min_value": 1}}]}'
    b = '{"expectations": [{"kwargs": {"min_value": 1.0, "column": "x"}, ' + kind + '}], "name": "b"}'
    assert load_suite(write(tmp_path, a), "input").sha256 == load_suite(write(tmp_path, b), "input").sha256
    changed = a.replace('"min_value": 1', '"min_value": 2')
    assert load_suite(write(tmp_path, a), "input").sha256 != load_suite(write(tmp_path, changed), "input").sha256


def test_integers_beyond_canonical_json_keep_their_digits(tmp_path: Path) -> None:
    def fingerprint(value: int) -> str:
        item = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "x", "value_set": [value]}}
        return load_suite(write(tmp_path, suite_text(item)), "input").expectations[0].fingerprint

    assert fingerprint(2**60) != fingerprint(2**60 + 1)


def one(**changes: Any) -> str:
    return suite_text({**NOT_NULL, **changes})


FAULTS = [
    ('{"name": "s",\n "expectations": [}', "suite.json:2:19: expected JSON; Expecting value"),
    ("[]", "suite.json:1: expected a JSON object; found list"),
    ("{}", "expected a Great Expectations suite with the keys 'name' and 'expectations'"),
    (
        '{"name": "s",\n"expectations": [\n{"type": "x",\n"type": "y"}]}',
        "suite.json:3: expected each key once; found 'type' twice",
    ),
    ('{"name": "s", "name": "t", "expectations": []}', "suite.json:1: expected each key once; found 'name' twice"),
    ('{"name": "s", "expectations": [NaN]}', "expected JSON; found NaN, which JSON does not have"),
    ('{"name": "s", "expectations": [' + "9" * 5000 + "]}", "found a number that is too long"),
    ("[" * 100_000, "found values nested too deeply"),
    (suite_text("x"), "expectation 0: expected an object with 'type' and 'kwargs'; found str"),
    (
        suite_text({"kwargs": {}}),
        "suite.json:4: expectation 0: expected 'type', the name of an expectation; found none",
    ),
    (
        one(type="expect_column_values_to_not_be_nul"),
        "suite.json:4: expectation 0 (expect_column_values_to_not_be_nul): expected an expectation of Great "
        "Expectations 1.24's core; found 'expect_column_values_to_not_be_nul'; did you mean "
        "'expect_column_values_to_not_be_null'?",
    ),
    (
        one(type="unexpected_rows_expectation", kwargs={"unexpected_rows_query": "SELECT * FROM other"}),
        "expected 'unexpected_rows_query' to be SELECT * FROM {batch} WHERE and a condition on single rows",
    ),
    (
        one(type="expect_query_results_to_match_comparison"),
        "not allowed, because it runs SQL queries written in the suite",
    ),
    (one(severty="info"), "expected the keys of an expectation; found 'severty'; did you mean 'severity'?"),
    (one(severity="high"), "expected a severity; found 'high'; choose from critical, info, warning"),
    (one(severity="Critical"), "found 'Critical'; did you mean 'critical'?"),
    (one(kwargs=[1]), "expected 'kwargs' to be an object; found list"),
    (one(kwargs={"column": "x", "mostly": 95}), "expected 'mostly' to be a number from 0 to 1; found 95"),
    (one(kwargs={"column": "x", "mostly": True}), "expected 'mostly' to be a number from 0 to 1; found True"),
    (one(meta={"batchscore": "keep"}), "expected 'meta.batchscore' to be an object; found str"),
    (one(meta={"batchscore": {"on_row_fial": "keep"}}), "found 'on_row_fial'; did you mean 'on_row_fail'?"),
    (one(meta={"batchscore": {"on_row_fail": "drop"}}), "expected 'meta.batchscore.on_row_fail'; found 'drop'"),
    (
        one(
            kwargs={"column": "x", "row_condition": "reflect('java.lang.System', 'exit')", "condition_parser": "spark"}
        ),
        "expected 'row_condition' to compare columns with values by plain functions; it calls 'reflect'",
    ),
    (
        one(
            kwargs={"column": "x", "row_condition": {"type": "pass_through", "pass_through_filter": "x in (select 1)"}}
        ),
        "it has the word 'select'",
    ),
    (
        one(
            kwargs={
                "column": "x",
                "row_condition": {"type": "and", "conditions": [{"pass_through_filter": "java_method('a')"}]},
            }
        ),
        "it calls 'java_method'",
    ),
    (one(kwargs={"column": "\ud800"}), "canonical JSON"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_have_an_address(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_suite(write(tmp_path, text), "input")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def test_files_that_are_none(tmp_path: Path) -> None:
    binary = tmp_path / "latin.json"
    binary.write_bytes(b'{"name": "\xe9"}')
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (MAX_BYTES + 1))
    for path, message in (
        (tmp_path / "absent.json", "No such file"),
        (tmp_path, "not a plain file"),
        (Path("/dev/zero"), "not a plain file"),
        (binary, "it is not UTF-8"),
        (large, "expected at most 1048576 bytes"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_suite(str(path), "input")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert load_suite(write(tmp_path, "\ufeff" + suite_text(NOT_NULL)), "input").name == "s"


def test_conditions_for_gx_own_parser_pass(tmp_path: Path) -> None:
    kwargs = {"column": "x", "row_condition": 'col("a") == "select"', "condition_parser": "great_expectations"}
    assert load_suite(write(tmp_path, one(kwargs=kwargs)), "input").expectations[0].kwargs == kwargs
