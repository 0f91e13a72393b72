"""Reasons: why rows of a batch are set aside, collected as masks and given out row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

REASON = pa.struct(
    [(name, pa.string()) for name in ("rule", "fingerprint", "column", "severity", "kind", "error")],
)
PLACES = ("input", "features", "output")


@dataclass(slots=True)
class Failures:
    """The rows of one batch that are set aside, by reason: what `_reasons` is built from.

    Attributes:
        rows: Rows in the batch.
        places: Where each reason arose.
        reasons: Fields of `REASON`.
        masks: The rows that each is about, [rows] bool.
    """

    rows: int
    places: list[str] = field(default_factory=list)
    reasons: list[Mapping[str, str]] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)

    def add(self, place: str, mask: np.ndarray, **reason: str) -> None:
        """Set aside the rows of a mask, [rows] bool, at a place, for one reason."""
        self.places.append(place)
        self.reasons.append(reason)
        self.masks.append(mask)

    def failed(self) -> np.ndarray:
        """The rows that have any reason: [rows] bool."""
        out = np.zeros(self.rows, dtype=bool)
        for mask in self.masks:
            out |= mask
        return out

    def columns(self, chosen: np.ndarray) -> tuple[pa.Array, pa.Array]:
        """`_stage` and `_reasons` of the chosen rows (positions): the first place that failed, and every reason."""
        hits = np.stack([mask[chosen] for mask in self.masks], axis=1)  # [rows, reasons]
        counts = hits.sum(axis=1)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        which = pa.array(np.nonzero(hits)[1])
        reasons = pa.array([dict(reason) for reason in self.reasons], REASON).take(which)
        order = np.array([PLACES.index(place) for place in self.places])
        first = np.where(hits, order, len(PLACES)).min(axis=1)
        return pa.array(PLACES).take(pa.array(first)), pa.ListArray.from_arrays(pa.array(offsets), reasons)


def make_reason(kind: str, column: str) -> dict[str, str]:
    """A reason that is no expectation's."""
    return {"rule": kind, "fingerprint": "", "column": column, "severity": "critical", "kind": kind}


def name_reason(reason: Mapping[str, str]) -> str:
    """How a reason is counted: an expectation with its rule id, the rest by kind and column."""
    name = f"{reason['kind']} {reason['column']}"
    return name if reason["rule"] == reason["kind"] else f"{reason['rule']} {name}"
