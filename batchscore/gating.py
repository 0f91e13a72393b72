"""Gating: every gate's verdict on a judged stage, and what is kept of its distributions for reports and later runs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from batchscore.audit.chain import canonical
from batchscore.config import DriftGateConfig
from batchscore.errors import ConfigError, ModelError
from batchscore.gates.drift import FEWEST, ColumnDrift, Distributions, judge_drift, measure_drift
from batchscore.gates.limits import judge_challenger, judge_output, judge_quarantine, judge_rows, judge_scores
from batchscore.gates.volume import judge_volume
from batchscore.judging import Verdict, describe_stops
from batchscore.kernel.distributions import Distribution
from batchscore.ledger import PUBLISHING, Account
from batchscore.outputs import Outputs
from batchscore.planning import Prepared
from batchscore.records import GateVerdict, RunRecord, to_dict

KEPT_BUCKETS = 256
QUANTILES = (0.05, 0.5, 0.95)
_MEASURED = ("bins", "counts", "reference")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gating:
    """What the gates say.

    Attributes:
        gates: Their verdicts.
        distributions: For the record: measures of each column, and the digest of the file that holds the counts.
        content: That file; empty where nothing was counted.
    """

    gates: tuple[GateVerdict, ...]
    distributions: Mapping[str, Any] = field(default_factory=dict)
    content: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reference:
    """What a run is compared with: one set of distributions for each interval, or one alone; or why there is none."""

    words: str = ""
    parts: Sequence[Distributions] = ()
    drifted: Sequence[Collection[tuple[str, str]]] = ()
    why_open: str = ""


def judge_gates(prepared: Prepared, verdict: Verdict, target: Outputs, record: RunRecord) -> Gating:
    """The verdict of each gate on a judged stage; nothing is written.

    Args:
        prepared: The plan.
        verdict: What the stage amounts to.
        target: The job's outputs, where its earlier runs are found.
        record: The run's record so far, with the challenger's comparison.
    """
    config = prepared.job.config.gates
    accounts: Mapping[str, Account] = {}
    if config.volume is not None or (config.drift is not None and config.drift.reference == "runs"):
        accounts = target.ledger.accounts()
    gates = [judge_rows(verdict.counts, prepared.input.rows)]
    if config.volume is not None:
        others = [a.current for name, a in sorted(accounts.items()) if name != record.interval and a.current]
        gates.append(judge_volume(config.volume, verdict.counts["read"], [one["counts"]["read"] for one in others]))
    if config.quarantine is not None:
        gates.append(judge_quarantine(config.quarantine, verdict.counts))
    gates += judge_scores(config.scores, verdict.ranges)
    if config.challenger is not None:
        gates.append(judge_challenger(config.challenger, record.challenger.get("columns") or {}))
    if config.output is not None:
        asked = [result for result in verdict.results if result.place == "output"]
        stops = describe_stops([result for result in asked if result.stops])
        gates.append(judge_output(config.output, stops, len(asked)))
    if not verdict.distributions:
        return Gating(gates=(*gates, *_unjudged(config.drift)))
    kept = {
        place: {name: one.named().condensed(KEPT_BUCKETS) for name, one in columns.items()}
        for place, columns in verdict.distributions.items()
    }
    reference = _find_reference(config.drift, prepared, target, accounts, record.interval)
    columns = measure_drift(config.drift, kept, reference.parts, reference.drifted)
    if config.drift is not None:
        gates.append(judge_drift(config.drift, columns, reference.words, reference.why_open))
    content = pack_distributions(kept, columns, reference.parts)
    summary = {
        "sha256": sha256(content).hexdigest(),
        "sample_share": prepared.spec.watched_share or None,
        "reference": reference.words or None,
        "measure": config.drift.measure if config.drift is not None else "psi",
        "scores": {name: _quantiles(one) for name, one in kept.get("scores", {}).items() if one.kind == "numeric"},
        "columns": [_measures(column) for column in columns],
    }
    return Gating(gates=tuple(gates), distributions=summary, content=content)


def check_reference(prepared: Prepared, target: Outputs) -> None:
    """Refuse a drift gate that could never judge, before anything is scored.

    Raises:
        ConfigError: The job has published no run of the id that it names, or that run has no distributions.
        ModelError: No model of the job has a reference.
    """
    config = prepared.job.config.gates.drift
    if config is None or config.reference == "runs":
        return
    if config.reference == "model":
        why = _reference_of_models(prepared).why_open
        if why:
            raise ModelError(f"gates.drift.reference: {why}.")
        return
    records = target.ledger.records({"run_id": [config.reference]})
    if not any(record["kind"] in PUBLISHING for record in records):
        raise ConfigError(
            f"gates.drift.reference: expected a run that job {prepared.job.config.job} has published; "
            f"found none of the id {config.reference}. `batchscore runs` lists them."
        )
    why = _reference_run(target, config.reference).why_open
    if why:
        raise ConfigError(f"gates.drift.reference: {why}. Name another run.")


def pack_distributions(
    found: Distributions, columns: Sequence[ColumnDrift] = (), references: Sequence[Distributions] = ()
) -> bytes:
    """Distributions as the file that reports and later runs read: canonical JSON.

    Args:
        found: The run's.
        columns: Its comparison with the reference.
        references: The reference's; their scores alone are kept, as one.
    """
    pooled: dict[str, Distribution] = {}
    for known in references:
        for name, one in known.get("scores", {}).items():
            pooled.setdefault(name, Distribution()).merge(one)
    return canonical(
        {
            "distributions": {p: {n: one.to_plain() for n, one in known.items()} for p, known in found.items()},
            "drift": [to_dict(column) for column in columns],
            "reference_scores": {name: one.condensed(KEPT_BUCKETS).to_plain() for name, one in pooled.items()},
        }
    ).encode()


def unpack_distributions(plain: Mapping[str, Any]) -> Distributions:
    """Distributions by place and column, as `pack_distributions` wrote them."""
    return {p: {n: Distribution.from_plain(one) for n, one in known.items()} for p, known in plain.items()}


def _quantiles(scores: Distribution) -> dict[str, float | None]:
    """Quantiles of a score; one that is infinite has no place in JSON."""
    found = scores.quantiles(QUANTILES) or []
    pairs = zip(QUANTILES, found, strict=False)
    return {f"p{100 * share:g}": value if math.isfinite(value) else None for share, value in pairs}


def _unjudged(config: DriftGateConfig | None) -> Iterator[GateVerdict]:
    if config is not None:
        found = "no rows, or no columns of types that are counted"
        yield GateVerdict(gate="drift", verdict="open", on_fail=config.on_fail, found=found)


def _find_reference(
    config: DriftGateConfig | None, prepared: Prepared, target: Outputs, accounts: Mapping[str, Account], interval: str
) -> _Reference:
    if config is None or config.reference == "model":
        return _reference_of_models(prepared)
    if config.reference != "runs":
        return _reference_run(target, config.reference)
    before = [a.current for name, a in sorted(accounts.items()) if name < interval and a.current]
    counted = [one for one in before if (one.get("distributions") or {}).get("sha256")][-config.last :]
    read = [(one, found) for one in counted if (found := target.read_distributions(one)) is not None]
    files = [found for _, found in read]
    drifted = [_drifted(one) for one, _ in read]
    words = f"the {len(files)} published interval{'s' if len(files) != 1 else ''} before it"
    parts = [unpack_distributions(found["distributions"]) for found in files]
    if config.threshold is None and len(parts) < FEWEST:
        why = f"{len(parts)} published before it, where {FEWEST} intervals are needed to see how much they differ"
        return _Reference(words=words, parts=parts, drifted=drifted, why_open=why)
    if not parts:
        return _Reference(words=words, why_open="no published interval before this one has distributions")
    return _Reference(words=words, parts=parts, drifted=drifted)


def _drifted(record: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Columns that were beyond their threshold in a run that was published all the same."""
    columns = (record.get("distributions") or {}).get("columns") or ()
    return {(one["place"], one["column"]) for one in columns if one.get("over")}


def _reference_of_models(prepared: Prepared) -> _Reference:
    merged: dict[str, dict[str, Distribution]] = {}
    labels = []
    for model in prepared.models.models:
        if model.reference:
            labels.append(model.label)
            for place, columns in unpack_distributions(model.reference).items():
                for name, one in columns.items():
                    merged.setdefault(place, {}).setdefault(name, one)
    if not merged:
        why = "no model of the job has a reference; log it with `log_model(..., reference=ROWS)`"
        return _Reference(why_open=why)
    return _Reference(words=f"the reference of {', '.join(dict.fromkeys(labels))}", parts=[merged])


def _reference_run(target: Outputs, run_id: str) -> _Reference:
    records = target.ledger.records({"run_id": [run_id]})
    found = next((file for one in reversed(records) if (file := target.read_distributions(one)) is not None), None)
    if found is None:
        return _Reference(words=f"run {run_id}", why_open=f"the audit has no distributions of run {run_id}")
    return _Reference(words=f"run {run_id}", parts=[unpack_distributions(found["distributions"])])


def _measures(column: ColumnDrift) -> dict[str, Any]:
    return {name: value for name, value in to_dict(column).items() if name not in _MEASURED}
