"""Results and records: what a plan, a run and an audit row say. No Spark, no I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from batchscore.rendering import Sheet, Shown
from batchscore.results import CHECK_COLUMNS, check_lines

SCHEMA_VERSION = 1
SEMANTICS = 2  # raise when the same config would give other values: it is part of the run key


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedFile:
    """A Parquet file of a pinned table.

    Attributes:
        path: Where it lies.
        values: Partition column to its value in all rows of the file, as Delta's log or the folders write it.
    """

    path: str
    values: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedTable:
    """A table at one version.

    Attributes:
        table: As the config names it.
        format: `delta` or `parquet`.
        location: Resolved path or catalog name that is read.
        table_id: Delta's table id; for Parquet the location.
        version: Delta version; None for Parquet.
        fingerprint: sha256 over the files that can hold the interval, with their deletion vectors.
        files: How many those are; None where they were not listed.
        rows: Rows in those files by their statistics, where the interval covers whole files; else None.
        rows_at_most: Rows in those files by their statistics, however many of them are the interval's; else None.
        paths: For Parquet, the pinned files themselves.
        schema: For Parquet, the columns as Spark found them in these files, as JSON; empty where it has to look again.
        whole: The pinned files, where they hold the interval's rows as they are and no others.
        parts: Why there are no whole files, for whoever asks who reads them; empty where there are.
        since: For a lookup that is narrowed to what an interval may know: the first instant that is read.
        until: The first instant that is not.
        by: The column that these are about.
        moments: First and last instant of timestamp columns in the pinned files, where these are asked for and known.
    """

    table: str
    format: str
    location: str
    table_id: str
    version: int | None
    fingerprint: str
    files: int | None
    rows: int | None = None
    rows_at_most: int | None = None
    paths: tuple[str, ...] = ()
    schema: str = ""
    whole: tuple[PinnedFile, ...] = ()
    parts: str = ""
    since: str | None = None
    until: str | None = None
    by: str | None = None
    moments: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input or output of an ONNX model.

    Attributes:
        name: Tensor name.
        dtype: ONNX Runtime's type string, such as `tensor(float)`.
        shape: Dimensions; None where the model leaves one open.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def show_shape(shape: Sequence[int | None]) -> str:
    """A shape as messages write it: `[N, 3]`, `N` for an open dimension."""
    return "[" + ", ".join("N" if size is None else str(size) for size in shape) + "]"


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedModel:
    """A registered model at one version, proved by the digest of its bytes.

    Attributes:
        uri: As the config names it.
        name: Registered name.
        version: Version number.
        alias: Alias that led here, if any.
        sha256: Digest of `model_bytes`' content: the self-contained ONNX file.
        size_bytes: Its length.
        inputs: What the ONNX graph takes.
        outputs: What it gives.
        signature_inputs: Column names of the MLflow signature, in order; empty if none was logged.
        opsets: Operator set versions by domain.
        run_id: MLflow run that logged it, if known.
        features: The definitions of the features that it was trained with, as they were logged; empty if none were.
        reference: Place and column to the distribution on the rows that were logged with it; empty if none were.
    """

    uri: str
    name: str
    version: int
    alias: str | None
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    signature_inputs: tuple[str, ...] = ()
    opsets: Mapping[str, int] = field(default_factory=dict)
    run_id: str | None = None
    features: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`name/version`, as it stands in the `_model` column."""
        return f"{self.name}/{self.version}"


def show_model(model: Mapping[str, Any] | None) -> str | None:
    """The model, or models, of a record in few words: `name/version`, joined by `+` in an ensemble."""
    if not model:
        return None
    if "ensemble" in model:
        return " + ".join(f"{one['name']}/{one['version']}" for one in model["ensemble"])
    if "segments" in model:
        segments = model["segments"]
        known = [one for one in (*segments["models"].values(), segments["default"]) if one]
        return ", ".join(dict.fromkeys(f"{one['name']}/{one['version']}" for one in known))
    return f"{model.get('name')}/{model.get('version')}"


def show_scan(scan: Mapping[str, Any]) -> str | None:
    """Who read the rows, in a line; None where nothing says."""
    if not scan:
        return None
    who = {"workers": "Python workers", "comet": "Comet", "spark": "Spark"}[scan["by"]]
    pages = "" if scan["pages_verified"] else ", page checksums not verified"
    fallback = (scan.get("comet") or {}).get("fallback") or {}
    left = f", not natively: {', '.join(sorted(fallback))}" if fallback else ""
    return f"rows read by {who}{pages}{left}"


