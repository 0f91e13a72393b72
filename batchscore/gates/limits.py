"""Gates that compare figures of a run with fixed limits: rows set aside, scores, the challenger, expectations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from batchscore.config import ChallengerGateConfig, OutputGateConfig, QuarantineGateConfig, ScoreGateConfig
from batchscore.kernel.columns import ColumnTally
from batchscore.records import GateVerdict

NAMED = 3  # faults that a sentence names


def judge_rows(counts: Mapping[str, int], pinned: int | None) -> GateVerdict:
    """Row accounting, which has been proved from the stage: what it found. A run that breaks it ends with an error.

    Args:
        counts: `read`, `scored`, `quarantined`.
        pinned: Rows of the pinned files; None where the interval is not whole files.
    """
    beside = "" if pinned is None else f", as many as the pinned files hold ({pinned})"
    found = f"{counts['read']} read = {counts['scored']} scored + {counts['quarantined']} quarantined{beside}"
    return GateVerdict(gate="rows", verdict="pass", on_fail="hold", found=found)


def judge_quarantine(config: QuarantineGateConfig, counts: Mapping[str, int]) -> GateVerdict:
    """Whether few enough of the rows were set aside."""
    read, aside = counts["read"], counts["quarantined"]
    share = 100 * aside / read if read else 0.0
    return GateVerdict(
        gate="quarantine",
        verdict="pass" if share <= config.max_pct else "fail",
        on_fail=config.on_fail,
        found=f"{aside} of {read} rows set aside, {share:.4g} %; expected at most {config.max_pct:g} %",
    )


def judge_scores(config: Mapping[str, ScoreGateConfig], tallies: Mapping[str, ColumnTally]) -> Iterator[GateVerdict]:
    """Whether each column's scores are in their ranges, over all rows that would be published.

    Args:
        config: The limits, by column.
        tallies: Range, sum and missing values of those columns; empty where no row was scored.
    """
    for name, limits in config.items():
        tally, gate = tallies.get(name), f"scores.{name}"
        if tally is None or not tally.rows:
            yield GateVerdict(gate=gate, verdict="open", on_fail=limits.on_fail, found="no row was scored")
            continue
        faults, figures = _score_faults(limits, tally)
        yield GateVerdict(
            gate=gate,
            verdict="fail" if faults else "pass",
            on_fail=limits.on_fail,
            found="; ".join(faults) if faults else figures,
        )


def judge_challenger(config: ChallengerGateConfig, columns: Mapping[str, Mapping[str, Any]]) -> GateVerdict:
    """Whether the challenger's scores are near enough to the champion's.

    Args:
        config: The limits.
        columns: Output column to its comparison, as the run's record holds it.
    """
    if not columns:
        return _challenger_verdict(config, "open", "no row was scored by both models")
    faults = [fault for name, one in columns.items() for fault in _challenger_faults(config, name, one)]
    if faults:
        return _challenger_verdict(config, "fail", _some(faults))
    return _challenger_verdict(config, "pass", f"{', '.join(columns)}: within the limits")


def judge_output(config: OutputGateConfig, stopping: Sequence[str], asked: int) -> GateVerdict:
    """Whether the scores met their critical expectations.

    Args:
        config: What becomes of the run where not.
        stopping: A sentence on each that they did not meet.
        asked: How many expectations the scores have.
    """
    found = _some(stopping) if stopping else f"{asked} expectations of the scores"
    return GateVerdict(gate="output", verdict="fail" if stopping else "pass", on_fail=config.on_fail, found=found)


def _score_faults(limits: ScoreGateConfig, tally: ColumnTally) -> tuple[list[str], str]:
    held = tally.rows - tally.nulls
    missing = 100 * tally.nulls / tally.rows
    mean = None if not held else float(tally.sum) / held
    figures = f"{_number(tally.low)} to {_number(tally.high)}, mean {_number(mean)}, {missing:.3g} % missing"
    faults = []
    if limits.between is not None and held and not (limits.between[0] <= tally.low and tally.high <= limits.between[1]):
        faults.append(f"scores from {_number(tally.low)} to {_number(tally.high)}; expected {_span(limits.between)}")
    if limits.mean_between is not None and mean is not None:
        if not limits.mean_between[0] <= mean <= limits.mean_between[1]:
            faults.append(f"mean {_number(mean)}; expected {_span(limits.mean_between)}")
    if limits.max_missing_pct is not None and missing > limits.max_missing_pct:
        faults.append(f"{missing:.4g} % missing; expected at most {limits.max_missing_pct:g} %")
    return faults, figures


def _challenger_faults(config: ChallengerGateConfig, name: str, one: Mapping[str, Any]) -> Iterator[str]:
    flips = None if one.get("flips") is None or not one["rows"] else 100 * one["flips"] / one["rows"]
    for what, found, limit in (
        ("PSI", one.get("psi"), config.max_psi),
        ("mean |difference|", one.get("mean_abs_difference"), config.max_mean_abs_difference),
        ("flips in percent", flips, config.max_flips_pct),
    ):
        if limit is not None and found is not None and found > limit:
            yield f"{name}: {what} {found:.4g}; expected at most {limit:g}"
    least, ranks = config.min_rank_correlation, one.get("rank_correlation")
    if least is not None and ranks is not None and ranks < least:
        yield f"{name}: rank correlation {ranks:.4g}; expected at least {least:g}"


def _challenger_verdict(config: ChallengerGateConfig, verdict: Any, found: str) -> GateVerdict:
    return GateVerdict(gate="challenger", verdict=verdict, on_fail=config.on_fail, found=found)


def _some(faults: Sequence[str]) -> str:
    more = f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    return "; ".join(faults[:NAMED]) + more


def _span(limits: tuple[float, float]) -> str:
    return f"{limits[0]:g} to {limits[1]:g}"


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:.6g}"
