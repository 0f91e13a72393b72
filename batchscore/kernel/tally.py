"""Mergeable per-task tallies: what a task counted, as plain JSON that any number of tasks add up to the same whole."""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pyarrow as pa

from batchscore.kernel.columns import ColumnTally
from batchscore.kernel.distributions import Distribution
from batchscore.kernel.rules import decode
from batchscore.kernel.spec import TallySpec

_COUNTS = ("read", "scored", "quarantined", "to_model", "to_checks", "failed_rows", "split_batches")
_SUMS = (*_COUNTS, "sessions_built", "session_build_s", "bytes_in", "bytes_out")
BUCKETS_PER_DECADE = 40  # a quantile is read to within 6 %


@dataclass(slots=True)
class Histogram:
    """Durations in logarithmic buckets that never move, so that quantiles come from merged counts."""

    buckets: dict[int, int] = field(default_factory=dict)
    count: int = 0
    total_s: float = 0.0
    max_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = math.floor(math.log10(max(seconds, 1e-9)) * BUCKETS_PER_DECADE)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        self.total_s += seconds
        self.max_s = max(self.max_s, seconds)

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.total_s += other.total_s
        self.max_s = max(self.max_s, other.max_s)

    def quantile(self, q: float) -> float | None:
        """Seconds that a share `q` of the durations do not exceed, rounded up to a bucket's end; None if none."""
        seen, wanted = 0, max(1, math.ceil(q * self.count))
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return min(self.max_s, 10 ** ((bucket + 1) / BUCKETS_PER_DECADE))
        return None


@dataclass(slots=True)
class Work:
    """What one worker process did for a run.

    Attributes:
        tasks: Tasks that it ran.
        rows: Rows that it received.
        bytes_in: Bytes of their Arrow batches.
        bytes_out: Bytes of the Arrow batches that it gave back.
        model_s: Seconds in the model.
        peak_rss_bytes: Its largest resident set.
        providers: ONNX Runtime's providers in its sessions, best first.
        gpu: The GPU that it used, its driver and libraries; empty where it used none.
    """

    tasks: int = 0
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    model_s: float = 0.0
    peak_rss_bytes: int = 0
    providers: list[str] = field(default_factory=list)
    gpu: dict[str, str] = field(default_factory=dict)

    def merge(self, other: Work) -> None:
        """Add other tasks of the same process."""
        self.tasks += other.tasks
        self.rows += other.rows
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.model_s += other.model_s
        self.peak_rss_bytes = max(self.peak_rss_bytes, other.peak_rss_bytes)
        self.providers += [provider for provider in other.providers if provider not in self.providers]
        self.gpu = other.gpu or self.gpu


