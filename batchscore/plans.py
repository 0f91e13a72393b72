"""Plans: what a run would do, known from metadata alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchscore.lineups import Lineup
from batchscore.records import PinnedModel, PinnedTable, show_scan
from batchscore.rendering import Sheet, Shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(Shown):
    """What a run would do, known from metadata alone."""

    job: str
    interval: str
    interval_label: str
    run_key: str
    action: str
    generation: int
    config_sha256: str
    input: PinnedTable
    lookups: Mapping[str, PinnedTable]
    models: Lineup
    features: tuple[Mapping[str, Any], ...]
    checks: tuple[Mapping[str, str], ...]
    outputs: Mapping[str, str]
    columns: tuple[tuple[str, str], ...]
    published: Mapping[str, Any] | None
    submit_line: str
    warnings: tuple[str, ...] = ()
    skew: tuple[Mapping[str, str], ...] = ()
    scan: Mapping[str, Any] = field(default_factory=dict)

    def sheet(self) -> Sheet:
        """The plan laid out."""
        actions = {
            "new": f"score and publish, generation {self.generation}",
            "replace": f"score and publish, generation {self.generation}, replacing run {_run_of(self.published)}",
            "unchanged": f"nothing: run {_run_of(self.published)} has published this run key",
            "superseded": f"nothing: run {_run_of(self.published)} has replaced this run key (exit 11)",
            "held": "nothing: a run of this key is held; publish or discard it (exit 10)",
        }
        facts: list[tuple[str, Any]] = [
            ("would", actions[self.action]),
            ("run key", self.run_key),
            ("input", _table_line(self.input)),
            *((f"lookup {name}", _table_line(pinned)) for name, pinned in self.lookups.items()),
            *_model_lines(self.models),
            ("scan", _scan_line(self.scan)),
            *self.outputs.items(),
            *(("warning", warning) for warning in self.warnings),
        ]
        features = [[f["name"], f["type"], f["on_null"], _origin(f)] for f in self.features]
        skew = [[s["feature"], s["model"], s["trained"] or "not among its features", s["job"]] for s in self.skew]
        checks = [
            [c["rule"], c["expectation"], c["columns"], c["severity"], c["engine"], c["on_row_fail"]]
            for c in self.checks
        ]
        return Sheet(
            f"plan {self.job} · {self.interval_label}",
            facts,
            (
                ("features", ("name", "type", "on null", "from"), features),
                ("trained otherwise", ("feature", "model", "trained with", "this job"), skew),
                ("checks", ("rule", "expectation", "columns", "severity", "engine", "on row fail"), checks),
                ("scores", ("column", "type"), self.columns),
            ),
            (("submit", self.submit_line),),
        )


def _origin(feature: Mapping[str, Any]) -> str:
    return f"{feature['from']} (slow: rows go to Python and back)" if feature.get("slow") else str(feature["from"])


def _run_of(published: Mapping[str, Any] | None) -> str:
    return str(published["run_id"]) if published else "?"


def _model_lines(lineup: Lineup) -> Iterator[tuple[str, str]]:
    """One line for each model: what it scores, where there are several, and its pin."""
    for place, model in enumerate(lineup.models):
        scores = ""
        if lineup.weights:
            scores = f"weight {lineup.weights[place]:g}: "
        elif lineup.by:
            values = [value for value, position in lineup.segments.items() if position == place]
            values += ["all others"] if lineup.default == place else []
            scores = f"{lineup.by} {', '.join(values)}: "
        yield "model", f"{scores}{_pin_line(model)}"
    if lineup.challenger is not None:
        yield "challenger", _pin_line(lineup.challenger)


def _pin_line(model: PinnedModel) -> str:
    return f"{model.label} {_alias(model.alias)}sha256 {model.sha256[:16]}…"


def _alias(alias: str | None) -> str:
    return f"(alias {alias}) " if alias else ""


def _scan_line(scan: Mapping[str, Any]) -> str | None:
    why = f"; not by the workers themselves: {scan['why']}" if scan.get("why") else ""
    return f"{show_scan(scan)}{why}" if scan else None


def _table_line(pinned: PinnedTable) -> str:
    version = f"version {pinned.version}" if pinned.version is not None else "as listed"
    parts = [f"{pinned.table} at {version}"]
    if pinned.files is not None:
        parts.append(f"{pinned.files} file{'s' if pinned.files != 1 else ''}")
    if pinned.rows is not None:
        parts.append(f"{pinned.rows:,} rows")
    return ", ".join(parts)
