"""The job as frozen dataclasses: what stands in the YAML file is what runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar

from batchscore.config.checks import (
    ChallengerGateConfig,
    ChecksConfig,
    DriftGateConfig,
    ExpectationConfig,
    GatesConfig,
    OutputGateConfig,
    QuarantineGateConfig,
    ScoreGateConfig,
    VolumeGateConfig,
)
from batchscore.config.forms import FORBID, Format, yaml_key
from batchscore.config.scoring import (
    ChallengerConfig,
    EncodeConfig,
    EngineConfig,
    FeatureConfig,
    FeaturesConfig,
    GpuConfig,
    ImputeConfig,
    MemberConfig,
    ModelConfig,
    RegistryConfig,
    Scalar,
    ScoringConfig,
    SegmentsConfig,
    StepConfig,
)
from batchscore.config.signals import (
    MlflowConfig,
    OpenLineageConfig,
    PrometheusConfig,
    SignalsConfig,
    WebhookConfig,
)
from batchscore.config.tables import (
    Grain,
    InputConfig,
    IntervalConfig,
    LookupConfig,
    OutputConfig,
    WindowConfig,
)

__all__ = [
    "ChallengerConfig",
    "ChallengerGateConfig",
    "ChecksConfig",
    "DriftGateConfig",
    "EncodeConfig",
    "EngineConfig",
    "ExpectationConfig",
    "FeatureConfig",
    "FeaturesConfig",
    "Format",
    "GatesConfig",
    "GpuConfig",
    "Grain",
    "ImputeConfig",
    "InputConfig",
    "IntervalConfig",
    "Job",
    "JobConfig",
    "LookupConfig",
    "MemberConfig",
    "MlflowConfig",
    "ModelConfig",
    "OpenLineageConfig",
    "OutputConfig",
    "OutputGateConfig",
    "PrometheusConfig",
    "QuarantineGateConfig",
    "RegistryConfig",
    "Scalar",
    "ScoreGateConfig",
    "ScoringConfig",
    "SegmentsConfig",
    "SignalsConfig",
    "StepConfig",
    "VolumeGateConfig",
    "WebhookConfig",
    "WindowConfig",
    "to_plain",
    "yaml_key",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobConfig:
    """One job. Relative paths count from the folder of the job file, wherever the command is run.

    Attributes:
        job: The job's name: letters, digits and underscores.
        interval: Which part of the input table one run takes.
        input: The table to score.
        model: The registered model, or models.
        output: Where results go.
        gates: What may hold a run before it is published.
        checks: Expectations on input, features and scores.
        lookups: Tables joined to the input, by name.
        features: What the model is given.
        scoring: How batches meet the model.
        signals: Who is told of each run.
        engine: The Spark session.
        registry: The MLflow registry.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    job: str
    interval: IntervalConfig
    input: InputConfig
    model: ModelConfig
    output: OutputConfig
    checks: ChecksConfig = ChecksConfig()
    lookups: dict[str, LookupConfig] = field(default_factory=dict)
    features: FeaturesConfig = FeaturesConfig()
    scoring: ScoringConfig = ScoringConfig()
    gates: GatesConfig = GatesConfig()
    signals: SignalsConfig = SignalsConfig()
    engine: EngineConfig = EngineConfig()
    registry: RegistryConfig = RegistryConfig()


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A validated config with its place: the folder that relative paths count from, and the file it came from.

    Attributes:
        config: The resolved config; references such as `${env:NAME}` still stand in it as written.
        folder: Absolute path of the job file's folder.
        file: The job file as the user named it, for messages and command lines.
        places: Where features and lookups stand, as `FILE:LINE`, by their dotted paths.
    """

    config: JobConfig
    folder: str
    file: str
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def where(self, path: str) -> str:
        """A dotted path for messages, with its place in the file where that is known."""
        place = self.places.get(path)
        return f"{place}: {path}" if place else path


def to_plain(value: Any) -> Any:
    """The config as plain dicts, lists and scalars, with YAML's key names (`from_` becomes `from`)."""
    if is_dataclass(value) and not isinstance(value, type):
        return {yaml_key(f.name): to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    return [to_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
