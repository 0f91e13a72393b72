"""The volume gate: as many rows as the job's last intervals had, within limits."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from batchscore.config import VolumeGateConfig
from batchscore.records import GateVerdict

FEWEST = 3  # a median of fewer says nothing


def judge_volume(config: VolumeGateConfig, read: int, published: Sequence[int]) -> GateVerdict:
    """Whether a run read about as many rows as the last published intervals.

    Args:
        config: The limits.
        read: Rows that the run read.
        published: Rows that each published interval read, oldest interval first, without the run's own.
    """
    recent = published[-config.last :]
    if len(recent) < FEWEST:
        found = f"{read} rows; {len(recent)} published interval{'s' if len(recent) != 1 else ''} to compare with"
        return GateVerdict(gate="volume", verdict="open", on_fail=config.on_fail, found=f"{found}, {FEWEST} are needed")
    middle = median(recent)
    least, most = (limit * middle for limit in config.of_median)
    return GateVerdict(
        gate="volume",
        verdict="pass" if least <= read <= most else "fail",
        on_fail=config.on_fail,
        found=f"{read} rows; expected {least:g} to {most:g}, {config.of_median[0]:g} to {config.of_median[1]:g} times "
        f"the median of {len(recent)} published intervals",
    )
