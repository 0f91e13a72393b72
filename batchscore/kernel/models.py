"""Scores rows with the models of a job: one, the mean of several, or for each segment its own; and a challenger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.errors import BatchscoreError, ScoringError
from batchscore.kernel.filling import find_unfit
from batchscore.kernel.nested import leaf_type, replace_leaf, unnest
from batchscore.kernel.postprocess import apply_steps
from batchscore.kernel.reasons import Failures, make_reason
from batchscore.kernel.scorer import Scorer
from batchscore.kernel.scores import column_type
from batchscore.kernel.spec import InputSpec, KernelSpec, ModelSpec
from batchscore.kernel.tally import Tally

Columns = Mapping[str, pa.Array]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the models make of the rows of one batch.

    Attributes:
        columns: Outputs and computed columns, those that are dropped among them: [a] values.
        alive: [a] positions of the rows that have scores.
        labels: [a] model of each row, where rows have different ones.
    """

    columns: Columns
    alive: np.ndarray
    labels: pa.Array | None = None


class JobModels:
    """The models of a job in one task.

    Args:
        spec: What the kernel does.
        address: The GPU that Spark gave the task, if it gave one.
        load_bytes: Gives the bytes of the model with a digest.
        tally: Takes what is counted.
    """

    def __init__(self, spec: KernelSpec, address: int | None, load_bytes: Callable[[str], bytes], tally: Tally) -> None:
        self._scores = spec.scores
        self._tally = tally
        self._types = common_types(spec.scores.models)

        def open_scorer(model: ModelSpec, into: Tally) -> Scorer:
            return Scorer(model, spec, address, partial(load_bytes, model.sha256), into)

        self._scorers = [open_scorer(model, tally) for model in spec.scores.models]
        challenger = spec.scores.challenger
        self._challenger = None
        if challenger is not None:
            tally.challenger = Tally()
            self._challenger = open_scorer(challenger, tally.challenger)

    @property
    def inputs(self) -> Sequence[InputSpec]:
        """Inputs of all models of the job, the challenger's last."""
        challenger = self._scores.challenger
        models = (*self._scores.models, challenger) if challenger else self._scores.models
        return [spec for model in models for spec in model.inputs]

    def route(self, columns: Columns, failures: Failures) -> np.ndarray | None:
        """The model of each row: [n] positions, -1 for none; None where every row takes all models."""
        if not self._scores.by:
            return None
        values = columns[self._scores.by].cast(pa.string())
        known = pc.index_in(values, pa.array(self._scores.routes, pa.string()))
        places = np.array([*self._scores.routes.values(), -1])
        found: np.ndarray = places[pc.fill_null(known, -1).to_numpy(zero_copy_only=False)]
        if self._scores.default is not None:
            found[found < 0] = self._scores.default
        elif (found < 0).any():
            failures.add("features", found < 0, **make_reason("no_model", self._scores.by))
        return found

    def check(self, columns: Columns, filled: Columns, routes: np.ndarray | None, failures: Failures) -> None:
        """Set aside the rows that their model cannot take as they are."""
        if routes is None:
            inputs = [spec for model in self._scores.models for spec in model.inputs]
            for kind, name, mask in find_unfit(inputs, columns, filled):
                failures.add("features", mask, **make_reason(kind, name))
            return
        for place, model in enumerate(self._scores.models):
            own = routes == place
            for kind, name, mask in find_unfit(model.inputs, columns, filled) if own.any() else ():
                if (mask & own).any():
                    failures.add("features", mask & own, **make_reason(kind, name))

    def score(self, filled: Columns, alive: np.ndarray, routes: np.ndarray | None, failures: Failures) -> Answer:
        """Score rows, and compute what is made from the scores.

        Args:
            filled: Feature columns of the whole batch, after null policies.
            alive: Positions of the rows to score, at least one.
            routes: As `route` gave them.
            failures: Takes the rows that ONNX Runtime refuses alone.

        Raises:
            ModelError: A model's bytes changed, or will not load.
            ScoringError: More rows than `max_failed_rows` are refused, or an output has not the shape promised.
        """
        if routes is not None:
            answer = self._score_segments(filled, alive, routes, failures)
        elif self._scores.weights:
            answer = self._score_ensemble(filled, alive, failures)
        else:
            columns, left = self._score_with(0, filled, alive, failures)
            answer = Answer(columns, left)
        self._tally.to_checks += len(answer.alive)
        if not len(answer.alive):
            return answer
        return Answer(apply_steps(self._scores.steps, answer.columns), answer.alive, answer.labels)

    def challenge(self, columns: Columns, filled: Columns, alive: np.ndarray) -> pa.Array | None:
        """The challenger's columns for the rows that have scores, as structs; null where it has none.

        It decides nothing: what it cannot take is left out, and where it fails, the task goes on without it.

        Args:
            columns: The batch as it came.
            filled: Feature columns of the whole batch, after null policies.
            alive: [a] positions of the rows that have scores.
        """
        if self._scores.challenger is None or not len(alive):
            return None
        told = self._tally.challenger
        assert told is not None
        told.read += len(alive)
        if self._challenger is None:
            told.count_reason("given up", len(alive))
            return pa.nulls(len(alive), pa.null())
        fits = np.ones(len(alive), dtype=bool)
        for _, _, mask in find_unfit(self._scores.challenger.inputs, columns, filled):
            fits &= ~mask[alive]
        rows = np.flatnonzero(fits)
        if len(rows) < len(alive):
            told.count_reason("unfit", len(alive) - len(rows))
        if not len(rows):
            return pa.nulls(len(alive), pa.null())
        try:
            done = self._challenger.score(_take(filled, alive[rows]), len(rows))
            made = apply_steps(self._scores.steps, done.columns) if done.columns else {}
        except BatchscoreError as error:
            self._challenger = None
            told.count_reason("given up", len(rows))
            told.challenger_error = str(error)
            return pa.nulls(len(alive), pa.null())
        if done.failed:
            told.count_reason("unscorable", len(done.failed))
            told.challenger_error = told.challenger_error or next(iter(done.failed.values()))
        rows = np.delete(rows, list(done.failed))
        told.scored += len(rows)
        if not len(rows):
            return pa.nulls(len(alive), pa.null())
        names = self._scores.columns
        whole = pa.StructArray.from_arrays([made[name] for name in names], names)
        places = np.full(len(alive), len(rows))
        places[rows] = np.arange(len(rows))
        return pa.concat_arrays([whole, pa.nulls(1, whole.type)]).take(pa.array(places))

    def _score_with(
        self, place: int, filled: Columns, alive: np.ndarray, failures: Failures
    ) -> tuple[Columns, np.ndarray]:
        """One model's columns for rows of the batch, and the positions of those that have them."""
        scorer = self._scorers[place]
        done = scorer.score(filled if len(alive) == failures.rows else _take(filled, alive), len(alive))
        many = len(self._scorers) > 1
        for error in dict.fromkeys(done.failed.values()):
            mask = np.zeros(failures.rows, dtype=bool)
            mask[alive[[row for row, text in done.failed.items() if text == error]]] = True
            reason = make_reason("unscorable", ", ".join(self._scores.outputs))
            failures.add("output", mask, **reason, error=f"{scorer.model.label}: {error}" if many else error)
        left = np.delete(alive, list(done.failed)) if done.failed else alive
        cast = {name: _cast(column, self._types[name]) for name, column in done.columns.items()}
        return cast, left

    def _score_segments(self, filled: Columns, alive: np.ndarray, routes: np.ndarray, failures: Failures) -> Answer:
        parts: list[tuple[Columns, np.ndarray]] = []
        for place in np.unique(routes[alive]):
            columns, left = self._score_with(int(place), filled, alive[routes[alive] == place], failures)
            if len(left):
                parts.append((columns, left))
        if not parts:
            return Answer({}, alive[:0])
        positions = np.concatenate([left for _, left in parts])
        order = np.argsort(positions)
        taken = pa.array(order)
        columns = {n: pa.concat_arrays([part[n] for part, _ in parts]).take(taken) for n in self._scores.outputs}
        rows = positions[order]
        labels = pa.array([model.label for model in self._scores.models]).take(pa.array(routes[rows]))
        return Answer(columns, rows, labels)

    def _score_ensemble(self, filled: Columns, alive: np.ndarray, failures: Failures) -> Answer:
        members: list[tuple[Columns, np.ndarray]] = []
        for place in range(len(self._scorers)):
            columns, alive = self._score_with(place, filled, alive, failures)
            if not len(alive):
                return Answer({}, alive)
            members.append((columns, alive))
        kept = []
        for columns, rows in members:
            inside = pa.array(np.flatnonzero(np.isin(rows, alive)))
            kept.append(columns if len(inside) == len(rows) else {n: c.take(inside) for n, c in columns.items()})
        return Answer({n: self._mean(n, [columns[n] for columns in kept]) for n in self._scores.outputs}, alive)

    def _mean(self, name: str, columns: Sequence[pa.Array]) -> pa.Array:
        """The weighted mean of [n] scores of several models."""
        first = columns[0]
        leaves = columns
        if leaf_type(first.type)[1]:
            taken = [unnest(column) for column in columns]
            if any(not np.array_equal(taken[0].shapes, one.shapes) for one in taken[1:]):
                raise ScoringError(
                    f"model.ensemble: expected arrays of one shape in '{name}' from every model; found several. "
                    "Name the parts that the models have in common under their outputs."
                )
            leaves = [one.leaf for one in taken]
        parts = [
            weight * leaf.to_numpy(zero_copy_only=False).astype(np.float64)
            for weight, leaf in zip(self._scores.weights, leaves, strict=True)
        ]
        total = pa.array(reduce(np.add, parts)).cast(leaves[0].type, safe=False)
        return replace_leaf(first, total)


def common_types(models: Iterable[ModelSpec]) -> dict[str, pa.DataType]:
    """Output column to the type that holds it for every model; double where floats of several widths meet.

    A column is missing where the models' types have no common one.
    """
    each: dict[str, list[pa.DataType]] = {}
    for model in models:
        for output in model.outputs:
            each.setdefault(output.column, []).append(column_type(output))
    common = {}
    for name, types in each.items():
        leaves = [leaf_type(kind) for kind in types]
        if all(kind == types[0] for kind in types):
            common[name] = types[0]
        elif all(pa.types.is_floating(kind) and depth == leaves[0][1] for kind, depth in leaves):
            wide = pa.float64()
            for _ in range(leaves[0][1]):
                wide = pa.list_(wide)
            common[name] = wide
    return common


def _take(columns: Columns, rows: np.ndarray) -> Columns:
    index = pa.array(rows)
    return {name: column.take(index) for name, column in columns.items()}


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)
