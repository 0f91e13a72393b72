"""One Arrow batch from rules to outcome: check, score and tally each batch while it is in the worker's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.errors import InputError, ScoringError
from batchscore.kernel.filling import fill_features
from batchscore.kernel.reasons import PLACES, REASON, Failures, make_reason, name_reason
from batchscore.kernel.rules import evaluate
from batchscore.kernel.scorer import Scorer
from batchscore.kernel.scores import find_bad_scores
from batchscore.kernel.spec import KernelSpec
from batchscore.kernel.tally import Tally

SCORED = "scored"
QUARANTINED = "quarantined"
TALLY = "tally"


def stage_schema(spec_columns: list[pa.Field], raw: pa.DataType | None) -> pa.Schema:
    """The schema of what the kernel gives back: the output columns, the outcome, its reasons, and the tally."""
    extra = [
        pa.field("_outcome", pa.string()),
        pa.field("_stage", pa.string()),
        pa.field("_reasons", pa.list_(REASON)),
        pa.field("_tally", pa.string()),
    ]
    if raw is not None:
        extra.append(pa.field("_raw", raw))
    return pa.schema([*spec_columns, *extra])


def run_kernel(
    batches: Iterator[pa.RecordBatch],
    spec: KernelSpec,
    load_bytes: Callable[[], bytes],
    worker: str,
    address: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Check, score and tally a task's batches; every row comes back once, and one tally row comes last.

    Args:
        batches: The task's rows. Columns: keys, passthrough, columns of input rules, features, and the flags that
            the spec announces.
        spec: What to do.
        load_bytes: Gives the model's bytes.
        worker: Name of this worker process, `host:pid`.
        address: The GPU that Spark gave the task, if it gave one.

    Raises:
        ModelError: The model's bytes changed, or will not load.
        ScoringError: A null under `on_null: fail`, a bad score under `on_bad_score: fail`, or more rows than
            `max_failed_rows` that ONNX Runtime refuses on their own.
    """
    task = _Task(spec, load_bytes, address, pa.ipc.read_schema(pa.py_buffer(spec.schema)))
    for batch in batches:
        if batch.num_rows:
            task.tally.bytes_in += batch.nbytes
            for out in task.process(batch):
                task.tally.bytes_out += out.nbytes
                yield out
    yield task.tally_row(worker)


