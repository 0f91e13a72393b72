"""The laws of publishing, judged from what a store in memory holds: its commits, its rows, and what callers were told.

Nothing of the product is called here; the audit's digest is computed anew from its documented rule.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fake_pipeline import SHAPES
from fake_stages import PLACE

PUBLISHING = ("run", "force", "rollback", "override")
QUIET = ("CREATE TABLE", "OPTIMIZE", "SET TBLPROPERTIES")
REFUSED = ("ConfigError", "InputError", "ChecksFailed", "RunSuperseded", "RunHeld", "IntervalBlocked")
STORE_ERRORS = ("OSError", "ConnectionError", "ConflictError", "FileNotFoundError")
_FIELDS = "seq kind job interval run_id generation run_key status record prev_sha256".split()


_loads = functools.lru_cache(10_000)(json.loads)


class Facts:
    """What the store holds, read once."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.cores: list[tuple[int, Mapping[str, Any]]] = []  # our scores commits, with their versions
        for version, entry in enumerate(world.scores.log):
            if entry.commit.metadata:
                self.cores.append((version, _loads(entry.commit.metadata)["batchscore"]))
        self.audit = world.audit.log[-1].rows if world.audit.log else ()
        self.records = [_loads(row["record"]) for row in self.audit]
        self.published = {core["run_id"]: version for version, core in self.cores}

    def step_of(self, version: int) -> int:
        return int(self.world.scores.log[version].writer[0])

    def report_of(self, version: int) -> Any:
        return self.world.scores.log[version].writer[1]

    def audit_steps(self) -> list[int]:
        """The step at which each audit row was committed."""
        steps: list[int] = []
        for entry in self.world.audit.log:
            steps += [entry.writer[0]] * (len(entry.rows) - len(steps))
        return steps


def find_violations(world: Any) -> list[str]:
    """Every law that is broken, in words."""
    facts = Facts(world)
    return [told for law in LAWS for told in law(facts)]


def commits_once_and_rising(facts: Facts) -> Iterator[str]:
    generations: dict[str, int] = {}
    keys: dict[str, set[str]] = {}
    seen = set()
    for version, core in facts.cores:
        run_id, interval = core["run_id"], core["interval"]
        if run_id in seen:
            yield f"run {run_id} is committed twice"
        seen.add(run_id)
        if core["generation"] <= generations.get(interval, 0):
            yield f"generation {core['generation']} of run {run_id} (version {version}) does not rise"
        generations[interval] = core["generation"]
        known = keys.setdefault(interval, set())
        if core["kind"] == "run" and core["content_key"] in known:
            yield f"plain run {run_id} publishes content {core['content_key']} again"
        known.add(core["content_key"])


def scores_are_of_the_last_commit(facts: Facts) -> Iterator[str]:
    cores = dict(facts.cores)
    states: list[dict[str, list[Mapping[str, Any]]]] = []
    state: dict[str, list[Mapping[str, Any]]] = {}
    for version, entry in enumerate(facts.world.scores.log):
        state = dict(state)
        report = entry.writer[1]
        if version in cores:
            core = cores[version]
            state[core["interval"]] = _rows_of(core)
        elif entry.commit.operation not in QUIET:
            verb, what = report.effect
            if verb == "delete":
                state[what] = []
            elif verb == "insert":
                state[what["_interval"]] = [*state.get(what["_interval"], []), what]
            else:
                state = states[what]
        states.append(state)
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in entry.rows:
            found.setdefault(row["_interval"], []).append(row)
        wanted = {interval: rows for interval, rows in state.items() if rows}
        if found != wanted:
            yield f"scores at version {version}: expected {wanted}; found {found}"


