"""The laws of publishing, recomputed from files alone: delta-rs for rows, JSON for logs, and none of our code."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rfc8785
from deltalake import DeltaTable

GENESIS = "0" * 64
ENDS = ("abandoned", "failed", "held")
# What changes no row, whoever commits it.
QUIET = ("CREATE", "OPTIMIZE", "VACUUM", "SET TBLPROPERTIES")

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an interval must show: the keys of its scores, and the keys that its published run set aside."""

    scored: frozenset[int]
    aside: frozenset[int] = frozenset()


@dataclass
class Findings:
    """What an examination found; findings of several add up.

    Attributes:
        rows: Visible rows.
        lost: Expected rows that are not visible.
        doubled: Visible rows beyond the first of their key.
        foreign: Visible rows of another run than the last published, or of no expected key.
        generations: Interval to the generation that is visible.
        broken: Every law that does not hold, in words.
    """

    rows: int = 0
    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    generations: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        """Add the figures of another examination."""
        self.rows += other.rows
        self.lost += other.lost
        self.doubled += other.doubled
        self.foreign += other.foreign

    def require(self, law: str, holds: bool) -> None:
        """Note a law that does not hold."""
        if not holds:
            self.broken.append(law)

    def __str__(self) -> str:
        return f"rows lost {self.lost}, doubled {self.doubled}, foreign {self.foreign}"


@dataclass(frozen=True)
class Published:
    """One of our commits in the scores log."""

    version: int
    core: dict[str, Any]


def examine(scores: Path, wanted: Mapping[str, Wanted], *, audited: bool = True, key: str = "id") -> Findings:
    """Recompute every law from the three tables of a job.

    Args:
        scores: Folder of the scores table; quarantine and audit lie beside it.
        wanted: Interval to what it must show. An interval that is not named must not be published.
        audited: Whether the audit must have caught up with the scores log, as after every ended run; right after a
            crash it may lag behind.
        key: The key column.
    """
    found = Findings()
    published, others = _read_log(scores)
    _examine_commits(published, found)
    newest = {one.core["interval"]: one.core for one in published}
    found.generations = {interval: core["generation"] for interval, core in newest.items()}
    found.require(f"published intervals are {sorted(wanted)}, found {sorted(newest)}", set(newest) == set(wanted))
    _examine_rows(_read_rows(scores), newest, wanted, key, found)
    quarantine, audit = (scores.with_name(f"{scores.name}_{suffix}") for suffix in ("quarantine", "audit"))
    _examine_quarantine(_read_rows(quarantine), published, newest, wanted, key, found)
    _examine_details(audit, published, found)
    _examine_audit(_read_rows(audit), published, others, audited, found)
    return found


def check(scores: Path, wanted: Mapping[str, Wanted], *, audited: bool = True) -> Findings:
    """As `examine`; fails on the first look where any law does not hold."""
    found = examine(scores, wanted, audited=audited)
    assert not found.broken, "\n".join(found.broken)
    assert (found.lost, found.doubled, found.foreign) == (0, 0, 0), str(found)
    return found


def published_intervals(scores: Path) -> set[str]:
    """Intervals that the scores log has a commit of."""
    return {one.core["interval"] for one in _read_log(scores)[0]}


