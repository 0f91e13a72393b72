"""Distributions of a task's columns: a random share of every batch, kept until there is enough to count at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from batchscore.kernel.rules import decode
from batchscore.kernel.tally import Tally

WATCHED_FIRST = 4096  # rows of a task that are all counted, where it is not known how many it gets
COUNTED = 8192  # rows kept before they are counted: counting costs as much for few rows as for many


class Watch:
    """The distributions of one place in one task.

    Args:
        tally: Takes what is counted.
        place: Of these columns, `features` or `scores`.
        share: Share of the rows that is looked at; 0 where nobody knows how many there are.
    """

    def __init__(self, tally: Tally, place: str, share: float) -> None:
        self._tally = tally
        self._place = place
        self._share = share
        self._chance = np.random.default_rng(0)
        self._seen = self._rows = 0
        self._weight = 1
        self._kept: list[pa.RecordBatch] = []

    def add(self, columns: Mapping[str, pa.Array], rows: np.ndarray) -> None:
        """Look at these rows of a batch, or at a random share of them.

        Args:
            columns: [n] values by name.
            rows: Positions of the rows.
        """
        if not columns:
            return
        share, weight = self._share, 1
        if not share:
            self._seen += len(rows)
            weight = 1 << ((self._seen - len(rows)) // WATCHED_FIRST).bit_length()
            share = 1 / weight
        if share < 1:
            rows = rows[self._chance.random(len(rows)) < share]
        index = pa.array(rows)
        taken = pa.RecordBatch.from_pydict({name: decode(column.take(index)) for name, column in columns.items()})
        if self._kept and (weight != self._weight or taken.schema != self._kept[0].schema):
            self.count()
        self._weight = weight
        self._kept.append(taken)
        self._rows += len(rows)
        if self._rows >= COUNTED:
            self.count()

    def count(self) -> None:
        """Count what is kept."""
        if self._kept:
            table = pa.Table.from_batches(self._kept).combine_chunks()
            whole = {name: _one_array(table.column(name)) for name in table.schema.names}
            self._tally.add_distributions(self._place, whole, self._weight)
        self._kept, self._rows = [], 0


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