def _rows_of(core: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    version = core["model"]["version"]
    own = {"_interval": core["interval"], "_run_id": core["run_id"], "_generation": core["generation"]}
    own["_model"] = f"delay/{version}"
    if core["content_key"] != f"{core['interval']}/{version}":
        return [{"content": "of another key"}]
    return [{"id": i, "score": f"{core['interval']}/{version}/{i}", **own} for i in range(SHAPES[version][0])]


def quarantine_is_whole_before_scores(facts: Facts) -> Iterator[str]:
    log = facts.world.quarantine.log
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in log[-1].rows if log else ():
        rows.setdefault(row["_run_id"], []).append(row)
    landed: dict[str, int] = {}
    for entry in log:
        for row in entry.rows[-1:]:
            landed.setdefault(row["_run_id"], entry.writer[0])
    for version, core in facts.cores:
        scored, aside = SHAPES[core["model"]["version"]]
        run_id = core["run_id"]
        wanted = [(scored + i, core["interval"], core["generation"]) for i in range(aside)]
        found = [(row["id"], row["_interval"], row["_generation"]) for row in rows.get(run_id, [])]
        if found != wanted:
            yield f"quarantine of run {run_id}: expected {wanted}; found {found}"
        elif aside and landed[run_id] > facts.step_of(version):
            yield f"quarantine of run {run_id} came after its scores"


def audit_is_the_fold(facts: Facts) -> Iterator[str]:
    previous = "0" * 64
    for seq, row in enumerate(facts.audit, 1):
        text = json.dumps(
            {name: row[name] for name in _FIELDS}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        previous_found, previous = row["prev_sha256"], hashlib.sha256(text.encode()).hexdigest()
        if (row["seq"], row["sha256"]) != (seq, previous) or (seq == 1 and previous_found != "0" * 64):
            yield f"audit row {seq}: the chain is broken"
        if seq > 1 and previous_found != facts.audit[seq - 2]["sha256"]:
            yield f"audit row {seq}: does not follow the row before"
    ours = {version: core["run_id"] for version, core in facts.cores}
    wanted = [
        (version, ours.get(version))
        for version, entry in enumerate(facts.world.scores.log)
        if version in ours or entry.commit.operation not in QUIET
    ]
    found = [
        (record["commits"]["scores"], record.get("run_id"))
        for record in facts.records
        if record["kind"] in (*PUBLISHING, "foreign")
    ]
    if found != wanted:
        yield f"audit: expected the scores commits {wanted}; found {found}"
    cores = dict(facts.cores)
    for record in facts.records:
        if record["kind"] in PUBLISHING:
            core = cores.get(record["commits"]["scores"], {})
            names = ("kind", "run_id", "interval", "generation", "content_key", "run_key", "of")
            if any(record.get(name) != core.get(name) for name in names) or "detail" in record:
                yield f"audit: the record of run {record['run_id']} is not that of its commit"


def attempts_are_told_once(facts: Facts) -> Iterator[str]:
    counted = Counter((r["kind"], r["run_id"]) for r in facts.records if r["kind"] in ("held", "failed", "abandoned"))
    tries = Counter(run_id for report in facts.world.reports for run_id in report.run_ids)
    for (kind, run_id), count in counted.items():
        if count > (tries[run_id] if kind == "failed" else 1):
            yield f"audit: run {run_id} is {kind} {count} times"
    published = set()
    for record in facts.records:
        if record["kind"] in PUBLISHING:
            published.add(record["run_id"])
        elif record.get("run_id") in published:
            yield f"audit: run {record['run_id']} is {record['kind']} after it was published"


def only_the_dead_are_abandoned(facts: Facts) -> Iterator[str]:
    for step, record in zip(facts.audit_steps(), facts.records, strict=True):
        if record["kind"] == "abandoned":
            alive = [
                r for r in facts.world.reports if record["run_id"] in r.run_ids[:1] and r.started < step <= r.ended
            ]
            working = [r for r in alive if r.program.kind != "resume" and not (r.status == "error" and r.faults)]
            if working:
                yield f"audit: run {record['run_id']} is abandoned at step {step}, but its driver lives"


def discarded_is_not_published(facts: Facts) -> Iterator[str]:
    overridden = {core["of"]: core["run_id"] for _, core in facts.cores if core["kind"] == "override"}
    for record in facts.records:
        if record["kind"] != "discard":
            continue
        if record["of"] in facts.published:
            yield f"run {record['of']} is discarded and published"
        if record["of"] in overridden:
            yield f"run {record['of']} is discarded, and published by override {overridden[record['of']]}"


def overrides_are_of_what_was_held(facts: Facts) -> Iterator[str]:
    """Nothing was published between a hold and its override: they have one generation."""
    held = {record["run_id"]: record["generation"] for record in facts.records if record["kind"] == "held"}
    for _, core in facts.cores:
        if core["kind"] == "override" and held.get(core["of"]) != core["generation"]:
            yield f"override {core['run_id']} has generation {core['generation']}; its hold {held.get(core['of'])}"


def stages_are_in_step(facts: Facts) -> Iterator[str]:
    """After a repair, what still has a stage is known to the audit and neither published nor discarded."""
    yield from facts.world.stages.trespasses
    overridden = {core["of"] for _, core in facts.cores if core["kind"] == "override"}
    discarded = {record["of"] for record in facts.records if record["kind"] == "discard"}
    told = {(record["kind"], record.get("run_id")) for record in facts.records}
    known = {run_id for _, run_id in told}
    for report in facts.world.reports:  # what found its content published ends without a record
        if report.status == "unchanged" or report.died_at.startswith((f"{PLACE} remove", f"{PLACE} unclaim")):
            known.update(report.run_ids)
    for run_id in facts.world.stages.noted.keys() - known:
        yield f"run {run_id} had a stage, and left no record"
    for run_id, files in facts.world.stages.folders.items():
        numbers = {int(name[5:]): note for name, note in files.items() if name.startswith("note") and note}
        state = numbers[max(numbers)]["state"] if numbers else "none"
        if state not in ("held", "failed", "abandoned") or (state, run_id) not in told:
            yield f"stage of run {run_id}: stays {state}, of which the audit does not know"
        if run_id in facts.published or run_id in overridden or run_id in discarded:
            yield f"stage of run {run_id}: stays, though the run is published or discarded"


def callers_were_told_the_truth(facts: Facts) -> Iterator[str]:
    told = {(record["kind"], record.get("run_id")) for record in facts.records}
    own: dict[int, list[str]] = {}
    for version, core in facts.cores:
        own.setdefault(id(facts.report_of(version)), []).append(core["run_id"])
    for report in facts.world.reports:
        committed = own.get(id(report), [])
        places = {place for place, _ in report.faults}
        unread = any(fault == "unread" for _, fault in report.faults)
        name = type(report.error).__name__
        if report.status == "published" and report.record.run_id not in facts.published:
            yield f"false success: {report}"
        if report.status in ("error", "held", "unchanged") and committed and not unread:
            yield f"false failure: {report}, but {committed} is in the log"
        if report.status == "held" and ("held", report.record.run_id) not in told:
            yield f"held, but the audit does not know: {report}"
        if report.status == "unchanged" and not _was_current(facts, report):
            yield f"unchanged, but its key was not what readers saw: {report}"
        if report.status == "error":
            yield from _judge_error(facts, report, name, places, told)


def _judge_error(facts: Facts, report: Any, name: str, places: set[str], told: set[Any]) -> Iterator[str]:
    text = str(report.error)
    if name not in (*REFUSED, "WriteError", "BatchscoreError", *STORE_ERRORS):
        yield f"a bug: {report}"
    if name == "BatchscoreError" and not text.startswith(STORE_ERRORS):
        yield f"a bug: {report}"
    if name == "RunSuperseded":
        foreign = report.program.kind in ("resume", "override")  # of whichever interval its target has
        others = [v for v, core in facts.cores if foreign or core["interval"] == report.program.interval]
        if not any(facts.step_of(v) <= report.ended and facts.report_of(v) is not report for v in others):
            yield f"superseded by nobody: {report}"
    mine = report.run_ids[-1:] if report.program.kind in ("run", "force", "resume", "override", "rollback") else []
    settled = name != "ConfigError" and not places & {"audit", "scores", PLACE} and "ConflictError" not in text
    begun = report.program.kind != "resume" or len(report.run_ids) > 1
    if mine and settled and begun and report.program.kind != "resume" and ("failed", mine[0]) not in told:
        yield f"failed, but the audit does not know: {report}"


def _was_current(facts: Facts, report: Any) -> bool:
    """Whether, at some moment of the program, the newest of our commits of the interval had its content."""
    key, interval = report.record.content_key, report.record.interval
    current: list[tuple[int, str]] = [
        (facts.step_of(version), core["content_key"]) for version, core in facts.cores if core["interval"] == interval
    ]
    for position, (step, found) in enumerate(current):
        until = current[position + 1][0] if position + 1 < len(current) else 1 << 31
        if found == key and step <= report.ended and until > report.started:
            return True
    return False


def blocks_and_pins_are_kept(facts: Facts) -> Iterator[str]:
    """Whoever begins after a block or a rollback, with no release meanwhile, keeps to it."""
    decided = list(zip(facts.audit_steps(), facts.records, strict=True))
    for version, core in facts.cores:
        report, step = facts.report_of(version), facts.step_of(version)
        own = [(s, r) for s, r in decided if r.get("interval") == core["interval"]]
        blocks = [(s, r["kind"]) for s, r in own if r["kind"] in ("block", "unblock")]
        before = [kind for s, kind in blocks if s <= report.started]
        if before[-1:] == ["block"] and not any(report.started < s <= step for s, _ in blocks):
            yield f"run {core['run_id']} is published though its interval is blocked"
        if core["kind"] in ("run", "force") and not _keeps_pin(facts, version, core, own):
            yield f"run {core['run_id']} does not keep the model that a rollback pinned"


def _keeps_pin(facts: Facts, version: int, core: Mapping[str, Any], own: list[tuple[int, Any]]) -> bool:
    started, step = facts.report_of(version).started, facts.step_of(version)
    rollbacks = [
        (facts.step_of(v), c["model"]["version"])
        for v, c in facts.cores
        if c["kind"] == "rollback" and v < version and c["interval"] == core["interval"]
    ]
    before = [(s, model) for s, model in rollbacks if s <= started]
    meanwhile = {model for s, model in rollbacks if s > started}
    if not before or any(before[-1][0] < s <= step for s, r in own if r["kind"] == "release"):
        return True
    return core["model"]["version"] in {before[-1][1], *meanwhile}


LAWS = (
    commits_once_and_rising,
    scores_are_of_the_last_commit,
    quarantine_is_whole_before_scores,
    audit_is_the_fold,
    attempts_are_told_once,
    only_the_dead_are_abandoned,
    discarded_is_not_published,
    overrides_are_of_what_was_held,
    stages_are_in_step,
    callers_were_told_the_truth,
    blocks_and_pins_are_kept,
)