@dataclass(slots=True)
class Tally:
    """What one task counted, or many together.

    Attributes:
        read: Rows that the task received.
        scored: Rows that came out with a score.
        quarantined: Rows set aside.
        to_model: Rows that went through a model; through each model of an ensemble.
        to_checks: Rows that have scores; those that output checks see.
        failed_rows: Rows that ONNX Runtime refused on their own.
        split_batches: Calls of the model that were refused and halved.
        rules: Rule id to (rows evaluated, rows failed).
        reasons: Reason to rows.
        columns: Place to column (and condition) to its tally.
        distributions: `features` or `scores`, to column, to how its values are distributed.
        latency: One entry per call of the model.
        devices: Device to rows that went through a model on it.
        models: Model to rows that went through it, and the seconds that took.
        batch_rows: Model to the rows of its calls; None where too few were scored to choose any.
        threads: Model to the threads of its calls; None likewise.
        providers: ONNX Runtime provider to tasks that ran with it.
        ort_versions: ONNX Runtime versions.
        sessions_built: Sessions that were built rather than found.
        session_build_s: Seconds that took.
        bytes_in: Bytes of the Arrow batches that the task received.
        bytes_out: Bytes of those that it gave back.
        workers: Worker process, `host:pid`, to what it did.
        gpu: The GPU of the task's session.
        challenger: What the challenger did with the rows that have scores; None without one.
        challenger_error: In a challenger's own tally, an error that kept it from scoring rows.
    """

    read: int = 0
    scored: int = 0
    quarantined: int = 0
    to_model: int = 0
    to_checks: int = 0
    failed_rows: int = 0
    split_batches: int = 0
    rules: dict[str, tuple[int, int]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    columns: dict[str, dict[str, ColumnTally]] = field(default_factory=dict)
    distributions: dict[str, dict[str, Distribution]] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)
    devices: dict[str, int] = field(default_factory=dict)
    models: dict[str, tuple[int, float]] = field(default_factory=dict)
    batch_rows: dict[str, int | None] = field(default_factory=dict)
    threads: dict[str, int | None] = field(default_factory=dict)
    providers: dict[str, int] = field(default_factory=dict)
    ort_versions: set[str] = field(default_factory=set)
    sessions_built: int = 0
    session_build_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    workers: dict[str, Work] = field(default_factory=dict)
    gpu: dict[str, str] = field(default_factory=dict)
    challenger: Tally | None = None
    challenger_error: str = ""

    def add_columns(self, place: str, columns: Mapping[str, pa.Array], specs: Sequence[TallySpec]) -> None:
        """Count the columns of one batch that `specs` name."""
        known = self.columns.setdefault(place, {})
        for spec in specs:
            array = decode(columns[spec.column])
            if spec.condition:
                array = array.filter(columns[spec.condition])
            known.setdefault(spec.key, ColumnTally()).add(array, spec)

    def add_distributions(self, place: str, columns: Mapping[str, pa.Array], weight: int) -> None:
        """Count how the values of these columns are distributed, each row for so many."""
        known = self.distributions.setdefault(place, {})
        for name, column in columns.items():
            known.setdefault(name, Distribution()).add(column, weight)

    def count_rule(self, rule: str, evaluated: int, failed: int) -> None:
        """Add one batch's verdict on a row rule."""
        before = self.rules.get(rule, (0, 0))
        self.rules[rule] = (before[0] + evaluated, before[1] + failed)

    def count_reason(self, name: str, rows: int) -> None:
        """Add rows that were set aside for one reason."""
        self.reasons[name] = self.reasons.get(name, 0) + rows

    def add_batch(self, seconds: float, rows: int, device: str, model: str) -> None:
        """Add one call of a model."""
        self.devices[device] = self.devices.get(device, 0) + rows
        self.latency.add(seconds)
        self.to_model += rows
        self._count_model(model, rows, seconds)

    def add_session(
        self, providers: Iterable[str], version: str, build_s: float | None, gpu: Mapping[str, str]
    ) -> None:
        """Add a task's session; `build_s` is None where the worker still had it."""
        self.gpu = dict(gpu) or self.gpu
        for provider in providers:
            self.providers[provider] = self.providers.get(provider, 0) + 1
        self.ort_versions.add(version)
        if build_s is not None:
            self.sessions_built += 1
            self.session_build_s += build_s

    def add_build(self, seconds: float) -> None:
        """Add a session that was built besides, for another count of threads."""
        self.sessions_built += 1
        self.session_build_s += seconds

    def note_calls(self, model: str, rows: int | None, threads: int | None) -> None:
        """Note how a model is called, each as far as it is chosen."""
        self.batch_rows[model], self.threads[model] = rows, threads

    def add_worker(self, worker: str) -> None:
        """Name the process that counted this, once its task is done, with its peak memory so far."""
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        self.workers[worker] = Work(
            1, self.read, self.bytes_in, self.bytes_out, self.latency.total_s, peak, list(self.providers), self.gpu
        )

    def rows_at(self, place: str) -> int:
        """Rows that the checks of a place see."""
        return self.to_checks if place == "output" else self.read

    def to_json(self) -> str:
        """One line of JSON, keys sorted, without NaN or infinity."""
        return json.dumps(self._to_plain(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    def _to_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["latency"] = asdict(self.latency)
        plain["columns"] = {p: {n: c.to_plain() for n, c in known.items()} for p, known in self.columns.items()}
        plain["distributions"] = {
            place: {name: one.to_plain() for name, one in known.items()} for place, known in self.distributions.items()
        }
        plain["ort_versions"] = sorted(self.ort_versions)
        plain["workers"] = {name: asdict(work) for name, work in self.workers.items()}
        plain["challenger"] = self.challenger._to_plain() if self.challenger else None
        return plain

    @staticmethod
    def from_json(text: str) -> Tally:
        """The tally that `to_json` wrote."""
        return Tally._from_plain(json.loads(text))

    @staticmethod
    def _from_plain(plain: dict[str, Any]) -> Tally:
        latency = plain["latency"]
        latency["buckets"] = {int(bucket): count for bucket, count in latency["buckets"].items()}
        plain["latency"] = Histogram(**latency)
        plain["rules"] = {rule: (evaluated, failed) for rule, (evaluated, failed) in plain["rules"].items()}
        plain["columns"] = {
            place: {name: ColumnTally.from_plain(column) for name, column in columns.items()}
            for place, columns in plain["columns"].items()
        }
        plain["distributions"] = {
            place: {name: Distribution.from_plain(one) for name, one in known.items()}
            for place, known in plain["distributions"].items()
        }
        plain["ort_versions"] = set(plain["ort_versions"])
        plain["workers"] = {name: Work(**work) for name, work in plain["workers"].items()}
        plain["models"] = {model: (rows, seconds) for model, (rows, seconds) in plain["models"].items()}
        plain["challenger"] = Tally._from_plain(plain["challenger"]) if plain["challenger"] else None
        return Tally(**plain)

    @staticmethod
    def merge(tallies: Iterable[Tally]) -> Tally:
        """One tally for all of them; an empty one where there are none."""
        whole = Tally()
        for tally in tallies:
            whole._add(tally)
        return whole

    def runtime(self) -> dict[str, Any]:
        """What the audit keeps of the workers: plain JSON, durations in seconds, memory in bytes.

        `devices` are shares of the rows scored; `rows_per_s` are rows scored in a second that one worker spends in the
        model.
        """
        model_s, latency = self.latency.total_s, {f"p{q}": self.latency.quantile(q / 100) for q in (50, 95, 99)}
        return {
            "workers": {name: asdict(work) for name, work in sorted(self.workers.items())},
            "onnxruntime": sorted(self.ort_versions),
            "devices": {device: rows / self.to_model for device, rows in sorted(self.devices.items())},
            "models": {m: {"rows": rows, "model_s": s} for m, (rows, s) in sorted(self.models.items())},
            "batch_rows": dict(sorted(self.batch_rows.items())),
            "threads": dict(sorted(self.threads.items())),
            "providers": dict(sorted(self.providers.items())),
            "sessions_built": self.sessions_built,
            "session_build_s": self.session_build_s,
            "batches": self.latency.count,
            "split_batches": self.split_batches,
            "failed_rows": self.failed_rows,
            "batch_latency_s": {**latency, "max": self.latency.max_s, "total": model_s},
            "rows_per_s": self.to_model / model_s if model_s else None,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "peak_rss_bytes": max((work.peak_rss_bytes for work in self.workers.values()), default=0),
            **({"challenger": self.challenger._as_challenger()} if self.challenger else {}),
        }

    def _as_challenger(self) -> dict[str, Any]:
        return {
            "rows": self.read,
            "scored": self.scored,
            "not_scored": dict(sorted(self.reasons.items())),
            "error": self.challenger_error or None,
            "model_s": self.latency.total_s,
            "sessions_built": self.sessions_built,
            "session_build_s": self.session_build_s,
        }

    def _add(self, other: Tally) -> None:
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for rule, (evaluated, failed) in other.rules.items():
            self.count_rule(rule, evaluated, failed)
        for reason, rows in other.reasons.items():
            self.count_reason(reason, rows)
        for place, columns in other.columns.items():
            known = self.columns.setdefault(place, {})
            for column, counted in columns.items():
                known.setdefault(column, ColumnTally(max_values=counted.max_values)).merge(counted)
        self._add_distributions(other)
        for device, rows in other.devices.items():
            self.devices[device] = self.devices.get(device, 0) + rows
        for model, (rows, seconds) in other.models.items():
            self._count_model(model, rows, seconds)
        if other.challenger is not None:
            self.challenger = self.challenger or Tally()
            self.challenger._add(other.challenger)
        for calls, told in ((self.batch_rows, other.batch_rows), (self.threads, other.threads)):
            for model, chosen in told.items():
                calls[model] = max(calls.get(model) or 0, chosen or 0) or None
        for provider, count in other.providers.items():
            self.providers[provider] = self.providers.get(provider, 0) + count
        self.challenger_error = self.challenger_error or other.challenger_error
        self.latency.merge(other.latency)
        self.ort_versions |= other.ort_versions
        for worker, work in other.workers.items():
            self.workers.setdefault(worker, Work()).merge(work)

    def _add_distributions(self, other: Tally) -> None:
        for place, columns in other.distributions.items():
            known = self.distributions.setdefault(place, {})
            for column, one in columns.items():
                known.setdefault(column, Distribution()).merge(one)

    def _count_model(self, model: str, rows: int, seconds: float) -> None:
        before = self.models.get(model, (0, 0.0))
        self.models[model] = (before[0] + rows, before[1] + seconds)
