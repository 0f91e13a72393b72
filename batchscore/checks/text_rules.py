"""Expectations on the form of text: regular expressions, SQL patterns, JSON and dates, as arguments of kernel rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from batchscore.checks.regex import translate_regex
from batchscore.checks.values import Unsupported, is_text

Kwargs = Mapping[str, Any]
Rule = tuple[str, dict[str, Any]]
Builder = Callable[[Kwargs, list[pa.DataType], str], Rule]
MATCH_ON = ("any", "all")


def regex_args(kind: str) -> Builder:
    """A rule of one regular expression."""

    def build(kwargs: Kwargs, kinds: list[pa.DataType], _: str) -> Rule:
        (pattern,) = _texts([kwargs.get("regex")], kinds[0], "regex")
        return kind, _translate(pattern)

    return build


def regex_list_args(match_on: str) -> Builder:
    """A rule of several regular expressions; GX joins them with `|` where any of them will do."""

    def build(kwargs: Kwargs, kinds: list[pa.DataType], _: str) -> Rule:
        patterns = _texts(kwargs.get("regex_list"), kinds[0], "regex_list")
        wanted = match_on if match_on == "none" else _choose(kwargs, match_on)
        if wanted == "any":
            return "match_regex", _translate("|".join(patterns))
        return "match_regexes", {"patterns": [_translate(pattern) for pattern in patterns], "match_on": wanted}

    return build


def like_args(match_on: str) -> Builder:
    """A rule of SQL patterns, `%` for any text and `_` for one character; `escape` is a backslash unless given."""

    def build(kwargs: Kwargs, kinds: list[pa.DataType], _: str) -> Rule:
        listed = kwargs.get("like_pattern_list", [kwargs.get("like_pattern")])
        patterns = _texts(listed, kinds[0], "like_pattern")
        escape = kwargs.get("escape", "\\")
        if not isinstance(escape, str) or len(escape) != 1 or escape in "%_":
            raise Unsupported("escape is not one character")
        wanted = match_on if match_on == "none" else _choose(kwargs, match_on)
        return "match_like", {"patterns": [_unescape(p, escape) for p in patterns], "match_on": wanted}

    return build


def json_args(_: Kwargs, kinds: list[pa.DataType], __: str) -> Rule:
    """A rule that text is JSON."""
    if not is_text(kinds[0]):
        raise Unsupported("its column is no text")
    return "json", {}


def strftime_args(kwargs: Kwargs, kinds: list[pa.DataType], _: str) -> Rule:
    """A rule that text is a date or time of a format of Python's `strptime`."""
    (pattern,) = _texts([kwargs.get("strftime_format")], kinds[0], "strftime_format")
    try:
        dt.datetime.strptime(dt.datetime(2013, 10, 1).strftime(pattern), pattern)
    except ValueError as error:
        raise Unsupported("its format can be written but not read") from error
    return "strftime", {"format": pattern}


def _texts(values: Any, kind: pa.DataType, name: str) -> list[str]:
    if not is_text(kind) or not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise Unsupported(f"it has no {name}, or its column is no text")
    return values


def _choose(kwargs: Kwargs, default: str) -> str:
    wanted = kwargs.get("match_on", default)
    if wanted not in MATCH_ON:
        raise Unsupported("match_on is neither any nor all")
    return str(wanted)


def _translate(pattern: str) -> dict[str, Any]:
    translated, line_end = translate_regex(pattern)
    return {"regex": translated, "line_end": line_end}


def _unescape(pattern: str, escape: str) -> str:
    """The pattern with a backslash as its escape, as Arrow reads it.

    Raises:
        Unsupported: The escape stands before a character that needs none, which Spark refuses too.
    """
    out, position = [], 0
    while position < len(pattern):
        char = pattern[position]
        if char == escape:
            following = pattern[position + 1 : position + 2]
            if following not in ("%", "_", escape) or not following:
                raise Unsupported("its escape stands before a character that needs none")
            out.append(f"\\{following}" if following in "%_\\" else following)
            position += 1
        else:
            out.append("\\\\" if char == "\\" else char)
        position += 1
    return "".join(out)
