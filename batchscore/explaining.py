"""What a job's features are: where each comes from, what it reads, and the joins and shuffles that they cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchscore.assembly import check_columns, describe_features, feature_rows
from batchscore.config import Job, LookupConfig
from batchscore.errors import ConfigError
from batchscore.features.definitions import define_features, read_sources
from batchscore.intervals import Interval
from batchscore.pinning import pin_input, pin_lookups
from batchscore.rendering import Sheet, Shown
from batchscore.tables.read import read_interval

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_IDS = re.compile(r"#\d+L?|, ENSURE_REQUIREMENTS|, \[plan_id=\d+\]")
_JOINS = ("SortMergeJoin", "BroadcastHashJoin", "ShuffledHashJoin", "BroadcastNestedLoopJoin", "CartesianProduct")
_SHOWN = (*_JOINS, "Exchange", "BroadcastExchange", "Window", "ArrowEvalPython", "Generate")
_LONGEST = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureList(Shown):
    """The features of a job.

    Attributes:
        job: The job.
        sha256: The feature hash, as `log_model` logs it.
        features: One line for each: name, type, null policy, kind, what it reads, where it comes from.
        helpers: Marked functions that features lead to without being listed.
        unused: Marked functions that no feature leads to.
        lookups: One line for each: table, version, how it is joined.
        plan: Joins, shuffles, windows and trips to Python in Spark's optimised plan, indented as they nest.
    """

    job: str
    sha256: str
    features: tuple[Mapping[str, Any], ...]
    helpers: tuple[str, ...]
    unused: tuple[str, ...]
    lookups: tuple[Mapping[str, Any], ...]
    plan: tuple[str, ...]

    def sheet(self) -> Sheet:
        """The features laid out."""
        nodes = [line.split()[0] for line in self.plan]
        facts: list[tuple[str, Any]] = [
            ("feature hash", self.sha256),
            ("joins", sum(node in _JOINS for node in nodes)),
            ("shuffles", nodes.count("Exchange")),
            ("trips to Python", nodes.count("ArrowEvalPython")),
            ("helpers", ", ".join(self.helpers)),
            ("not used", ", ".join(self.unused)),
        ]
        features = [
            [f["name"], f["type"], f["on_null"], f["kind"], ", ".join(f["reads"]), f["from"]] for f in self.features
        ]
        lookups = [[one["name"], one["table"], one["version"], one["join"]] for one in self.lookups]
        return Sheet(
            f"features {self.job}",
            [(name, value) for name, value in facts if value != ""],
            (
                ("features", ("name", "type", "on null", "kind", "reads", "from"), features),
                ("lookups", ("name", "table", "version", "join"), lookups),
                ("Spark's plan, last step first", ("step",), [[line] for line in self.plan]),
            ),
        )


def explain_features(spark: SparkSession, job: Job, interval: Interval | None) -> FeatureList:
    """Say what the features of a job are, from metadata alone; needs no model.

    Args:
        spark: The session.
        job: The job; it names its features.
        interval: The interval whose plan is shown; None for the whole table.

    Raises:
        ConfigError: The job names no features, or one of them is wrong.
        InputError: A table or column is missing.
    """
    config = job.config
    if not config.features.columns:
        raise ConfigError(
            "features.columns: expected features; found none: the job takes the columns that its model names."
        )
    sources = read_sources(job)
    chosen = interval or Interval("snapshot", "snapshot", None, None, config.interval.time_zone)
    pinned = pin_input(spark, job, chosen)
    lookups = pin_lookups(spark, job, pinned)
    source = read_interval(spark, pinned, chosen, config.interval.column)
    check_columns(config, source)
    made = feature_rows(spark, job, config.features.columns, source, None, lookups, sources=sources)
    reached = {step.name for step in made.steps}
    return FeatureList(
        job=config.job,
        sha256=define_features(job, sources, config.features.columns).sha256,
        features=describe_features(made, made.features),
        helpers=tuple(step.name for step in made.steps if not step.listed),
        unused=tuple(name for name in sources.functions if name not in reached),
        lookups=tuple(
            {
                "name": name,
                "table": lookup.table,
                "version": "as listed" if lookups[name].version is None else lookups[name].version,
                "join": _describe_join(lookup),
            }
            for name, lookup in config.lookups.items()
        ),
        plan=tuple(_walk(_physical_plan(made.rows), 0)),
    )


def _describe_join(lookup: LookupConfig) -> str:
    keys = ", ".join(lookup.on)
    if lookup.windows:
        return f"windows over {keys}, rows with {lookup.known_at} before {lookup.at}"
    if lookup.known_at:
        return f"latest of {keys} with {lookup.known_at} before {lookup.at}, at most {lookup.max_age} old"
    return f"the one row of {keys}"


def _physical_plan(rows: DataFrame) -> Any:
    plan = rows._jdf.queryExecution().executedPlan()
    return plan.initialPlan() if plan.nodeName() == "AdaptiveSparkPlan" else plan


def _walk(node: Any, depth: int) -> list[str]:
    name = str(node.nodeName())
    shown = name in _SHOWN
    lines = []
    if shown:
        text = _IDS.sub("", str(node.simpleString(25)))
        lines.append("  " * depth + (text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"))
    children = node.children()
    for position in range(children.size()):
        lines += _walk(children.apply(position), depth + shown)
    return lines
