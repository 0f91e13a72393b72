"""Which SQL a row_condition may hold."""

from __future__ import annotations

import pytest

from batchscore.conditions import find_condition_fault

ALLOWED = [
    "x > 1",
    "a = 'it''s' and b is not null",
    "`select` = 1 or lower(`from`) = 'select x from y'",
    "not (a between 1 and 2) and b in ('x', 'y')",
    "coalesce(a, 0) + length(trim(b)) * -1 <= 1e3",
    "day >= date '2013-10-01' and ts < timestamp'2013-10-02 00:00:00'",
    "a is distinct from b",
    "case when a > 1 then (b) else (c) end = 1",
    "cast(a as decimal(10, 2)) <> .5",
    "t.a <=> t.b",
]
REFUSED = [
    ("reflect('java.lang.Runtime', 'getRuntime')", "calls 'reflect'"),
    ("JAVA_METHOD ('a', 'b')", "calls 'java_method'"),
    ("x = (select max(x) from t)", "has the word 'select'"),
    ("x in (SELECT 1)", "has the word 'select'"),
    ("exists (from t)", "has the word 'exists'"),
    ("(table t) = 1", "has the word 'table'"),
    ("x in (values 1)", "has the word 'values'"),
    ("`reflect`('a')", "calls 'quoted'"),
    ("system.builtin.abs(x) > 0", "calls 'abs'"),
    ("x > 1 -- and y", "has a character that is not allowed at position 7"),
    ("x > 1 /* y */", "has a character that is not allowed at position 7"),
    ("x = 'a\\'' or reflect('b') or y = '", "has a character that is not allowed at position 5"),
    ("x > 1; drop table t", "has a character that is not allowed at position 6"),
    ("x > 1; ", "has a character that is not allowed at position 6"),
    ("\u017felect", "has a character that is not allowed at position 1"),  # Spark folds the long s into S
    ("filter(a, x -> x > 1)", "calls 'filter'"),
    ("a[0] = 1", "has a character that is not allowed at position 2"),
    ("x = :p", "has a character that is not allowed at position 5"),
    ("identifier('t') = 1", "calls 'identifier'"),
    ("a > 0) or (1 = 1", "closes a bracket at position 6 that it has not opened"),
    ("(a > 0", "leaves a bracket open"),
    ("x = 'open", "has a character that is not allowed at position 5"),
]


@pytest.mark.parametrize("condition", ALLOWED)
def test_plain_comparisons_pass(condition: str) -> None:
    assert find_condition_fault(condition) is None


@pytest.mark.parametrize(("condition", "fault"), REFUSED)
def test_anything_that_runs_code_is_refused(condition: str, fault: str) -> None:
    assert str(find_condition_fault(condition)).startswith(fault)
