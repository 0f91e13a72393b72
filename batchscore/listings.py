"""Listings: previewed rows, run attempts and decisions as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchscore.records import show_model
from batchscore.rendering import Sheet, Shown


@dataclass(frozen=True, slots=True)
class Preview(Shown):
    """Some scored rows of an interval, with their outcome; nothing of it was published."""

    title: str
    rows: tuple[dict[str, Any], ...]

    def sheet(self) -> Sheet:
        """The rows laid out."""
        names = [n for n in (self.rows[0] if self.rows else {}) if n != "_reasons"]
        lines = [[*(row[n] for n in names), _reasons(row)] for row in self.rows]
        return Sheet(self.title, (("rows", len(self.rows)),), (("scored", (*names, "reasons"), lines),))


@dataclass(frozen=True, slots=True)
class RunList(Shown):
    """Run attempts of a job, newest first."""

    job: str
    records: tuple[dict[str, Any], ...]

    def sheet(self) -> Sheet:
        """The runs laid out."""
        names = ("run", "kind", "status", "interval", "generation", "model", "read", "scored", "quarantined", "error")
        lines = [
            [
                r.get("run_id"),
                r["kind"],
                r.get("status"),
                _label(r),
                r.get("generation"),
                show_model(r.get("model")),
            ]
            + [r.get("counts", {}).get(key) for key in ("read", "scored", "quarantined")]
            + [r.get("error_type") if r.get("status") != "cancelled" else None]
            for r in self.records
        ]
        return Sheet(f"runs {self.job}", (), (("newest first", names, lines),))


@dataclass(frozen=True, slots=True)
class EventList(Shown):
    """Audit records that a command has added: decisions, and what a repair found."""

    title: str
    events: tuple[Mapping[str, Any], ...]

    def sheet(self) -> Sheet:
        """The records laid out."""
        counted = any("rows" in event for event in self.events)
        names = ("kind", "interval", "run", "of run", *(("rows",) if counted else ()), "reason")
        lines = [
            [
                e["kind"],
                str(e.get("interval_label", "")).partition(" (")[0],
                e.get("run_id"),
                e.get("of"),
                *((e.get("rows"),) if counted else ()),
                e.get("reason"),
            ]
            for e in self.events
        ]
        return Sheet(self.title, (("added", len(self.events)),), (("audit records", names, lines),))


def _reasons(row: dict[str, Any]) -> str:
    return "; ".join(f"{r['kind']} {r['column']}" for r in row.get("_reasons") or ())


def _label(record: Mapping[str, Any]) -> str:
    return str(record.get("interval_label") or record.get("interval") or "").partition(" (")[0]
