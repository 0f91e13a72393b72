"""One Arrow batch from rules to outcome: check, score and tally each batch while it is in the worker's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.errors import ScoringError
from batchscore.kernel.filling import fill_features
from batchscore.kernel.models import Answer, JobModels
from batchscore.kernel.reasons import PLACES, REASON, Failures, make_reason, name_reason
from batchscore.kernel.rules import evaluate
from batchscore.kernel.scores import find_bad_scores
from batchscore.kernel.spec import KernelSpec, TallySpec
from batchscore.kernel.tally import Tally
from batchscore.kernel.training import check_doubled
from batchscore.kernel.watching import Watch

SCORED = "scored"
QUARANTINED = "quarantined"
TALLY = "tally"
_RANGE = frozenset({"count", "range", "sum"})


def stage_schema(
    spec_columns: Sequence[pa.Field],
    raw: pa.DataType | None,
    *,
    labels: bool = False,
    challenger: Sequence[pa.Field] = (),
) -> pa.Schema:
    """The schema of what the kernel gives back: the output columns, the outcome, its reasons, and the tally.

    Args:
        spec_columns: Keys, passthrough and output columns.
        raw: Type of the whole input row, where it is carried.
        labels: Whether each row says which model scored it.
        challenger: The challenger's columns; empty without one.
    """
    extra = [
        pa.field("_outcome", pa.string()),
        pa.field("_stage", pa.string()),
        pa.field("_reasons", pa.list_(REASON)),
        pa.field("_tally", pa.string()),
    ]
    if raw is not None:
        extra.append(pa.field("_raw", raw))
    if labels:
        extra.append(pa.field("_model", pa.string()))
    if challenger:
        extra.append(pa.field("_challenger", pa.struct(list(challenger))))
    return pa.schema([*spec_columns, *extra])


def run_kernel(
    batches: Iterator[pa.RecordBatch],
    spec: KernelSpec,
    load_bytes: Callable[[str], bytes],
    worker: str,
    address: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Check, score and tally a task's batches; every row comes back once, and one tally row comes last.

    Args:
        batches: The task's rows. Columns: keys, passthrough, columns of input rules, features, and the flags that
            the spec announces.
        spec: What to do.
        load_bytes: Gives the bytes of the model with a digest.
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
    """The state of one task: its models and its tally."""

    def __init__(
        self, spec: KernelSpec, load_bytes: Callable[[str], bytes], address: int | None, schema: pa.Schema
    ) -> None:
        self.spec = spec
        self.schema = schema
        self.tally = Tally()
        self._models = JobModels(spec, address, load_bytes, self.tally)
        self._rules = {place: [r for r in spec.rules if r.place == place] for place in PLACES}
        self._tallies = {place: [t for t in spec.tallies if t.place == place] for place in PLACES}
        self._ranges = [TallySpec(place="scores", column=name, stats=_RANGE) for name in spec.ranges]
        self._watches = {place: Watch(self.tally, place, spec.watched_share) for place in ("features", "scores")}

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        columns = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
        failures = Failures(batch.num_rows)
        self.tally.read += batch.num_rows
        check_doubled(columns)
        self._check_keys(columns, failures)
        self._check_rules("input", columns, failures)
        self._check_rules("features", columns, failures)
        routes = self._models.route(columns, failures)
        features = fill_features(self.spec.features, self._models.inputs, columns, failures)
        self._models.check(columns, features, routes, failures)
        alive = np.flatnonzero(~failures.failed())
        self._watches["features"].add({name: features[name] for name in self.spec.watched}, alive)
        answer = self._models.score(features, alive, routes, failures) if len(alive) else Answer({}, alive)
        if len(answer.alive):
            self._check_scores(columns, answer, failures)
        yield from self._outcomes(columns, features, answer, failures)

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

    def _check_scores(self, columns: Mapping[str, pa.Array], answer: Answer, failures: Failures) -> None:
        scores, alive = answer.columns, answer.alive
        own = Failures(len(alive))
        bad = find_bad_scores(scores) if self.spec.on_bad_score != "keep" else {}
        for name, mask in bad.items():
            if self.spec.on_bad_score == "fail":
                raise ScoringError(
                    f"model {self.spec.scores.label}: expected finite scores (on_bad_score: fail); found "
                    f"{int(mask.sum())} NaN or infinite in '{name}' in one batch of {len(alive)} rows. Mend the input "
                    "or the model, or choose on_bad_score: quarantine or keep."
                )
            own.add("output", mask, **make_reason("bad_score", name))
        index = pa.array(alive)
        kept = {name: columns[name].take(index) for name in (*self.spec.keys, *self.spec.passthrough)}
        self._check_rules("output", {**kept, **self._kept(scores)}, own)
        for place, mask, reason in zip(own.places, own.masks, own.reasons, strict=True):
            whole = np.zeros(failures.rows, dtype=bool)
            whole[alive] = mask
            failures.add(place, whole, **reason)

    def _kept(self, scores: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        return {name: scores[name] for name in self.spec.scores.columns} if scores else {}

    def _outcomes(
        self,
        columns: Mapping[str, pa.Array],
        features: Mapping[str, pa.Array],
        answer: Answer,
        failures: Failures,
    ) -> Iterator[pa.RecordBatch]:
        failed = failures.failed()
        good = ~failed
        scored, aside = int(good.sum()), int(failed.sum())
        self.tally.scored += scored
        self.tally.quarantined += aside
        carried = (*self.spec.keys, *self.spec.passthrough)
        if scored:
            whole = scored == failures.rows
            rows = np.flatnonzero(good)
            index = pa.array(rows)
            inside = None if scored == len(answer.alive) else pa.array(np.flatnonzero(good[answer.alive]))
            values = {name: columns[name] if whole else columns[name].take(index) for name in carried}
            scores = self._kept(answer.columns)
            if answer.labels is not None:
                scores["_model"] = answer.labels
            values |= {n: c if inside is None else c.take(inside) for n, c in scores.items()}
            self._watches["scores"].add({name: values[name] for name in self.spec.watched_scores}, np.arange(scored))
            if self._ranges:
                counted = {name: _without_nan(values[name]) for name in self.spec.ranges}
                self.tally.add_columns("scores", counted, self._ranges)
            challenged = self._models.challenge(columns, features, rows)
            if challenged is not None:
                values["_challenger"] = challenged
            yield self._batch(values, scored, SCORED)
        if aside:
            chosen = np.flatnonzero(failed)
            for mask, reason in zip(failures.masks, failures.reasons, strict=True):
                self.tally.count_reason(name_reason(reason), int(mask.sum()))
            index = pa.array(chosen)
            values = {name: columns[name].take(index) for name in carried}
            values["_stage"], values["_reasons"] = failures.columns(chosen)
            if self.spec.raw:
                values["_raw"] = columns["_raw"].take(index)
            yield self._batch(values, aside, QUARANTINED)

    def tally_row(self, worker: str) -> pa.RecordBatch:
        for watch in self._watches.values():
            watch.count()
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


def _without_nan(array: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(array), None, array) if pa.types.is_floating(array.type) else array


def _bools(array: pa.Array) -> np.ndarray:
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values.astype(bool, copy=False)
