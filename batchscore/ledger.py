"""The ledger: what is published, held, blocked or pinned for each interval, and how audit and stages are kept in step.

It sees tables and stages through ports alone, so the same code runs against Delta and against a store in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from batchscore.audit.chain import GENESIS
from batchscore.audit.fold import Head, fold, read_head
from batchscore.errors import ConfigError, WriteError
from batchscore.hooks import reached
from batchscore.ports import StagePort, TablePort
from batchscore.publish.protocol import next_generation, read_metadata

PUBLISHING = ("run", "force", "rollback", "override", "redrive")
ATTEMPTS = (*PUBLISHING, "held", "failed", "abandoned")
SHOWN_RUNS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What the ledger says of one interval.

    Attributes:
        runs: Records of its published runs, oldest first; the last is the one that readers see.
        newest: Record of the newest attempt, published or not.
        held: Record of the newest run that a gate holds: not published since, not discarded, not overtaken.
        blocked: Why nothing may run, if so.
        pinned: The model that a rollback pinned, until it is released.
    """

    runs: tuple[Mapping[str, Any], ...] = ()
    newest: Mapping[str, Any] | None = None
    held: Mapping[str, Any] | None = None
    blocked: str | None = None
    pinned: Mapping[str, Any] | None = None

    @property
    def current(self) -> Mapping[str, Any] | None:
        """The record of the run that readers see."""
        return self.runs[-1] if self.runs else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What a run with a given key would do, by what is published.

    Attributes:
        action: `new`, `replace`, `unchanged` (the key is published), `superseded` (a newer key is), `held` or
            `blocked`.
        generation: The generation that the run would publish.
        current: The published run's record; None before the first.
        message: For `superseded`, `held` and `blocked`, what to tell.
    """

    action: str
    generation: int
    current: Mapping[str, Any] | None
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """Scores, quarantine and audit of one job, and the folder of its stages.

    Attributes:
        job: The job's name.
        scores: The scores table.
        quarantine: The quarantine table.
        audit: The audit table.
        stages: The stages.
        audit_schema: Columns of the audit table, as its store takes them.
        create_audit: Creates the audit table, or checks the one that stands.
        stage_retention: How long the stage of a run that was not published is kept.
        clock: The time now.
    """

    job: str
    scores: TablePort
    quarantine: TablePort
    audit: TablePort
    stages: StagePort
    audit_schema: Any
    create_audit: Callable[[], None]
    stage_retention: timedelta
    clock: Callable[[], datetime]

    def generation(self, interval: str) -> int:
        """The generation that a new run of an interval would publish; read before its account."""
        return next_generation(self.scores, self.job, interval) if self.scores.exists() else 1

    def account(self, interval: str) -> Account:
        """What the ledger says of one interval."""
        return read_account(self.history(interval))

    def accounts(self) -> dict[str, Account]:
        """What the ledger says of every interval that it knows."""
        grouped: dict[str, list[Mapping[str, Any]]] = {}
        for record in self.history():
            if record.get("interval"):
                grouped.setdefault(str(record["interval"]), []).append(record)
        return {interval: read_account(records) for interval, records in grouped.items()}

    def history(self, interval: str | None = None) -> list[dict[str, Any]]:
        """Records of one interval or of all, oldest first: the audit's, and what only the scores log says yet."""
        # The log first: a run that another driver folds meanwhile is then seen twice, never missed.
        new = [core for core in self.unfolded() if interval in (None, core.get("interval"))]
        records = self.records({"interval": [interval]} if interval else {})
        known = {r["run_id"] for r in records if r["kind"] in PUBLISHING}
        return [*records, *(core for core in new if core["run_id"] not in known)]

    def records(self, where: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """Audit records whose columns have these values, oldest first, each with its place in the chain."""
        if not self.audit.exists():
            return []
        found = self.audit.scan(["seq", "record"], where)
        return [{"seq": row["seq"], **json.loads(row["record"])} for row in sorted(found, key=lambda row: row["seq"])]

    def unfolded(self) -> Iterator[dict[str, Any]]:
        """What the scores commits that the audit does not hold yet say of themselves."""
        seen = read_head(self.audit).scores_version if self.audit.exists() else -1
        for commit in self.scores.commits(seen) if self.scores.exists() else []:
            core = read_metadata(commit)
            if core is not None:
                yield {**core, "commits": {"scores": commit.version}}

    def is_published(self, run_id: str) -> bool:
        """Whether a run's scores were committed, whatever its driver lived to see."""
        if any(core.get("run_id") == run_id for core in self.unfolded()):
            return True
        return any(r["kind"] in PUBLISHING for r in self.records({"run_id": [run_id]}))

    def is_settled(self, interval: str, run_id: str) -> bool:
        """Whether a staged run is done with: published, by itself or by an override, or discarded."""
        return _is_settled(self.history(interval), run_id)

    def erased_rows(self, record: Mapping[str, Any]) -> int:
        """Scored rows that were erased from a published run's interval since it was published."""
        return sum(int((event.get("rows") or {}).get(record["interval"], 0)) for event in self._erasures(record))

    def is_erased(self, record: Mapping[str, Any]) -> bool:
        """Whether any rows, scored or set aside, were erased from a run's interval since it was published."""
        return any(record["interval"] in event.get("intervals", ()) for event in self._erasures(record))

    def _erasures(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        seq = record.get("seq")
        return [] if seq is None else [event for event in self.records({"kind": ["erase"]}) if event["seq"] > seq]

    def repair(
        self,
        *,
        events: Sequence[Mapping[str, Any]] = (),
        additions: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Head | None:
        """Bring the audit up to the scores log, and settle stages whose driver died. Seconds, and scores nothing.

        Args:
            events: Records to add, of runs that left no scores commit, and of decisions.
            additions: Run id to what its record could not know before its commit.

        Returns:
            The end of the audit chain; None where there is nothing yet.
        """
        reached("repair.begun")
        for table in (self.scores, self.quarantine, self.audit):
            table.repair()
        with ExitStack() as claims:
            dead = dict(self._claim_dead(claims))
            reached("repair.listed")
            added = [*events, *(event for event in dead.values() if event is not None)]
            head = self.fold(events=added, additions=additions) if added or self.scores.exists() else None
            for run_id, event in dead.items():
                self._settle(run_id, event)
        reached("repair.ended")
        return head

    def fold(
        self,
        *,
        events: Sequence[Mapping[str, Any]] = (),
        additions: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Head:
        """Project new scores commits into the audit, and add events; each exactly once."""
        self.create_audit()
        return fold(self.scores, self.audit, self.audit_schema, events=events, additions=additions)

    def head(self) -> Head:
        """The end of the audit chain."""
        return read_head(self.audit) if self.audit.exists() else Head(0, GENESIS, -1)

    def chain_head(self) -> dict[str, Any]:
        """The end of the audit chain, as the scores commit quotes it."""
        head = self.head()
        return {"seq": head.seq, "sha256": head.sha256}

    def _claim_dead(self, claims: ExitStack) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """Stages that are not to stay as they are, with what `_find_dead` finds, under a claim until the end.

        One look at the audit is enough for the many that stay; those that go are looked at again once claimed.
        """
        waiting = [run_id for run_id in self.stages.run_ids() if not self.stages.is_claimed(run_id)]
        records = self.history() if waiting else []
        for run_id in waiting:
            if not self._find_dead(run_id, records):
                continue
            try:
                claims.enter_context(self.stages.claim(run_id))
            except WriteError:  # somebody has just taken it up
                continue
            for event in self._find_dead(run_id, self.history()):
                yield run_id, event

    def _find_dead(self, run_id: str, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any] | None]:
        """Of a stage that nobody works on and that is not to stay as it is, the event that it makes, or None."""
        note = self.stages.read_note(run_id)
        if note is None:
            return [None]
        if _is_settled(records, run_id):
            return [None]
        if note["state"] in ("started", "staged"):
            return [{**note["record"], "kind": "abandoned", "status": "abandoned"}]
        if note["state"] == "held" and not any(r["kind"] == "held" and r["run_id"] == run_id for r in records):
            return [note["record"]]  # its driver died before it could tell the audit
        if self.clock() - datetime.fromisoformat(note["record"]["ended_at"]) < self.stage_retention:
            return []
        event = {**note["record"], "kind": "discard", "status": "expired", "run_id": None, "of": run_id}
        return [event if note["state"] == "held" else None]

    def _settle(self, run_id: str, event: Mapping[str, Any] | None) -> None:
        """Remove a dead stage, or keep it for `resume` where its rows are whole; its event is in the audit."""
        if event is not None and event["kind"] == "held":
            return
        note = self.stages.read_note(run_id)
        if event is not None and event["kind"] == "abandoned" and note is not None and note["state"] == "staged":
            record = {**note["record"], "ended_at": self.clock().astimezone(UTC).isoformat()}
            self.stages.write_note(run_id, {**note, "state": "abandoned", "record": record})
        else:
            self.stages.remove(run_id)


def read_account(records: Sequence[Mapping[str, Any]]) -> Account:
    """What the records of one interval, oldest first, amount to."""
    runs: list[Mapping[str, Any]] = []
    held: dict[str, Mapping[str, Any]] = {}
    newest = pinned = None
    blocked: str | None = None
    for record in records:
        kind = record["kind"]
        if kind in ATTEMPTS:
            newest = record
        if kind in PUBLISHING:
            runs.append(record)
            held.clear()
        match kind:
            case "held":
                held[str(record["run_id"])] = record
            case "discard":
                held.pop(str(record["of"]), None)
            case "block" | "unblock":
                blocked = str(record.get("reason") or "no reason given") if kind == "block" else None
            case "rollback":
                pinned = record["model"]
            case "release":
                pinned = None
    # A hold may be told after a newer run: it was planned before that one, and its rows are not to replace it.
    reached_generation = int(runs[-1]["generation"]) if runs else 0
    last = next((r for r in reversed(held.values()) if int(r["generation"]) > reached_generation), None)
    return Account(runs=tuple(runs), newest=newest, held=last, blocked=blocked, pinned=pinned)


def _is_settled(records: Sequence[Mapping[str, Any]], run_id: str) -> bool:
    return any(
        r["run_id"] == run_id if r["kind"] in ("run", "force", "redrive") else r.get("of") == run_id
        for r in records
        if r["kind"] in ("run", "force", "override", "redrive", "discard")
    )


def find_run(ledger: Ledger, run_id: str) -> dict[str, Any]:
    """The newest record of one run.

    Args:
        ledger: The job's ledger.
        run_id: The run's id, the beginning of it, or `latest`.

    Raises:
        ConfigError: There is no such run, or several.
    """
    own = [record for record in ledger.records({}) if record["kind"] in ATTEMPTS]
    newest = {str(record["run_id"]): record for record in own}  # a run's last record says how it ended
    found = [str(own[-1]["run_id"])] if run_id == "latest" and own else [i for i in newest if i.startswith(run_id)]
    if len(found) != 1:
        known = ", ".join(list(newest)[: -SHOWN_RUNS - 1 : -1])
        raise ConfigError(
            f"run {run_id}: expected the id of one run of job {ledger.job}; it fits {len(found)}. "
            f"The newest are: {known or 'none yet'}."
        )
    return newest[found[0]]


def content_key_of(record: Mapping[str, Any]) -> str:
    """What decides the values of a published run."""
    return str(record.get("content_key") or record["run_key"])


def find_standing(account: Account, content_key: str, generation: int, interval: str, *, force: bool) -> Standing:
    """What a run with this key would do.

    Args:
        account: What the ledger says of the interval.
        content_key: The run's.
        generation: The generation that it would publish, read before the account.
        interval: The interval, for messages.
        force: Publish even what is published.
    """
    current = account.current
    if account.blocked is not None:
        message = (
            f"interval {interval} is blocked: {account.blocked}. Nothing was written. "
            "`batchscore block CONFIG --interval … --lift` lets it run again."
        )
        return Standing(action="blocked", generation=generation, current=current, message=message)
    if force:
        return Standing(action="replace" if current else "new", generation=generation, current=current)
    if current is not None and content_key_of(current) == content_key:
        return Standing(action="unchanged", generation=int(current["generation"]), current=current)
    older = next((run for run in account.runs[:-1] if content_key_of(run) == content_key), None)
    if older is not None and current is not None:
        message = (
            f"interval {interval}: this run key was published by run {older['run_id']} and replaced by run "
            f"{current['run_id']} (generation {current['generation']}). Nothing was written. "
            "To publish it again on purpose, use --force."
        )
        return Standing(action="superseded", generation=generation, current=current, message=message)
    if account.held is not None and content_key_of(account.held) == content_key:
        held = account.held["run_id"]
        message = (
            f"interval {interval}: run {held} has scored these inputs and is held. Nothing was written. Look at it "
            f"(`batchscore show CONFIG {held}`), then `batchscore publish CONFIG {held} --override REASON`, or "
            f"`batchscore discard CONFIG {held}`."
        )
        return Standing(action="held", generation=generation, current=current, message=message)
    return Standing(action="replace" if current else "new", generation=generation, current=current)
