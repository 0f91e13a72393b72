"""Checks alone: a task's batches against rules and tallies, without a model; one tally row comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from batchscore.kernel.rules import evaluate
from batchscore.kernel.spec import RuleSpec, TallySpec
from batchscore.kernel.tally import Tally

TALLY_SCHEMA = pa.schema([("_tally", pa.string())])


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckSpec:
    """What to check.

    Attributes:
        rules: Row rules, of one place or several whose columns travel together.
        tallies: Column tallies of these places.
    """

    rules: tuple[RuleSpec, ...]
    tallies: tuple[TallySpec, ...]


def run_checks(batches: Iterator[pa.RecordBatch], spec: CheckSpec, worker: str) -> Iterator[pa.RecordBatch]:
    """Count what a task's batches amount to.

    Args:
        batches: The task's rows, with the columns that the spec reads.
        spec: What to check.
        worker: Name of this worker process, `host:pid`.

    Returns:
        One tally row; `quarantined` are the rows that a run would set aside by these rules.
    """
    tally = Tally()
    for batch in batches:
        check_batch(dict(zip(batch.schema.names, batch.columns, strict=True)), batch.num_rows, spec, tally)
    tally.add_worker(worker)
    yield pa.RecordBatch.from_arrays([pa.array([tally.to_json()])], schema=TALLY_SCHEMA)


def check_batch(columns: Mapping[str, pa.Array], rows: int, spec: CheckSpec, tally: Tally) -> None:
    """Add one batch of [rows] rows to a tally."""
    if not rows:
        return
    tally.read += rows
    tally.to_checks += rows  # the checks of scores see every row that is given to them
    aside: np.ndarray | None = None
    for rule in spec.rules:
        fails, evaluated = evaluate(rule, columns)
        failed = int(fails.sum())
        tally.count_rule(rule.rule, evaluated, failed)
        if failed and rule.on_row_fail == "quarantine":
            aside = fails if aside is None else aside | fails
    tally.quarantined += 0 if aside is None else int(aside.sum())
    for place in dict.fromkeys(item.place for item in spec.tallies):
        tally.add_columns(place, columns, _of_place(spec.tallies, place))


def _of_place(tallies: Sequence[TallySpec], place: str) -> list[TallySpec]:
    return [item for item in tallies if item.place == place]
