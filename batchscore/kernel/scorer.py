"""Scores rows with one model: its session, its calls, and the rows that it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from batchscore.kernel.bisect import Feeds, score_pieces
from batchscore.kernel.call_settings import CallProbe, Setting
from batchscore.kernel.devices import device_of
from batchscore.kernel.nested import unnest
from batchscore.kernel.runtime import Refusal, Session, get_session, runtime_version
from batchscore.kernel.scores import join_parts, to_column
from batchscore.kernel.spec import InputSpec, KernelSpec, ModelSpec
from batchscore.kernel.tally import Tally
from batchscore.kernel.tensors import to_tensor


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model makes of some rows.

    Attributes:
        columns: Output column to [n - failed] scores.
        failed: Position of each row that ONNX Runtime refuses alone, to what it says.
    """

    columns: Mapping[str, pa.Array]
    failed: Mapping[int, str]


class Scorer:
    """One model in one task."""

    def __init__(
        self, model: ModelSpec, spec: KernelSpec, address: int | None, load_bytes: Callable[[], bytes], tally: Tally
    ) -> None:
        self.model = model
        self._spec = spec
        self._address = address
        self._load_bytes = load_bytes
        self._tally = tally
        self._counted = False
        self._failed = 0
        self._tensors = list(dict.fromkeys(output.tensor for output in model.outputs))

    def score(self, features: Mapping[str, pa.Array], rows: int) -> Scores:
        """Score rows; those that ONNX Runtime refuses alone are left out.

        Args:
            features: Feature name to [rows] values, after null policies and shape checks.
            rows: Rows, at least one.

        Raises:
            ModelError: The model's bytes changed, or will not load.
            ScoringError: More rows than `max_failed_rows` are refused, or an output has not the shape promised.
        """
        failed: dict[int, str] = {}
        parts: list[tuple[np.ndarray, Mapping[str, pa.Array]]] = []
        for positions in _group(self.model.inputs, features, rows):
            whole = len(positions) == rows
            taken = features if whole else {n: c.take(pa.array(positions)) for n, c in features.items()}
            columns, refused = self._score_group(taken, len(positions))
            failed |= {int(positions[row]): text for row, text in refused.items()}
            parts.append((np.delete(positions, list(refused)), columns))
        parts = [part for part in parts if part[1]]
        if not parts:
            return Scores({}, failed)
        if len(parts) == 1:
            return Scores(parts[0][1], failed)
        order = pa.array(np.argsort(np.concatenate([positions for positions, _ in parts])))
        names = [output.column for output in self.model.outputs]
        joined = {name: pa.concat_arrays([columns[name] for _, columns in parts]).take(order) for name in names}
        return Scores(joined, failed)

    def _score_group(self, features: Mapping[str, pa.Array], rows: int) -> tuple[dict[str, pa.Array], dict[int, str]]:
        session = self._open()
        feeds = {spec.tensor: to_tensor(spec, features) for spec in self.model.inputs}
        probe = session.probe(self.model.batch or self._spec.batch_rows)
        probe.skip(rows)
        setting, best = probe.setting(), probe.best()
        kept = best.threads if best and not probe.chosen else None
        built_s = session.prepare(setting.threads, kept, self._load_bytes)
        if built_s is not None:
            self._tally.add_build(built_s)
        call, limit = partial(self._call, session, probe, setting), self._spec.max_failed_rows
        done = score_pieces(call, feeds, rows, setting.rows, limit, self._failed)
        self._failed += len(done.failed)
        self._tally.split_batches += done.splits
        self._tally.failed_rows += len(done.failed)
        scored = rows - len(done.failed)
        if not scored:
            return {}, done.failed
        outputs = {name: join_parts(parts) for name, *parts in zip(self._tensors, *done.outputs, strict=True)}
        columns = {spec.column: to_column(spec, outputs[spec.tensor], scored) for spec in self.model.outputs}
        return columns, done.failed

    def _open(self) -> Session:
        """The worker's session; asked for again for each batch, since a worker keeps only so many."""
        session, built = get_session(self.model.sha256, self._spec.session, self._address, self._load_bytes)
        if built or not self._counted:
            build_s = session.build_s if built else None
            self._tally.add_session(session.providers, runtime_version(), build_s, session.gpu)
            self._counted = True
        return session

    def _call(
        self, session: Session, probe: CallProbe, setting: Setting, feeds: Feeds, rows: int
    ) -> list[Any] | Refusal:
        batch = self.model.batch
        if batch is not None and rows < batch:
            # Copies of the last row: real values, so that padding is refused only where that row is.
            feeds = {n: np.concatenate([a, np.repeat(a[-1:], batch - rows, axis=0)]) for n, a in feeds.items()}
        started = time.perf_counter()
        outcome = session.run(self._tensors, feeds, setting.threads)
        if isinstance(outcome, Refusal):
            return outcome
        device = device_of(session.providers)
        seconds = time.perf_counter() - started
        self._tally.add_batch(seconds, rows, device, self.model.label)
        probe.add(setting, rows, seconds)
        self._tally.note_calls(self.model.label, probe.rows_chosen, probe.threads_chosen)
        return [_cut(output, rows, batch) for output in outcome] if batch is not None and rows < batch else outcome


def _cut(output: Any, rows: int, batch: int) -> Any:
    """The output without the rows that were padded; left to be refused where it has not one row for each."""
    length = len(output) if isinstance(output, list) else (output.shape or (0,))[0]
    return output[:rows] if length == batch else output


def _group(inputs: tuple[InputSpec, ...], features: Mapping[str, pa.Array], rows: int) -> Iterator[np.ndarray]:
    """Positions of the rows that fit into one tensor: where a model leaves sizes open, rows of equal sizes."""
    names = [name for spec in inputs if spec.depth and None in spec.item for name in spec.features]
    if not names:
        yield np.arange(rows)
        return
    sizes = np.concatenate([unnest(features[name]).shapes for name in names], axis=1)
    _, group = np.unique(sizes, axis=0, return_inverse=True)
    group = group.reshape(-1)
    for which in range(int(group.max()) + 1):
        yield np.flatnonzero(group == which)
