"""Preflight of a job's models together: one set of columns from all of them, and what is computed from it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from batchscore.config import ModelConfig, StepConfig
from batchscore.errors import ModelError
from batchscore.kernel.models import common_types
from batchscore.kernel.nested import leaf_type
from batchscore.kernel.postprocess import step_type
from batchscore.kernel.spec import FeatureSpec, ModelSpec, ScoresSpec, StepSpec
from batchscore.lineups import Lineup
from batchscore.records import PinnedModel
from batchscore.scoring.preflight import match_model
from batchscore.thresholds import parse_comparisons

_WHOLE = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)

_NEEDS = {
    "softmax": "an array of floating-point numbers",
    "sigmoid": "floating-point numbers",
    "argmax": "one array of numbers a row",
    "pick": "an array",
    "categories": "one number a row",
    "calibrate": "one number a row",
}


@dataclass(frozen=True, slots=True)
class Matched:
    """How rows get their scores, and what the columns are.

    Attributes:
        scores: For the kernel.
        columns: The columns that are kept, with their types.
        challenger: The challenger's, by the same names; empty without one.
    """

    scores: ScoresSpec
    columns: Mapping[str, pa.DataType]
    challenger: Mapping[str, pa.DataType]


def match_lineup(
    lineup: Lineup,
    config: ModelConfig,
    features: Sequence[FeatureSpec],
    types: Mapping[str, pa.DataType],
    taken: Sequence[str],
) -> Matched:
    """How rows meet the models of a job.

    Args:
        lineup: The pinned models.
        config: The job's model section.
        features: The job's features.
        types: Arrow type of each column that the kernel will see.
        taken: Names of key and passthrough columns.

    Raises:
        ModelError: Features, models and output columns do not fit together, with both sides named.
    """

    def match(model: PinnedModel, inputs: Mapping[str, tuple[str, ...]], outputs: Mapping[str, str]) -> ModelSpec:
        own = replace(config, inputs=dict(inputs or config.inputs), outputs=dict(outputs or config.outputs))
        try:
            return match_model(model, own, features, types, taken)
        except ModelError as error:
            raise error if single else ModelError(f"{model.label}: {error}") from error

    single = len(lineup.models) == 1 and lineup.challenger is None
    members = config.ensemble or (None,) * len(lineup.models)
    models = tuple(
        match(model, member.inputs if member else {}, member.outputs if member else {})
        for model, member in zip(lineup.models, members, strict=True)
    )
    known = _find_common(lineup, models)
    if lineup.by:
        _check_by(lineup, types)
    steps, whole = _match_steps(config.postprocess, known, taken)
    kept = _drop(config.drop, whole)
    total = sum(lineup.weights)
    scores = ScoresSpec(
        models=models,
        weights=tuple(weight / total for weight in lineup.weights),
        by=lineup.by,
        routes=lineup.segments,
        default=lineup.default,
        steps=steps,
        dropped=config.drop,
    )
    if lineup.challenger is None or config.challenger is None:
        return Matched(scores, kept, {})
    challenger = match(lineup.challenger, config.challenger.inputs, config.challenger.outputs)
    own = _match_challenger(lineup.challenger, challenger, scores, config, kept, taken)
    return Matched(replace(scores, challenger=challenger), kept, own)


def _find_common(lineup: Lineup, models: Sequence[ModelSpec]) -> dict[str, pa.DataType]:
    """Output column to its type, the same for all models."""
    names = [output.column for output in models[0].outputs]
    for model in models[1:]:
        own = [output.column for output in model.outputs]
        if set(own) != set(names):
            raise ModelError(
                f"model: expected the output columns of {models[0].label} ({', '.join(names)}) from every model; "
                f"{model.label} gives {', '.join(own)}. Give them the same names under outputs."
            )
    common = common_types(models)
    for name in names:
        if name not in common:
            raise ModelError(
                f"model: expected output column '{name}' to be of one type in every model; found others in "
                f"{' and '.join(dict.fromkeys(model.label for model in models))}. Export the models alike."
            )
        if lineup.weights and not pa.types.is_floating(leaf_type(common[name])[0]):
            raise ModelError(
                f"model.ensemble: expected floating-point scores, whose mean is taken; output column '{name}' is "
                f"{common[name]}. Name only such outputs under model.outputs, and make classes by model.postprocess."
            )
    return {name: common[name] for name in names}


def _check_by(lineup: Lineup, types: Mapping[str, pa.DataType]) -> None:
    by = lineup.by
    kind = types[by]
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise ModelError(
            f"model.segments.by: expected a column of text, whole numbers or booleans; '{by}' is {kind}. "
            "Make a feature of such a type from it."
        )
    for value in lineup.segments:
        boolean, number = pa.types.is_boolean(kind), pa.types.is_integer(kind)
        if (boolean and value not in ("true", "false")) or (number and not _WHOLE.fullmatch(value)):
            raise ModelError(
                f"model.segments.models: expected values that '{by}' ({kind}) can have, "
                f"{'true or false' if boolean else 'whole numbers without leading zeros'}; found '{value}'. Correct it."
            )


def _match_steps(
    steps: Sequence[StepConfig], known: Mapping[str, pa.DataType], taken: Sequence[str]
) -> tuple[tuple[StepSpec, ...], dict[str, pa.DataType]]:
    types, specs = dict(known), []
    held = {name.lower() for name in taken}
    for position, step in enumerate(steps):
        where = f"model.postprocess.{position} '{step.name}'"
        if step.of not in types:
            raise ModelError(f"{where}: expected a column among {', '.join(types)}; found '{step.of}'. Name one.")
        if step.name.lower() in held | {name.lower() for name in types}:
            raise ModelError(f"{where}: expected a new name; there is such a column already. Rename it.")
        spec = _to_step(step)
        made = step_type(spec, types[step.of])
        if made is None:
            raise ModelError(
                f"{where}: {step.do} expects {_NEEDS[step.do]}; '{step.of}' is {types[step.of]}. "
                "Take another column, or name a part of it under model.outputs."
            )
        types[step.name] = made
        specs.append(spec)
    return tuple(specs), types


def _to_step(step: StepConfig) -> StepSpec:
    return StepSpec(
        name=step.name,
        of=step.of,
        do=step.do,
        index=step.index or 0,
        classes=step.classes,
        categories=tuple((name, parse_comparisons(text) or ()) for name, text in step.categories.items()),
        otherwise=step.otherwise,
        points=step.points,
    )


def _drop(dropped: Sequence[str], known: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    unknown = [name for name in dropped if name not in known]
    if unknown:
        raise ModelError(f"model.drop: expected columns among {', '.join(known)}; found '{unknown[0]}'. Name one.")
    kept = {name: kind for name, kind in known.items() if name not in dropped}
    if not kept:
        raise ModelError("model.drop: expected at least one output column that is kept; found none. Keep one.")
    return kept


def _match_challenger(
    pinned: PinnedModel,
    challenger: ModelSpec,
    scores: ScoresSpec,
    config: ModelConfig,
    kept: Mapping[str, pa.DataType],
    taken: Sequence[str],
) -> dict[str, pa.DataType]:
    own = common_types([challenger])
    if set(own) != set(scores.outputs):
        raise ModelError(
            f"model.challenger: expected the output columns {', '.join(scores.outputs)}; {pinned.label} gives "
            f"{', '.join(own)}. Give them the same names under model.challenger.outputs."
        )
    _, whole = _match_steps(config.postprocess, own, taken)
    for name, kind in kept.items():
        if not _is_comparable(kind, whole[name]):
            raise ModelError(
                f"model.challenger: expected '{name}' to be {kind}, as the job's own model gives it; {pinned.label} "
                f"gives {whole[name]}. Name a part of the same form under model.challenger.outputs."
            )
    return {name: whole[name] for name in kept}


def _is_comparable(one: pa.DataType, other: pa.DataType) -> bool:
    (a, depth), (b, other_depth) = leaf_type(one), leaf_type(other)

    def is_number(kind: pa.DataType) -> bool:
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))

    return depth == other_depth and (a == b or (is_number(a) and is_number(b)))
