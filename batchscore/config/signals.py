"""The sections that say who is told of a run: reports, trackers, lineage, monitors, people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from batchscore.config.forms import FORBID

Occasion = Literal["failed", "held", "drift", "published"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MlflowConfig:
    """An MLflow run for each run, in the job's registry.

    Attributes:
        experiment: Name of the experiment; created on first use.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    experiment: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenLineageConfig:
    """OpenLineage events, to a server or to a file; needs the extra `lineage`.

    Attributes:
        url: Address of the server, without `/api/v1/lineage`.
        token: Its API key, as a reference.
        file: In place of `url`, a file that gets a line of JSON for each event.
        namespace: Namespace of the job.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    url: str | None = None
    token: str | None = None
    file: str | None = None
    namespace: str = "batchscore"


@dataclass(frozen=True, kw_only=True, slots=True)
class PrometheusConfig:
    """Figures of the newest run, as a file for node exporter's textfile collector, or to a push gateway.

    Attributes:
        file: The file, ending in `.prom`.
        push_gateway: Address of the gateway.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    file: str | None = None
    push_gateway: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookConfig:
    """An address that is told of runs.

    Attributes:
        url: The address; one that holds a secret stands here as a reference.
        form: `json`, or `slack` for a message in Slack's form.
        on: What is told: `failed`, `held`, `drift` (held or not) and `published`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    url: str
    form: Literal["json", "slack"] = "json"
    on: tuple[Occasion, ...] = ("failed", "held", "drift")


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalsConfig:
    """Who is told of each run, once it has ended. None of it can make a run fail: what goes wrong is a warning.

    Attributes:
        reports: Folder that gets the page of each run.
        mlflow: A run in MLflow.
        openlineage: OpenLineage events.
        prometheus: Figures for Prometheus.
        webhooks: Addresses that are told.
        timeout_s: Seconds that each of them may take.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    reports: str | None = None
    mlflow: MlflowConfig | None = None
    openlineage: OpenLineageConfig | None = None
    prometheus: PrometheusConfig | None = None
    webhooks: tuple[WebhookConfig, ...] = field(default=())
    timeout_s: float = 10.0
