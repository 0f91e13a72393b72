"""Answers: what an engine found out about one expectation, in Great Expectations' terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What was found out about one expectation.

    Attributes:
        success: The verdict.
        evaluated: Rows with a value, where rows are counted.
        unexpected: Rows that failed, where they are counted.
        observed: Observed value, where there is one.
        error: Why it could not be evaluated; holds no cell values.
    """

    success: bool
    evaluated: int | None = None
    unexpected: int | None = None
    observed: Any = None
    error: str | None = None


def answer_rows(evaluated: int, unexpected: int, kwargs: Mapping[str, Any]) -> Answer:
    """The answer on counted rows: the share that passes is at least `mostly`, and no rows pass."""
    mostly = kwargs.get("mostly")
    passed = not evaluated or (evaluated - unexpected) / evaluated >= (1 if mostly is None else mostly)
    return Answer(success=passed, evaluated=evaluated, unexpected=unexpected)