def commits_of(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Version and `commitInfo` of each commit, oldest first."""
    for file in sorted((table / "_delta_log").glob("*.json")):
        if file.stem.isdigit():
            actions = [json.loads(line) for line in file.read_text().splitlines() if line]
            yield int(file.stem), next((a["commitInfo"] for a in actions if "commitInfo" in a), {})


def _read_log(scores: Path) -> tuple[list[Published], list[int]]:
    ours, others, versions = [], [], []
    for version, info in commits_of(scores):
        versions.append(version)
        core = json.loads(info.get("userMetadata") or "{}").get("batchscore")
        if core is not None:
            ours.append(Published(version, core))
        elif not info.get("operation", "").startswith(QUIET):
            others.append(version)
    assert versions == list(range(len(versions))), f"{scores}: versions have gaps: {versions}"
    return ours, others


def _read_rows(table: Path) -> Rows:
    return DeltaTable(str(table)).to_pyarrow_table().to_pylist() if (table / "_delta_log").exists() else []


def _examine_commits(published: list[Published], found: Findings) -> None:
    runs = Counter(one.core["run_id"] for one in published)
    found.require(f"each run is committed once, found {runs}", all(n == 1 for n in runs.values()))
    keys = Counter(one.core["run_key"] for one in published)
    found.require(f"each run key is published once, found {keys}", all(n == 1 for n in keys.values()))
    last: dict[str, int] = {}
    for one in published:
        interval, generation = one.core["interval"], one.core["generation"]
        found.require(f"generations of {interval} rise by one", generation == last.get(interval, 0) + 1)
        last[interval] = generation
        counts = one.core["counts"]
        balanced = counts["read"] == counts["scored"] + counts["quarantined"]
        found.require(f"run {one.core['run_id']}: read = scored + quarantined, found {counts}", balanced)


def _examine_rows(
    rows: Rows, newest: Mapping[str, Any], wanted: Mapping[str, Wanted], key: str, found: Findings
) -> None:
    found.rows = len(rows)
    for interval in sorted({*newest, *wanted, *(row["_interval"] for row in rows)}):
        core, want = newest.get(interval), wanted.get(interval, Wanted(scored=frozenset()))
        here = [row for row in rows if row["_interval"] == interval]
        keys = [row[key] for row in here]
        found.lost += len(want.scored - set(keys))
        found.doubled += len(keys) - len(set(keys))
        of_run = {} if core is None else {"_run_id": core["run_id"], "_generation": core["generation"]}
        strange = [r for r in here if core is None or any(r[name] != value for name, value in of_run.items())]
        found.foreign += len({id(r) for r in strange} | {id(r) for r in here if r[key] not in want.scored})
        if core is not None:
            scored = core["counts"]["scored"]
            found.require(f"{interval}: {scored} rows by its commit, found {len(here)}", len(here) == scored)
            model = f"{core['model']['name']}/{core['model']['version']}"
            models = {row["_model"] for row in here}
            found.require(f"{interval}: scored by {model}, found {models}", models <= {model})


def _examine_quarantine(
    rows: Rows,
    published: list[Published],
    newest: Mapping[str, Any],
    wanted: Mapping[str, Wanted],
    key: str,
    found: Findings,
) -> None:
    by_run: dict[str, list[Any]] = {}
    for row in rows:
        by_run.setdefault(row["_run_id"], []).append(row[key])
    for one in published:
        run, counted = one.core["run_id"], one.core["counts"]["quarantined"]
        keys = by_run.get(run, [])
        exact = len(keys) == len(set(keys)) == counted
        found.require(f"run {run}: {counted} rows set aside, each once; found {sorted(keys)}", exact)
    for interval, want in wanted.items():
        if interval in newest:
            aside = set(by_run.get(newest[interval]["run_id"], []))
            found.require(f"{interval}: set aside {sorted(want.aside)}, found {sorted(aside)}", aside == want.aside)


def _examine_details(audit: Path, published: list[Published], found: Findings) -> None:
    for one in published:
        digest = one.core["detail_sha256"]
        file = audit / "_batchscore" / f"{digest}.json"
        whole = file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == digest
        found.require(f"run {one.core['run_id']}: its detail file is whole", whole)


def _examine_audit(rows: Rows, published: list[Published], others: list[int], audited: bool, found: Findings) -> None:
    rows = sorted(rows, key=lambda row: row["seq"])
    numbers = [row["seq"] for row in rows]
    found.require(f"audit: seq counts from 1 without gaps, found {numbers}", numbers == list(range(1, len(rows) + 1)))
    before = GENESIS
    for row in rows:
        sealed = {name: value for name, value in row.items() if name != "sha256"}
        found.require(f"audit {row['seq']}: follows {before[:8]}", row["prev_sha256"] == before)
        before = row["sha256"]
        found.require(f"audit {row['seq']}: digest", hashlib.sha256(rfc8785.dumps(sealed)).hexdigest() == before)
    records = [json.loads(row["record"]) for row in rows]
    folded = [(r["commits"]["scores"], r["kind"], r.get("run_id")) for r in records if "scores" in r.get("commits", {})]
    log = [(one.version, one.core["kind"], one.core["run_id"]) for one in published]
    log = sorted([*log, *((version, "foreign", None) for version in others)])
    found.require(f"audit: folds the log in order, {folded} of {log}", folded == log[: len(folded)])
    found.require(f"audit: {len(log)} commits are folded, found {len(folded)}", not audited or len(folded) == len(log))
    ended = Counter(r["run_id"] for r in records if r["kind"] in ENDS)
    found.require(f"audit: a run ends once, found {ended}", all(n == 1 for n in ended.values()))
    both = set(ended) & {one.core["run_id"] for one in published}
    found.require(f"audit: no published run is told as {ENDS}, found {both}", not both)
