"""Which SQL may stand in an expectation's `row_condition`: comparisons and plain functions, nothing that runs code.

Great Expectations gives such a string to `DataFrame.filter`, where Spark SQL offers subqueries and functions that call
Java classes. The check reads tokens, and refuses what it does not know.
"""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>'[^'\\]*'|"[^"\\]*")
    |(?P<quoted>`[^`]+`)
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>\(|\)|,|\.|<=>|<=|>=|<>|!=|==|=|<|>|!|\+|-(?![->])|\*(?!/)|/(?!\*)|%)""",
    re.VERBOSE | re.ASCII,  # ASCII words only: Spark folds some other letters into ASCII ones
)
QUERY_WORDS = frozenset(
    "select from with table values map reduce transform exists lateral union except intersect join using insert update "
    "delete create drop alter set call execute".split()
)
BEFORE_BRACKET = frozenset("and or not in between when then else case is like rlike".split())
FUNCTIONS = frozenset(
    """abs cast ceil ceiling char_length coalesce concat contains date date_add date_sub datediff day dayofmonth
    dayofweek dayofyear decimal endswith floor greatest hour if ifnull isnan isnotnull isnull least left length
    lower ltrim minute mod month nullif nvl pow power quarter right round rtrim second sign sqrt startswith substr
    substring timestamp to_date to_timestamp trim try_cast upper weekday year""".split()
)


def find_condition_fault(condition: str) -> str | None:
    """Say why a condition is not allowed; None if it is.

    Returns:
        A clause such as "calls 'reflect'", which names words of the condition and no values.
    """
    words: list[str] = []
    position = depth = 0
    while position < len(condition):
        match = TOKEN.match(condition, position)
        if match is None:
            return f"has a character that is not allowed at position {position + 1}"
        position = match.end()
        kind = match.lastgroup
        if kind == "space":
            continue
        fault = _find_token_fault(str(kind), match.group().lower(), words)
        if fault:
            return fault
        words.append(match.group().lower() if kind in ("word", "sign") else f"<{kind}>")
        depth += {"(": 1, ")": -1}.get(words[-1], 0)
        if depth < 0:  # it would end the brackets that are put around it
            return f"closes a bracket at position {position} that it has not opened"
    return "leaves a bracket open" if depth else None


def _find_token_fault(kind: str, word: str, before: list[str]) -> str | None:
    if kind == "word" and word in QUERY_WORDS and not (word == "from" and before[-1:] == ["distinct"]):
        return f"has the word '{word}'; a column of that name is written in backticks"
    if word == "(" and before:
        last = before[-1]
        if last in ("<quoted>", "<text>") or (last[0].isalpha() or last[0] == "_"):
            qualified = before[-2:-1] == ["."]
            if qualified or last not in FUNCTIONS | BEFORE_BRACKET:
                return f"calls '{last.strip('<>')}'"
    return None
