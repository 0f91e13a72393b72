"""Words of SQL expressions, found without Spark, and text in which only white space is levelled."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|\s+|\w+|.", re.DOTALL)
_ODD = re.compile(r"--|/\*|\b[rR]['\"]")  # comments and raw strings, in which quotes mean something else


def quote(name: str) -> str:
    """A column name as a SQL identifier, whatever characters it holds."""
    return f"`{name.replace('`', '``')}`"


def level_spaces(sql: str) -> str:
    """An expression with one space wherever white space stands outside quotes; as it is where that is not plain."""
    text = sql.strip()
    if _ODD.search(text):
        return text
    return "".join(" " if part.isspace() else part for part in _TOKEN.findall(text))


def find_words(sql: str) -> list[str]:
    """Whatever may be a column's name in an expression; of one with comments or raw strings every word."""
    if _ODD.search(sql):
        return list(dict.fromkeys(re.findall(r"\w+", sql)))
    found = []
    for part in _TOKEN.findall(sql):
        if part[0] == "`":
            found.append(part.strip("`"))
        elif part[0].isalpha() or part[0] == "_":
            found.append(part)
    return list(dict.fromkeys(found))