class _Task:
    """The state of one task: its session and its tally."""

    def __init__(
        self, spec: KernelSpec, load_bytes: Callable[[], bytes], address: int | None, schema: pa.Schema
    ) -> None:
        self.spec = spec
        self.schema = schema
        self.tally = Tally()
        self._scorer = Scorer(spec.model, spec, address, load_bytes, self.tally)
        self._rules = {place: [r for r in spec.rules if r.place == place] for place in PLACES}
        self._tallies = {place: [t for t in spec.tallies if t.place == place] for place in PLACES}

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        columns = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
        failures = Failures(batch.num_rows)
        self.tally.read += batch.num_rows
        self._check_lookups(columns)
        self._check_keys(columns, failures)
        self._check_rules("input", columns, failures)
        self._check_rules("features", columns, failures)
        features = fill_features(self.spec.features, self.spec.model.inputs, columns, failures)
        alive = np.flatnonzero(~failures.failed())
        scores: Mapping[str, pa.Array] = {}
        if len(alive):
            scores, alive = self._score(features, alive, failures)
        if len(alive):
            self._check_scores(columns, scores, alive, failures)
        yield from self._outcomes(columns, scores, alive, failures)

    def _check_lookups(self, columns: Mapping[str, pa.Array]) -> None:
        doubled = columns["_doubled"] if self.spec.doubled else None
        if doubled is not None and doubled.null_count < len(doubled):
            name = pc.drop_null(doubled)[0].as_py()
            raise InputError(
                f"lookups.{name}: expected one row for each key; found a key with several rows in the lookup table. "
                "Make its keys unique upstream, or look up as of a time (at, known_at, max_age)."
            )

    def _check_keys(self, columns: Mapping[str, pa.Array], failures: Failures) -> None:
        for key in self.spec.keys:
            if columns[key].null_count:
                failures.add("input", _bools(columns[key].is_null()), **make_reason("null_key", key))
        if self.spec.duplicates:
            mask = _bools(pc.fill_null(columns["_duplicate"], False))
            if mask.any():
                failures.add("input", mask, **make_reason("duplicate_key", ", ".join(self.spec.keys)))

    def _check_rules(self, place: str, columns: Mapping[str, pa.Array], failures: Failures) -> None:
        for rule in self._rules[place]:
            mask, evaluated = evaluate(rule, columns)
            count = int(mask.sum())
            self.tally.count_rule(rule.rule, evaluated, count)
            if count and rule.on_row_fail == "quarantine":
                failures.add(
                    place,
                    mask,
                    rule=rule.rule,
                    fingerprint=rule.fingerprint,
                    column=", ".join(rule.columns),
                    severity=rule.severity,
                    kind=rule.expectation,
                )
        if self._tallies[place]:
            self.tally.add_columns(place, columns, self._tallies[place])

    def _score(
        self, features: Mapping[str, pa.Array], alive: np.ndarray, failures: Failures
    ) -> tuple[Mapping[str, pa.Array], np.ndarray]:
        """Scores, and the positions of the rows that have one."""
        if len(alive) < failures.rows:
            index = pa.array(alive)
            features = {name: column.take(index) for name, column in features.items()}
        scores = self._scorer.score(features, len(alive))
        if scores.failed:
            alive = self._set_failed_aside(scores.failed, alive, failures)
        return scores.columns, alive

    def _set_failed_aside(self, failed: Mapping[int, str], alive: np.ndarray, failures: Failures) -> np.ndarray:
        """Give the rows that ONNX Runtime refuses their reasons; returns the positions of the others."""
        reason = make_reason("unscorable", ", ".join(spec.column for spec in self.spec.model.outputs))
        for error in dict.fromkeys(failed.values()):
            mask = np.zeros(failures.rows, dtype=bool)
            mask[alive[[row for row, text in failed.items() if text == error]]] = True
            failures.add("output", mask, **reason, error=error)
        return np.delete(alive, list(failed))

    def _check_scores(
        self,
        columns: Mapping[str, pa.Array],
        scores: Mapping[str, pa.Array],
        alive: np.ndarray,
        failures: Failures,
    ) -> None:
        own = Failures(len(alive))
        bad = find_bad_scores(list(scores.values())) if self.spec.on_bad_score != "keep" else None
        if bad is not None:
            if self.spec.on_bad_score == "fail":
                raise ScoringError(
                    f"model {self.spec.model.label}: expected finite scores (on_bad_score: fail); found "
                    f"{int(bad.sum())} NaN or infinite in one batch of {len(alive)} rows."
                )
            own.add("output", bad, **make_reason("bad_score", ", ".join(scores)))
        index = pa.array(alive)
        kept = {name: columns[name].take(index) for name in (*self.spec.keys, *self.spec.passthrough)}
        self._check_rules("output", {**kept, **scores}, own)
        for place, mask, reason in zip(own.places, own.masks, own.reasons, strict=True):
            whole = np.zeros(failures.rows, dtype=bool)
            whole[alive] = mask
            failures.add(place, whole, **reason)

    def _outcomes(
        self, columns: Mapping[str, pa.Array], scores: Mapping[str, pa.Array], alive: np.ndarray, failures: Failures
    ) -> Iterator[pa.RecordBatch]:
        failed = failures.failed()
        good = ~failed
        scored, aside = int(good.sum()), int(failed.sum())
        self.tally.scored += scored
        self.tally.quarantined += aside
        carried = (*self.spec.keys, *self.spec.passthrough)
        if scored:
            whole = scored == failures.rows
            rows = pa.array(np.flatnonzero(good))
            inside = None if scored == len(alive) else pa.array(np.flatnonzero(good[alive]))
            values = {name: columns[name] if whole else columns[name].take(rows) for name in carried}
            values |= {n: c if inside is None else c.take(inside) for n, c in scores.items()}
            yield self._batch(values, scored, SCORED)
        if aside:
            chosen = np.flatnonzero(failed)
            for mask, reason in zip(failures.masks, failures.reasons, strict=True):
                self.tally.count_reason(name_reason(reason), int(mask.sum()))
            rows = pa.array(chosen)
            values = {name: columns[name].take(rows) for name in carried}
            values["_stage"], values["_reasons"] = failures.columns(chosen)
            if self.spec.raw:
                values["_raw"] = columns["_raw"].take(rows)
            yield self._batch(values, aside, QUARANTINED)

    def tally_row(self, worker: str) -> pa.RecordBatch:
        self.tally.add_worker(worker)
        return self._batch({"_tally": pa.array([self.tally.to_json()])}, 1, TALLY)

    def _batch(self, values: Mapping[str, pa.Array], rows: int, outcome: str) -> pa.RecordBatch:
        arrays = []
        for item in self.schema:
            if item.name == "_outcome":
                arrays.append(pa.repeat(pa.scalar(outcome), rows))
            elif item.name in values:
                array = values[item.name]
                arrays.append(array if array.type == item.type else array.cast(item.type))
            else:
                arrays.append(pa.nulls(rows, item.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _bools(array: pa.Array) -> np.ndarray:
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values.astype(bool, copy=False)
