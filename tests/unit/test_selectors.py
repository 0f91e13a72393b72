"""Output selectors: forms that are taken apart, and forms that are refused."""

from __future__ import annotations

import pytest

from batchscore.selectors import Selector, parse_selector

FORMS = [
    ("variable", ("variable", None)),
    ("a name with blanks", ("a name with blanks", None)),
    ("probabilities[:, 1]", ("probabilities", (1,))),
    ("probabilities[:,12]", ("probabilities", (12,))),
    ("p[:, :]", ("p", (None,))),
    ("p[ : , : , 0 ]", ("p", (None, 0))),
    ("p[:, 2, :, 3]", ("p", (2, None, 3))),
    ('p[:, "yes"]', ("p", ("yes",))),
    ("p[:, 'a, b: c']", ("p", ("a, b: c",))),
    ('p[:, ""]', ("p", ("",))),
    ("p[1]", None),
    ("p[:]", None),
    ("p[:, ]", None),
    ("p[:, 1,]", None),
    ("p[:, -1]", None),
    ("p[:, 1.5]", None),
    ("p[:, yes]", None),
    ("p[:, 'yes\"]", None),
    ("p[:, 1", None),
    ("p[:, 1]x", None),
    ("p[:, 1]\n", None),
    ("p[:, 1][:, 2]", None),
    ("[:, 1]", None),
    (" ", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), FORMS)
def test_parse_selector(text: str, expected: tuple[str, tuple[int | str | None, ...] | None] | None) -> None:
    assert parse_selector(text) == (None if expected is None else Selector(*expected))
