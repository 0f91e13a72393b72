"""Lineups: the models that score a job's rows, each at one version, and what the audit keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchscore.records import PinnedModel, to_dict

_CORE = ("name", "version", "sha256", "uri")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineup:
    """One model, the members of an ensemble, or the models of the segments; and the challenger beside them.

    Attributes:
        models: The models, in the config's order, each once.
        weights: Weight of each in an ensemble, as the config names it; empty where there is none.
        by: The column that says which model scores a row; empty without segments.
        segments: Value of that column to position among the models.
        default: Position of the model of all other rows; None for none.
        challenger: The model that is compared with these.
    """

    models: tuple[PinnedModel, ...]
    weights: tuple[float, ...] = ()
    by: str = ""
    segments: Mapping[str, int] = field(default_factory=dict)
    default: int | None = None
    challenger: PinnedModel | None = None

    @property
    def label(self) -> str:
        """What the `_model` column holds where all rows have the same."""
        return (" + " if self.weights else ", ").join(model.label for model in self.models)

    @property
    def key(self) -> Any:
        """What of it decides the values, for the run key."""
        digests = [model.sha256 for model in self.models]
        if self.weights:
            return {"ensemble": [[digest, weight] for digest, weight in zip(digests, self.weights, strict=True)]}
        if self.by:
            default = None if self.default is None else digests[self.default]
            return {"by": self.by, "segments": {v: digests[i] for v, i in self.segments.items()}, "default": default}
        return digests[0]

    def summary(self) -> dict[str, Any]:
        """The lineup for the audit: all but the tensors, and the challenger, which has a place of its own."""
        plain = [describe_pinned(model) for model in self.models]
        if self.weights:
            return {"ensemble": [{**one, "weight": weight} for one, weight in zip(plain, self.weights, strict=True)]}
        if self.by:
            models = {value: plain[position] for value, position in self.segments.items()}
            default = None if self.default is None else plain[self.default]
            return {"segments": {"by": self.by, "models": models, "default": default}}
        return plain[0]


def describe_pinned(model: PinnedModel) -> dict[str, Any]:
    """A pinned model for the audit: all but its tensors and reference, and of its features' definitions the digest."""
    plain = {k: v for k, v in to_dict(model).items() if k not in ("inputs", "outputs", "features", "reference")}
    return {**plain, **({"features_sha256": model.features["sha256"]} if model.features else {})}


def core_of_lineup(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What a commit keeps of a lineup's summary: enough to pin the same models again."""
    if "ensemble" in summary:
        return {"ensemble": [{k: one.get(k) for k in (*_CORE, "weight")} for one in summary["ensemble"]]}
    if "segments" in summary:
        segments = summary["segments"]
        models = {value: _core(one) for value, one in segments["models"].items()}
        default = segments["default"]
        return {"segments": {"by": segments["by"], "models": models, "default": default and _core(default)}}
    return _core(summary)


def members_of(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The models in a lineup's summary, whatever its form."""
    if "ensemble" in summary:
        return list(summary["ensemble"])
    if "segments" in summary:
        segments = summary["segments"]
        return [*segments["models"].values(), *([segments["default"]] if segments["default"] else [])]
    return [summary]


def _core(model: Mapping[str, Any]) -> dict[str, Any]:
    return {key: model.get(key) for key in _CORE}
