"""Halves a batch that ONNX Runtime refuses, until the rows that it refuses alone are known and all others scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchscore.errors import ScoringError
from batchscore.kernel.runtime import Refusal

Feeds = Mapping[str, np.ndarray]


@dataclass(slots=True)
class Pieces:
    """What became of one batch.

    Attributes:
        outputs: For each call that went well, in row order, one array for each tensor asked for.
        failed: Position of each row that fails alone, to what ONNX Runtime says of it.
        splits: Calls that were refused and halved.
    """

    outputs: list[list[Any]] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    splits: int = 0


def score_pieces(
    call: Callable[[Feeds, int], list[Any] | Refusal],
    feeds: Feeds,
    rows: int,
    step: int,
    limit: int,
    failed_before: int = 0,
) -> Pieces:
    """Score a batch, call by call.

    A refused call is halved and both halves are tried: one row that fails costs about 2 log2(step) small calls. Memory
    that does not suffice is a refusal like any other, and smaller halves then fit.

    Args:
        call: Scores so many rows: their outputs, or what ONNX Runtime says against them.
        feeds: Input name to array of `rows` rows.
        rows: Rows in the batch.
        step: Rows in one call.
        limit: Rows that may fail alone before the whole is given up.
        failed_before: How many of them did already.

    Raises:
        ScoringError: More rows fail alone.
    """
    done = Pieces()
    waiting = [(start, min(start + step, rows)) for start in range(0, rows, step)]
    waiting.reverse()
    while waiting:
        start, end = waiting.pop()
        outcome = call({name: array[start:end] for name, array in feeds.items()}, end - start)
        if not isinstance(outcome, Refusal):
            done.outputs.append(outcome)
        elif end - start > 1:
            done.splits += 1
            middle = (start + end) // 2
            waiting += [(middle, end), (start, middle)]
        else:
            done.failed[start] = outcome.reason
            if failed_before + len(done.failed) > limit:
                raise ScoringError(too_many_failed(f"more than {limit} in one task", f"It says: {outcome.summary}."))
    return done


def too_many_failed(found: str, said: str) -> str:
    """The sentence on rows that the model cannot score."""
    return (
        f"scoring.max_failed_rows: expected few rows that ONNX Runtime refuses; found {found}. {said} "
        "Set such rows aside by an expectation under checks.features, mend the model, or raise the limit."
    )