def gate_word(gate: Mapping[str, Any]) -> str:
    """PASS, OPEN where a gate could not judge, or what its failure means: HOLD, WARN, INFO."""
    if gate["verdict"] != "fail":
        return str(gate["verdict"]).upper()
    return {"hold": "HOLD", "warn": "WARN", "record": "INFO"}[gate["on_fail"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class GateVerdict:
    """The verdict of one gate on a whole run.

    Attributes:
        gate: Its key under `gates`.
        verdict: `pass`, `fail`, or `open` where there is too little to compare with.
        on_fail: `hold`, `warn` or `record`.
        found: What was found, with its figures.
    """

    gate: str
    verdict: Literal["pass", "fail", "open"]
    on_fail: Literal["hold", "warn", "record"]
    found: str

    @property
    def holds(self) -> bool:
        """Whether it keeps the run from publishing."""
        return self.verdict == "fail" and self.on_fail == "hold"

    @property
    def sentence(self) -> str:
        """The verdict in a line."""
        return f"gate {self.gate}: {self.found}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord(Shown):
    """One run attempt, as the audit keeps it; the scores commit carries its core.

    Counts obey `read = scored + quarantined`. Times are ISO 8601 in UTC; durations are seconds. `content_key` says
    what decides the values; `run_key` is the same for an ordinary run, and salted with the run's id for one that
    publishes on purpose. `of` names the run whose rows are published again.
    """

    schema_version: int = SCHEMA_VERSION
    kind: str
    status: str
    job: str
    interval: str
    interval_label: str
    run_id: str
    generation: int
    run_key: str
    content_key: str = ""
    config_sha256: str
    started_at: str
    ended_at: str
    user: str
    host: str
    command: str
    code_version: str
    input: Mapping[str, Any] | None = None
    lookups: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] | None = None
    features: Mapping[str, Any] = field(default_factory=dict)
    challenger: Mapping[str, Any] = field(default_factory=dict)
    scan: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()
    gates: tuple[Mapping[str, Any], ...] = ()
    distributions: Mapping[str, Any] = field(default_factory=dict)
    of: str | None = None
    reason: str | None = None
    runtime: Mapping[str, Any] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    commits: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    error_type: str | None = None

    def sheet(self) -> Sheet:
        """The record laid out."""
        digest = (self.model or {}).get("sha256")
        facts: list[tuple[str, Any]] = [
            ("status", self.status),
            ("run", self.run_id),
            ("of run", self.of),
            ("reason", self.reason),
            ("generation", self.generation),
            ("run key", self.run_key),
            ("rows", {k: self.counts[k] for k in ("read", "scored", "quarantined") if k in self.counts}),
            ("model", f"{show_model(self.model)} sha256 {digest[:16]}…" if digest else show_model(self.model)),
            ("warning", self._skew_line()),
            ("commits", self.commits),
            ("seconds", self.timings_s),
            ("runtime", self._runtime_line()),
            ("scan", show_scan(self.scan)),
            ("error", self.error),
        ]
        return Sheet(
            f"{self.kind} {self.job} · {self.interval_label}",
            [(name, value) for name, value in facts if value not in (None, "", {})],
            (
                ("set aside, by reason", ("reason", "rows"), list(self.reasons.items())),
                ("gates", ("gate", "verdict", "found"), [[g["gate"], gate_word(g), g["found"]] for g in self.gates]),
                *self._comparison(),
                ("checks", CHECK_COLUMNS, check_lines(self.checks)),
            ),
        )

    def _comparison(self) -> Iterator[tuple[str, tuple[str, ...], list[list[Any]]]]:
        columns = self.challenger.get("columns")
        if not columns:
            return
        names = ("mean", "challenger_mean", "mean_abs_difference", "max_abs_difference", "psi", "rank_correlation")
        lines = [
            [name, one["rows"], *(_figure(one.get(key)) for key in names), one.get("flips")]
            for name, one in columns.items()
        ]
        heads = ("column", "rows", "mean", "challenger", "mean |diff|", "max |diff|", "PSI", "rank corr.", "flips")
        left_out = ", ".join(f"{rows} {reason}" for reason, rows in (self.challenger.get("not_scored") or {}).items())
        title = f"challenger {show_model(self.challenger['model'])}"
        yield f"{title}; not scored: {left_out}" if left_out else title, heads, lines

    def _skew_line(self) -> str | None:
        skew = self.features.get("skew")
        if not skew:
            return None
        names = ", ".join(f"{one['feature']} ({one['model']})" for one in skew)
        return f"trained with other feature definitions: {names}"

    def _runtime_line(self) -> str | None:
        if not self.runtime:
            return None
        shares = self.runtime.get("devices")
        if shares is None:  # older records have providers alone
            shown = list(self.runtime["providers"])
        else:
            shown = [f"{device} {100 * share:.3g} %" for device, share in shares.items()]
        devices = ", ".join(shown) or "no rows scored"
        workers, jobs = len(self.runtime["workers"]), self.runtime.get("spark_jobs")
        version = ", ".join(self.runtime["onnxruntime"])
        return f"{devices}, ONNX Runtime {version}, {workers} worker{'s' if workers != 1 else ''}, {jobs} Spark jobs"


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def to_dict(record: Any) -> dict[str, Any]:
    """A record as plain JSON values."""
    return {f.name: _plain(getattr(record, f.name)) for f in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):  # most of them
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def record_from_dict(values: Mapping[str, Any]) -> RunRecord:
    """The record that `to_dict` wrote; keys of newer schema versions are left out."""
    known = {f.name for f in dataclasses.fields(RunRecord)}
    kept = {k: v for k, v in values.items() if k in known}
    for name in ("checks", "gates"):
        kept[name] = tuple(kept.get(name) or ())
    return RunRecord(**kept)
