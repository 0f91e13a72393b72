"""Rules of the model section: which models, how they meet features and outputs, and what is computed from these."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

from batchscore.config import JobConfig, MemberConfig, StepConfig
from batchscore.loading.faults import Finding, Path
from batchscore.patterns import MODEL_URI, RESERVED_PREFIX
from batchscore.selectors import FORM, parse_selector
from batchscore.thresholds import FORM as COMPARISONS
from batchscore.thresholds import parse_comparisons

MAX_WORST = 1000
_URI = "expected 'models:/NAME@ALIAS' or 'models:/NAME/VERSION' (a number; never 'latest')"
# Which keys each kind of step reads, and whether it needs them.
_OPTIONS: Mapping[str, Mapping[str, bool]] = {
    "softmax": {},
    "sigmoid": {},
    "argmax": {"classes": False},
    "pick": {"index": True},
    "categories": {"categories": True, "otherwise": False},
    "calibrate": {"points": True},
}


def find_model_faults(job: JobConfig) -> Iterator[Finding]:
    """Yield every broken rule of `model`."""
    model = job.model
    given = [key for key in ("uri", "ensemble", "segments") if getattr(model, key)]
    if len(given) != 1:
        found = " and ".join(f"`{key}`" for key in given) or "none of them"
        what = f"expected exactly one of `uri`, `ensemble` and `segments`; found {found}"
        yield Finding(("model",), "one-of", what, reads=(("model", "uri"), ("model", "segments")))
    for where, uri in _uris(job):
        if not MODEL_URI.match(uri):
            yield Finding(where, "bad-uri", _URI)
    yield from _check_ensemble(model.ensemble)
    yield from _check_segments(job)
    features = tuple(feature.name for feature in job.features.columns)
    for path, inputs, outputs in _interfaces(job):
        yield from _check_interface(path, inputs, outputs, features)
    for position, step in enumerate(model.postprocess):
        yield from _check_step(("model", "postprocess", position), step)
    challenger = model.challenger
    if challenger is not None and not 0 <= challenger.worst <= MAX_WORST:
        yield Finding(("model", "challenger", "worst"), "out-of-range", f"expected a number from 0 to {MAX_WORST}")


def _uris(job: JobConfig) -> Iterator[tuple[Path, str]]:
    model = job.model
    if model.uri is not None:
        yield ("model", "uri"), model.uri
    for position, member in enumerate(model.ensemble):
        yield ("model", "ensemble", position, "uri"), member.uri
    if model.segments is not None:
        for value, uri in model.segments.models.items():
            yield ("model", "segments", "models", value), uri
        if model.segments.default is not None:
            yield ("model", "segments", "default"), model.segments.default
    if model.challenger is not None:
        yield ("model", "challenger", "uri"), model.challenger.uri


def _interfaces(job: JobConfig) -> Iterator[tuple[Path, Mapping[str, tuple[str, ...]], Mapping[str, str]]]:
    model = job.model
    yield ("model",), model.inputs, model.outputs
    for position, member in enumerate(model.ensemble):
        yield ("model", "ensemble", position), member.inputs, member.outputs
    if model.challenger is not None:
        yield ("model", "challenger"), model.challenger.inputs, model.challenger.outputs


def _check_interface(
    path: Path, inputs: Mapping[str, tuple[str, ...]], outputs: Mapping[str, str], features: tuple[str, ...]
) -> Iterator[Finding]:
    for name, columns in inputs.items():
        if not columns:
            yield Finding((*path, "inputs", name), "empty", "expected at least one feature")
        for position, column in enumerate(columns) if features else ():
            if column not in features:
                what = f"'{column}' is not among `features.columns`; add it there, if only by its name"
                yield Finding((*path, "inputs", name, position), "unknown-feature", what, features, (("features",),))
    for name, selector in outputs.items():
        where: Path = (*path, "outputs", name)
        if not name.strip() or name.startswith(RESERVED_PREFIX):
            yield Finding(where, "bad-name", "an output column's name is not empty and does not start with '_'")
        if parse_selector(selector) is None:
            yield Finding(where, "bad-selector", FORM)


def _check_ensemble(members: tuple[MemberConfig, ...]) -> Iterator[Finding]:
    if len(members) == 1:
        yield Finding(("model", "ensemble"), "too-few", "expected at least two models; name a single one as `uri`")
    for position, member in enumerate(members):
        if not (member.weight > 0 and math.isfinite(member.weight)):
            yield Finding(("model", "ensemble", position, "weight"), "out-of-range", "expected a number above 0")


def _check_segments(job: JobConfig) -> Iterator[Finding]:
    segments = job.model.segments
    if segments is None:
        return
    if not segments.by.strip():
        yield Finding(("model", "segments", "by"), "empty", "expected the name of a column or feature")
    if not segments.models:
        yield Finding(("model", "segments", "models"), "empty", "expected at least one value with its model")


def _check_step(where: Path, step: StepConfig) -> Iterator[Finding]:
    if not step.name.strip() or step.name.startswith(RESERVED_PREFIX):
        yield Finding((*where, "name"), "bad-name", "an output column's name is not empty and does not start with '_'")
    options = _OPTIONS[step.do]
    for key in ("index", "classes", "categories", "otherwise", "points"):
        value = getattr(step, key)
        given = value is not None and value not in ((), {})
        if given and key not in options:
            yield Finding((*where, key), "not-used", f"`do: {step.do}` does not read it; remove it")
        elif not given and options.get(key):
            yield Finding((*where,), "missing-key", f"`do: {step.do}` needs `{key}`")
    if step.index is not None and step.index < 0:
        yield Finding((*where, "index"), "out-of-range", "expected a position from 0")
    for name, text in step.categories.items():
        if parse_comparisons(text) is None:
            yield Finding((*where, "categories", name), "bad-comparison", COMPARISONS)
    if step.points:
        yield from _check_points((*where, "points"), step.points)


def _check_points(where: Path, points: tuple[tuple[float, ...], ...]) -> Iterator[Finding]:
    for position, point in enumerate(points):
        if len(point) != 2 or not all(math.isfinite(number) for number in point):
            yield Finding(
                (*where, position), "bad-point", "expected a pair of numbers: a score, and what becomes of it"
            )
            return
    if len(points) < 2 or any(one[0] >= other[0] for one, other in itertools.pairwise(points)):
        yield Finding(where, "bad-order", "expected at least two pairs, their first numbers rising")
