"""Java patterns in RE2's words, or refused."""

from __future__ import annotations

import pytest

from batchscore.checks.regex import translate_regex
from batchscore.checks.values import Unsupported

DOT = r"[^\n\r\x{85}\x{2028}\x{2029}]"
SPACE = r"\t\n\x0b\f\r "


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ("", False)),
        ("^[A-Z]{2}$", (r"^[A-Z]{2}\z", True)),
        ("^a$|^b$", (r"^a\z|^b\z", True)),
        ("a.c", (f"a{DOT}c", False)),
        (r"\d+\.\d*?", (r"\d+\.\d*?", False)),
        (r"\s", (f"[{SPACE}]", False)),
        (r"\S", (f"[^{SPACE}]", False)),
        (r"[\s\d_-]", (f"[{SPACE}" + r"\d_\-]", False)),
        (r"[^@\]]+@[-a-z]", (r"[^@\]]+@[\-a-z]", False)),
        (r"[\x41-\u0044]", (r"[\x{41}-\x{0044}]", False)),
        (r"(?:ab|c)(d)?", (r"(?:ab|c)(d)?", False)),
        ("日{1,3}", ("日{1,3}", False)),
        (r"[.$^]", (r"[.$^]", False)),
    ],
)
def test_same_meaning(pattern: str, expected: tuple[str, bool]) -> None:
    assert translate_regex(pattern) == expected


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?i)abc",
        r"(?s).*",
        r"(?=a)b",
        r"(?<!a)b",
        r"(?<name>a)",
        r"(a)\1",
        r"\bword\b",
        r"\p{L}+",
        r"\Aabc\Z",
        r"\Qa.b\E",
        r"\h\R",
        r"a++",
        r"a{2}{3}",
        r"a{,3}",
        r"a{1001}",
        r"{",
        r"(a$|b)c",
        r"$a",
        r"[a-z&&[^b]]",
        r"[[a]b]",
        r"[\S]",
        r"[\d-x]",
        r"[a-\d]",
        r"[]a]",
        r"[a",
        r"(a",
        r"a)",
        r"*a",
        r"\ud800",
        "a\\",
        r"\é",
    ],
)
def test_other_meaning_is_left_to_spark(pattern: str) -> None:
    with pytest.raises(Unsupported):
        translate_regex(pattern)
