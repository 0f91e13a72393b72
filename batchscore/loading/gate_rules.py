"""Rules of the gates section: limits that make sense, of columns that the job has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from batchscore.config import ChallengerGateConfig, DriftGateConfig, JobConfig, ScoreGateConfig
from batchscore.loading.faults import Finding, Path

_RUN = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}\Z")
_SAME = ("on_fail",)
FEWEST_INTERVALS = 7  # as the drift gate needs them


def find_gate_faults(job: JobConfig) -> Iterator[Finding]:
    """Yield every broken rule of the gates."""
    gates = job.gates
    if gates.sample_rows < 0:
        yield Finding(("gates", "sample_rows"), "out-of-range", "expected 0 or more rows")
    yield from _check_volume(job)
    if gates.quarantine is not None and not 0 <= gates.quarantine.max_pct <= 100:
        yield Finding(("gates", "quarantine", "max_pct"), "out-of-range", "expected a percentage from 0 to 100")
    made = (*job.model.outputs, *(step.name for step in job.model.postprocess))
    for name, score in gates.scores.items():
        yield from _check_score(("gates", "scores", name), name, score, made)
    if gates.drift is not None:
        yield from _check_drift(job, gates.drift, made)
    if gates.challenger is not None:
        yield from _check_challenger(job, gates.challenger)
    if gates.output is not None and job.checks.output is None:
        needs = "`gates.output` is about the expectations in `checks.output`; add some, or remove it"
        yield Finding(("gates", "output"), "not-used", needs, reads=(("checks",),))


def _check_volume(job: JobConfig) -> Iterator[Finding]:
    volume = job.gates.volume
    if volume is None:
        return
    least, most = volume.of_median
    if not 0 <= least < most:
        what = "expected two multiples of the median, the smaller first, such as [0.5, 2.0]"
        yield Finding(("gates", "volume", "of_median"), "out-of-range", what)
    if volume.last < 1:
        yield Finding(("gates", "volume", "last"), "out-of-range", "expected 1 or more intervals")


def _check_score(where: Path, name: str, score: ScoreGateConfig, made: tuple[str, ...]) -> Iterator[Finding]:
    if made and name not in made:
        yield Finding(where, "unknown-name", f"'{name}' is no output column", made, reads=(("model",),))
    if score.between is None and score.mean_between is None and score.max_missing_pct is None:
        yield Finding(where, "missing-key", "expected `between`, `mean_between` or `max_missing_pct`")
    for key in ("between", "mean_between"):
        limits = getattr(score, key)
        if limits is not None and not limits[0] <= limits[1]:
            yield Finding((*where, key), "out-of-range", "expected two numbers, the smaller first")
    if score.max_missing_pct is not None and not 0 <= score.max_missing_pct <= 100:
        yield Finding((*where, "max_missing_pct"), "out-of-range", "expected a percentage from 0 to 100")


def _check_drift(job: JobConfig, drift: DriftGateConfig, made: tuple[str, ...]) -> Iterator[Finding]:
    where: Path = ("gates", "drift")
    if job.gates.sample_rows == 0:
        needs = "drift is measured on `gates.sample_rows`, which is 0; raise it, or remove `drift`"
        yield Finding(where, "half-given", needs, reads=(("gates", "sample_rows"),))
    if drift.reference not in ("runs", "model") and not _RUN.match(drift.reference):
        expected = "expected 'runs', 'model', or a run's id such as '20131001T040000-1a2b3c4d'"
        yield Finding((*where, "reference"), "bad-value", expected, ("runs", "model"))
    if drift.last < 1:
        yield Finding((*where, "last"), "out-of-range", "expected 1 or more intervals")
    elif drift.reference == "runs" and drift.threshold is None and drift.last < FEWEST_INTERVALS:
        needs = f"expected {FEWEST_INTERVALS} or more, to see how much intervals differ; or set `threshold`"
        yield Finding((*where, "last"), "out-of-range", needs, reads=((*where, "threshold"),))
    if drift.threshold is not None and drift.threshold <= 0:
        yield Finding((*where, "threshold"), "out-of-range", "expected more than 0")
    if drift.deviations <= 0:
        yield Finding((*where, "deviations"), "out-of-range", "expected more than 0")
    features = [feature.name for feature in job.features.columns]
    known = (*features, *made)
    for key in ("columns", "ignore"):
        for position, name in enumerate(getattr(drift, key)):
            if features and made and name not in known:
                what = f"'{name}' is no feature and no output column"
                yield Finding((*where, key, position), "unknown-name", what, known, reads=(("features",), ("model",)))


def _check_challenger(job: JobConfig, gate: ChallengerGateConfig) -> Iterator[Finding]:
    where: Path = ("gates", "challenger")
    if job.model.challenger is None:
        yield Finding(where, "not-used", "only a job with `model.challenger` has one; remove it", reads=(("model",),))
    limits = {key: getattr(gate, key) for key in gate.__dataclass_fields__ if key not in _SAME}
    if all(limit is None for limit in limits.values()):
        yield Finding(where, "missing-key", f"expected at least one of {', '.join(f'`{key}`' for key in limits)}")
    for key, least, most in (
        ("max_psi", 0, None),
        ("min_rank_correlation", -1, 1),
        ("max_mean_abs_difference", 0, None),
        ("max_flips_pct", 0, 100),
    ):
        limit = limits[key]
        if limit is not None and (limit < least or (most is not None and limit > most)):
            upper = "or more" if most is None else f"to {most}"
            yield Finding((*where, key), "out-of-range", f"expected {least} {upper}")
