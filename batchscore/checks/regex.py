r"""Java regular expressions rewritten for RE2, where both then mean the same; the rest is left to Spark.

Spark's `rlike` finds a match anywhere by `java.util.regex`; Arrow finds one by RE2. They differ on what `.`, `\s` and
`$` match, which is rewritten, and on lookaround, back references, inline flags, word boundaries, classes of Unicode
and class algebra, which are refused.
Source: java.util.regex.Pattern (Java 17) and https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from batchscore.checks.values import Unsupported

DOT = r"[^\n\r\x{85}\x{2028}\x{2029}]"
SPACE = r"\t\n\x0b\f\r "
REPEAT = re.compile(r"[*+?]|\{\d{1,4}(?:,\d{0,4})?\}")
CLASS_ESCAPES = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": f"[{SPACE}]", "S": f"[^{SPACE}]"}
CHAR_ESCAPES = {"t": r"\t", "n": r"\n", "r": r"\r", "f": r"\f", "a": r"\a"}
HEX = re.compile(r"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}")
SURROGATES = range(0xD800, 0xE000)


def translate_regex(pattern: str) -> tuple[str, bool]:
    """Rewrite a Java pattern for RE2.

    Returns:
        (the RE2 pattern, whether an alternative of it ends in Java's `$`, which also matches before a last line break).

    Raises:
        Unsupported: RE2 cannot say it, or might mean something else by it.
    """
    reader = _Reader(pattern)
    translated = reader.translate()
    try:
        pc.match_substring_regex(pa.array([""]), translated)
    except pa.ArrowInvalid as error:
        raise Unsupported("RE2 cannot compile its regex") from error
    return translated, reader.line_end


class _Reader:
    """A walk over one pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.depth = 0
        self.line_end = False

    def translate(self) -> str:
        out: list[str] = []
        while self.position < len(self.pattern):
            out.append(self._take_atom())
            out.append(self._take_repeat())
        return "".join(out)

    def _take_atom(self) -> str:
        char = self.pattern[self.position]
        self.position += 1
        if char == "\\":
            return self._take_escape()
        if char == "[":
            return self._take_class()
        if char == "(":
            return self._open_group()
        if char == ")":
            self.depth -= 1
        elif char == "$":
            return self._take_end()
        elif char in "{":
            raise Unsupported("its regex has a brace that is no repetition")
        return DOT if char == "." else char

    def _take_repeat(self) -> str:
        match = REPEAT.match(self.pattern, self.position)
        if match is None:
            return ""
        self.position = match.end()
        lazy = self.pattern.startswith("?", self.position)
        self.position += lazy
        if REPEAT.match(self.pattern, self.position):
            raise Unsupported("its regex repeats a repetition, which only Java knows")
        return match.group() + "?" * lazy

    def _open_group(self) -> str:
        self.depth += 1
        if self.pattern.startswith("?:", self.position):
            self.position += 2
            return "(?:"
        if self.pattern.startswith("?", self.position):
            raise Unsupported(
                "its regex has a named group, lookaround or inline flag, which Arrow lacks or reads apart"
            )
        return "("

    def _take_end(self) -> str:
        if self.depth or (self.position < len(self.pattern) and self.pattern[self.position] != "|"):
            raise Unsupported("its regex has '$' elsewhere than at the end, which Java reads apart")
        self.line_end = True
        return r"\z"

    def _take_escape(self, inside: bool = False) -> str:
        char = self.pattern[self.position : self.position + 1]
        self.position += 1
        if char in CLASS_ESCAPES and char:
            if inside and char == "S":
                raise Unsupported(r"its regex has \S within a class, which Arrow reads apart")
            return SPACE if inside and char == "s" else CLASS_ESCAPES[char]
        if char in CHAR_ESCAPES and char:
            return CHAR_ESCAPES[char]
        code = HEX.match(self.pattern, self.position - 1)
        if code is not None and int(code.group()[1:], 16) not in SURROGATES:
            self.position = code.end()
            return f"\\x{{{code.group()[1:]}}}"
        if char.isascii() and char.isprintable() and not char.isalnum() and char not in ("", " "):
            return f"\\{char}"
        raise Unsupported("its regex has an escape that Arrow lacks or reads apart")

    def _take_class(self) -> str:
        """A class of characters, ranges and escapes; Java's unions and intersections are refused."""
        start = self.position
        out = ["["]
        if self.pattern.startswith("^", self.position):
            self.position += 1
            out.append("^")
            start += 1
        literal = False  # whether a range may begin with what came last
        while not (self.pattern.startswith("]", self.position) and self.position > start):
            if self.position >= len(self.pattern):
                raise Unsupported("its regex has a class without end")
            char = self.pattern[self.position]
            if char in "[]" or self.pattern.startswith("&&", self.position):
                raise Unsupported("its regex has class algebra, which only Java knows")
            if char == "-":
                out.append(self._take_dash(start, literal))
                literal = False
                continue
            self.position += 1
            piece = self._take_escape(inside=True) if char == "\\" else char
            literal = char != "\\" or piece not in (SPACE, *CLASS_ESCAPES.values())
            out.append(piece)
        self.position += 1
        return "".join([*out, "]"])

    def _take_dash(self, start: int, literal: bool) -> str:
        following = self.pattern[self.position + 1 : self.position + 3]
        edge = self.position == start or following[:1] == "]"
        self.position += 1
        if edge:
            return r"\-"
        plain_end = following[:1] not in ("", "[", "-") and not re.match(r"\\[dDwWsS]", following)
        if literal and plain_end:
            char = self.pattern[self.position]
            self.position += 1
            return "-" + (self._take_escape(inside=True) if char == "\\" else char)
        raise Unsupported("its regex has a dash in a class that Java may read apart")
