"""Conditions on one number as the config writes them: `<0.2`, or `>=0.2 <0.7`."""

from __future__ import annotations

import re

FORM = "expected comparisons with numbers, such as '<0.2' or '>=0.2 <0.7'"

_COMPARISON = re.compile(
    r"\s*(<=|>=|<|>)\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*(?:,|\band\b)?"
)

Comparison = tuple[str, float]


def parse_comparisons(text: str) -> tuple[Comparison, ...] | None:
    """Comparisons that must all hold, as pairs of operator and number; None where the text has not the form."""
    found: list[Comparison] = []
    place = 0
    while place < len(text):
        part = _COMPARISON.match(text, place)
        if part is None:
            return None
        found.append((part[1], float(part[2])))
        place = part.end()
    return tuple(found) or None
