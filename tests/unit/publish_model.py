"""Explicit-state model of publishing: every interleaving of a few drivers, deaths and faults over one interval.

A state holds the three logs, the stages, and where each driver stands; `explore` visits every reachable state, checks
the laws in each, and hands back the shortest way to the first that breaks one. A driver may stand still for ever so
long between two steps, since others may go on; it may be killed at any step, and is then started again under a new run
id. A step is one access to what drivers share. What a store answers is left out where the protocol ignores it: a write
that landed with its answer lost, or raced and was refused, is the same here as one that landed, or failed.

action      what it does                                               where it lives
----------  ---------------------------------------------------------  -------------------------------------------
start       repair before anything else                                batchscore.ledger.Ledger.repair
take        claim the stage of an earlier run                          batchscore.settlement.Settlement.claim
number      read the generation, before what is published              batchscore.publish.protocol.next_generation
account     what a run may do, by what is published                    batchscore.ledger.find_standing
account     `rollback`: which run to restore                           batchscore.republish.rollback_interval
account     `publish --override`: whether the run is still held        batchscore.republish.override_held
account     `resume`: whether what its plan saw still stands           batchscore.republish.resume_run
judge       the stage is whole: publish, hold or fail                  batchscore.pipeline.publish_stage
decide      `discard`: whether the stage is still nobody's             batchscore.decisions.discard_run
quarantine  append under the run's own transaction id                  batchscore.publish.protocol.publish
scores      replace the interval's rows under its transaction id       batchscore.publish.protocol.publish
readback    read the log, whatever the store said                      batchscore.publish.protocol.publish
audit       repair after the commit, or with a held event              batchscore.ledger.Ledger.repair
failing     record a failure, unless the log has the run               batchscore.settlement.Settlement.fail
read        what the audit lacks, and the chain's transaction version  batchscore.audit.fold.fold
append      append it under the chain's next version                   batchscore.audit.fold.fold
settle      remove a dead driver's stage, or keep it for `resume`      batchscore.ledger.Ledger.repair
note        leave the stage of a failed run for `resume`               batchscore.settlement.Settlement.note
drop        remove the stage of a run that is published                batchscore.settlement.Settlement.drop_stage

Assumed: a commit is put-if-absent (on a local disk, by lock); a claim excludes others and ends with its process; Delta
writes nothing for a transaction version that is not above the last of its id. `read` is one step, since the chain's
version is read first: whatever lands later makes the append void. Blocks and pins are left out: they are read once, by
the plan, and no commit writes them. Each name in `publish_scenarios.MUTANTS` drops one rule or one of the first two
assumptions.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from publish_laws import (
    Audit,
    Commit,
    Driver,
    Fold,
    Row,
    Scenario,
    Stage,
    State,
    count_published,
    find_broken,
    find_broken_at_end,
    finish,
    is_claimed,
    is_discarded,
    is_gone,
    put,
    restage,
    tip_gen,
)

Steps = Iterator[tuple[str, State]]


@dataclass(frozen=True)
class Result:
    """What an exploration found: states, ends among them, how drivers end, the first broken law, and its trace."""

    states: int
    ends: int
    seconds: float
    outcomes: frozenset[str]
    violation: str | None = None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.states:,} states, {self.ends:,} ends, {self.seconds:.1f} s: {self.violation or 'no violation'}"
        ]
        return "\n".join([*lines, *(f"{n:3}. {step}" for n, step in enumerate(self.trace, 1))])


class Model:
    """One scenario under the protocol, or under a broken variant of it."""

    def __init__(self, scenario: Scenario, broken: str = "") -> None:
        # The janitor is the repair of whoever comes next: it goes when all others have ended.
        self.intents = [*(tuple(f"{intent} ".split(" ")[:2]) for intent in scenario.drivers), ("repair", "")]
        self.names = [*"ABCDEFG"[: len(scenario.drivers)], "janitor"]
        self.scenario = scenario
        self.broken = broken

    def first(self) -> State:
        """The state before any driver's first step."""
        runs = [(f"p{n}", n, key) for n, key in enumerate(self.scenario.published, 1)]
        scores = tuple(Commit(run, n, n, key, key, "run", "", key, "") for run, n, key in runs)
        rows: tuple[Row, ...] = tuple(("published", run, "") for run, _, _ in runs)
        stages: tuple[Stage, ...] = ()
        if self.scenario.stage:
            state, key = self.scenario.stage.split()
            stages = (Stage("s", state, len(runs) + 1, key),)
            rows = rows if state in ("partial", "staged") else (*rows, (state, "s", ""))
        audit = Audit(rows, 1, 1) if rows else Audit()
        drivers = (Driver(),) * len(self.intents)
        return State(scores, tuple((run, 1) for run, _, _ in runs), audit, stages, drivers, self.scenario.deaths)

    def successors(self, s: State) -> Steps:
        """Every step that any driver may take, with what it is called."""
        last = len(self.intents) - 1
        for i, d in enumerate(s.drivers):
            if d.pc == "end" or (i == last and any(other.pc != "end" for other in s.drivers[:last])):
                continue
            for label, new in getattr(self, d.pc)(s, i, d):
                yield f"{self.names[i]} ({' '.join(self.intents[i]).strip()}): {label}", new
            if s.deaths and d.pc != "start" and i != last:
                killed = put(s, i, Driver(attempt=d.attempt + 1), deaths=s.deaths - 1)
                yield f"{self.names[i]} is killed before {d.pc}, and started again", killed

    # -- repair and fold ----------------------------------------------------------------------------------------------

    def start(self, s: State, i: int, d: Driver) -> Steps:
        verb = self.intents[i][0]
        first = {"repair": "end", "expire": "end", "optimize": "maintain"}.get(verb, "number")
        first = "take" if verb in ("override", "resume", "discard") else first
        if self.broken == "generation read after the account" and first == "number":
            first = "account"
        return self._repair(s, i, d, (), first)

    def audit(self, s: State, i: int, d: Driver) -> Steps:
        events: tuple[Row, ...] = (("held", d.run, ""),) if d.outcome == "held" else ()
        return self._repair(s, i, d, events, "drop" if d.own and not events else "end")

    def _repair(self, s: State, i: int, d: Driver, events: tuple[Row, ...], then: str) -> Steps:
        """Look at every stage that nobody has claimed, and claim those that are to be settled."""
        b = self.broken
        todo: list[tuple[str, str]] = []
        for stage in s.stages:
            run, state = stage.run, stage.state
            live = is_claimed(s, run)
            if (live and b != "repair ignores claims") or run == d.own:
                continue
            told = ("held", run, "") in s.audit.rows
            if self._is_over(s, run):
                todo.append((run, "remove"))
            elif state in ("partial", "staged"):
                events += (("abandoned", run, ""),)
                todo.append((run, "remove" if state == "partial" else "keep"))
            elif state == "held" and not told and b != "repair leaves untold holds":
                events += (("held", run, ""),)
            elif self.intents[i][0] == "expire" and (state != "held" or told):
                events += (("discard", run, ""),) if state == "held" else ()
                todo.append((run, "remove"))
        held = () if b == "repair looks without a claim" else tuple(run for run, _ in todo)
        fold = Fold(events, tuple(todo), held, then)
        if todo:
            yield "looks at the stages", put(s, i, d._replace(pc="read", fold=fold))
        else:  # nothing seen, nothing claimed: one step with what follows
            yield from self.read(s, i, d._replace(fold=fold))

    def _is_over(self, s: State, run: str) -> bool:
        if self.broken == "repair ignores the scores log":
            return is_discarded(s, run)
        if self.broken == "repair does not know overrides":
            return is_discarded(s, run) or any(commit.run == run for commit in s.scores)
        return is_discarded(s, run) or is_gone(s, run)

    def read(self, s: State, i: int, d: Driver) -> Steps:
        b, fold, audit = self.broken, d.fold, s.audit
        assert fold is not None
        shared = ("held", "abandoned", "discard") if b != "events are never left out" else ()
        events = tuple(e for e in fold.events if e[0] not in shared or e not in audit.rows)
        low, high = count_published(audit), len(s.scores)
        if not events and low >= high:
            yield from self._folded(s, i, d)
            return
        txn = audit.txn + 1
        if b == "chain keyed by table version":
            txn = audit.version + 1
        elif b == "chain keyed by sequence number":
            txn = len(audit.rows) + len(events) + high - low
        fold = fold._replace(events=events, txn=txn, low=low, high=high)
        yield "reads what the audit lacks", put(s, i, d._replace(pc="append", fold=fold))

    def append(self, s: State, i: int, d: Driver) -> Steps:
        fold, audit = d.fold, s.audit
        assert fold is not None
        again = d._replace(pc="read", fold=fold._replace(txn=0, low=0, high=0))
        if fold.txn <= audit.txn and self.broken != "audit without compare-and-set":
            if self.broken == "a skipped append counts as done":
                yield from self._folded(s, i, d, "appends nothing, and believes it did")
            else:
                yield "appends nothing: another fold was first", put(s, i, again)
            return
        new = tuple(("published", commit.run, "") for commit in s.scores[fold.low : fold.high])
        grown = Audit((*audit.rows, *new, *fold.events), audit.version + 1, fold.txn)
        yield from self._folded(s._replace(audit=grown), i, d, "appends to the audit")
        yield "fails to append", put(s, i, again)

    def _folded(self, s: State, i: int, d: Driver, label: str = "finds the audit complete") -> Steps:
        fold = d.fold
        assert fold is not None
        if fold.todo:
            yield label, put(s, i, d._replace(pc="settle", fold=fold._replace(txn=0, low=0, high=0, events=())))
        elif fold.then == "end":
            yield label, put(s, i, finish(d, d.outcome or "done"))
        else:
            yield label, put(s, i, d._replace(pc=fold.then, fold=None))

    def settle(self, s: State, i: int, d: Driver) -> Steps:
        assert d.fold is not None
        (run, how), *rest = d.fold.todo
        others = s._replace(drivers=(*s.drivers[:i], Driver(), *s.drivers[i + 1 :]))
        fault = ""
        if is_claimed(others, run) and not is_gone(s, run):
            fault = "repair touches the stage of a live driver"
        elif not is_gone(s, run) and not any(row[1] == run for row in s.audit.rows):
            fault = "a stage goes without a word in the audit"
        stages = restage(s.stages, run, "abandoned" if how == "keep" else None)
        moved = d._replace(fold=d.fold._replace(todo=tuple(rest)))
        yield from self._folded(s._replace(stages=stages, fault=fault), i, moved, f"{how}s the stage of {run}")

    def maintain(self, s: State, i: int, d: Driver) -> Steps:
        """OPTIMIZE of the audit table: a commit without a transaction id."""
        audit = s.audit._replace(version=s.audit.version + 1)
        yield "commits to the audit table", put(s, i, finish(d, "done"), audit=audit)

    # -- plan and stage -----------------------------------------------------------------------------------------------

    def take(self, s: State, i: int, d: Driver) -> Steps:
        verb, b = self.intents[i][0], self.broken
        known = {row[1] for row in s.audit.rows}
        found = [stage for stage in s.stages if stage.state != "partial" and stage.run in known]
        found = [stage for stage in found if verb == "discard" or (stage.state == "held") == (verb == "override")]
        if not found:
            yield "finds no such stage", put(s, i, finish(d, "refused"))
        for stage in found:
            run = stage.run
            free = not is_claimed(s, run) or b == "claims do not exclude"
            own = "" if b == "discard without a claim" and verb == "discard" else run
            if free or not own:
                after = d._replace(pc="decide" if verb == "discard" else "number", own=own, run=run)
                yield f"claims the stage of {run}", put(s, i, after)
            elif b == "a busy resume tells a failure" and verb == "resume":
                after = d._replace(pc="failing", run=run, outcome="refused")
                yield f"finds the stage of {run} claimed", put(s, i, after)
            else:
                yield f"finds the stage of {run} claimed", put(s, i, finish(d, "refused"))

    def decide(self, s: State, i: int, d: Driver) -> Steps:
        if is_gone(s, d.run) and self.broken != "discard does not read the log":
            yield f"refuses to discard {d.run}: it was published", put(s, i, finish(d, "refused"))
        else:
            then = "drop" if d.own else "end"
            yield from self.read(s, i, d._replace(fold=Fold((("discard", d.run, ""),), (), (), then)))

    def number(self, s: State, i: int, d: Driver) -> Steps:
        gen = tip_gen(s) + 1
        if d.wish is not None:  # mutant: the account was read before
            after = d._replace(pc="judge" if d.own else "quarantine", gen=gen, wish=d.wish._replace(gen=gen))
            yield f"reads generation {gen}, after the account", put(s, i, after)
        else:
            yield f"reads generation {gen}", put(s, i, d._replace(pc="account", gen=gen))

    def account(self, s: State, i: int, d: Driver) -> Steps:
        verb, content = self.intents[i]
        run = f"{self.names[i]}{d.attempt}"
        late = self.broken == "generation read after the account"
        d = d._replace(gen=tip_gen(s) + 1 if late else d.gen)
        if verb in ("override", "resume"):
            yield from self._account_stage(s, i, d, run if verb == "override" else d.run)
            return
        d = d._replace(run=run)
        if verb == "rollback":
            if len(s.scores) < 2:
                yield "finds no older run", put(s, i, finish(d, "refused"))
                return
            older = s.scores[-2]
            rows = s.scores[-1].rows if self.broken == "rollback reads the newest version" else older.rows
            yield from self._wish(s, i, d, "rollback", older.content, of=older.run, rows=rows)
            return
        refusal = self._find_standing(s, content) if verb != "force" else ""
        if refusal == "unchanged":
            fault = "" if s.scores[-1].content == content else "false success: unchanged, but another key stands"
            yield "finds its key published", put(s, i, finish(d, refusal), fault=fault)
        elif refusal:
            yield f"is refused as {refusal}", put(s, i, d._replace(pc="failing", outcome=refusal))
        else:
            stages = (*s.stages, Stage(run, "partial", d.gen, content))
            kind = "force" if verb == "force" else "run"
            yield from self._wish(s._replace(stages=stages), i, d._replace(own=run), kind, content)

    def _find_standing(self, s: State, content: str) -> str:
        contents = [commit.content for commit in s.scores]
        if contents and contents[-1] == content:
            return "unchanged"
        if content in contents and self.broken != "an older key is not looked for":
            return "unchanged" if self.broken == "an older key counts as unchanged" else "superseded"
        held = any(stage.content == content and self._is_held(s, stage) for stage in s.stages)
        return "held back" if held else ""

    def _is_held(self, s: State, stage: Stage) -> bool:
        """Whether a run is held still: told so, not discarded, and planned on what readers see now."""
        told = ("held", stage.run, "") in s.audit.rows and not is_discarded(s, stage.run)
        if self.broken == "a hold outlives a newer run":  # overtaken only by what the audit tells after it
            after = s.audit.rows[s.audit.rows.index(("held", stage.run, "")) :] if told else ()
            new = s.scores[count_published(s.audit) :]
            return told and not new and all(row[0] != "published" for row in after)
        return told and stage.gen > tip_gen(s)

    def _account_stage(self, s: State, i: int, d: Driver, run: str) -> Steps:
        b, verb = self.broken, self.intents[i][0]
        stage = next((stage for stage in s.stages if stage.run == d.own), None)
        if stage is None or (is_discarded(s, stage.run) and b != "resume does not look for a discard"):
            yield f"finds {d.own} discarded", put(s, i, finish(d, "refused"))
        elif verb == "override":
            if not self._is_held(s, stage) and b != "override does not look whether it is held":
                yield f"finds {d.own} no longer held", put(s, i, finish(d, "refused"))
                return
            d = d._replace(run=stage.run if b == "override under the held run's id" else run)
            yield from self._wish(s, i, d, "override", stage.content, of=stage.run, planned=stage.gen)
        elif is_gone(s, run):
            yield f"finds {run} published", put(s, i, finish(d, "refused"))
        elif stage.gen != d.gen and b != "resume takes a new generation":
            yield f"finds {run} superseded", put(s, i, d._replace(pc="failing", outcome="superseded"))
        else:
            s = s._replace(stages=restage(s.stages, run, "staged"))
            yield from self._wish(s, i, d, "resume", stage.content, planned=stage.gen)

    def _wish(self, s: State, i: int, d: Driver, kind: str, content: str, **known: Any) -> Steps:
        plain = kind in ("run", "resume") or self.broken == "no salt"
        given = {"of": "", "rows": content, "planned": d.gen, **known}
        key = content if plain else f"{content}/{d.run}"
        wish = Commit(run=d.run, gen=d.gen, content=content, key=key, kind=kind, by=self.names[i], **given)
        pc = "judge" if kind in ("run", "force") else "quarantine"
        if self.broken == "generation read after the account" and kind in ("run", "force", "rollback"):
            pc = "number"
        yield f"plans {kind} of {content} as {d.run}", put(s, i, d._replace(pc=pc, wish=wish))

    def judge(self, s: State, i: int, d: Driver) -> Steps:
        if self.intents[i][0] == "hold":
            held = put(s, i, d._replace(pc="audit", outcome="held", wish=None), stages=restage(s.stages, d.run, "held"))
            yield "is held by a gate", held
            return
        ready = {"quarantine after scores": "scores", "audit before scores": "intend"}.get(self.broken, "quarantine")
        yield "stages every row", put(s, i, d._replace(pc=ready), stages=restage(s.stages, d.run, "staged"))
        yield "fails before its stage is whole", put(s, i, d._replace(pc="failing", outcome="failed"))

    # -- publish ------------------------------------------------------------------------------------------------------

    def intend(self, s: State, i: int, d: Driver) -> Steps:
        rows = (*s.audit.rows, ("published", d.run, ""))
        audit = Audit(rows, s.audit.version + 1, s.audit.txn + 1)
        yield "tells the audit beforehand", put(s, i, d._replace(pc="quarantine"), audit=audit)

    def quarantine(self, s: State, i: int, d: Driver) -> Steps:
        b, counts = self.broken, dict(s.quarantine)
        assert d.wish is not None
        if b == "quarantine replaced by interval":
            counts = {d.run: 1}
        elif b == "quarantine without a transaction id":
            counts[d.run] = counts.get(d.run, 0) + 1
        elif not (b == "rollback copies no quarantine" and d.wish.kind == "rollback"):
            counts[d.run] = 1
        after = (
            d._replace(pc="audit", outcome="published") if b == "quarantine after scores" else d._replace(pc="scores")
        )
        yield "appends its quarantine", put(s, i, after, quarantine=tuple(sorted(counts.items())))
        yield "gives up on its quarantine", put(s, i, d._replace(pc="failing", outcome="failed"))

    def scores(self, s: State, i: int, d: Driver) -> Steps:
        b, after = self.broken, d._replace(pc="readback")
        assert d.wish is not None
        published = d._replace(pc="audit", outcome="published")
        if tip_gen(s) >= d.gen and b != "no transaction id":
            yield "commits nothing, and is told success", put(s, i, published if b == "success is trusted" else after)
            return
        landed = (*s.scores, d.wish)
        yield "commits its scores", put(s, i, after, scores=landed)
        if b == "exceptions are trusted":
            lost = d._replace(pc="failing", outcome="failed")
            yield "commits its scores, and is told failure", put(s, i, lost, scores=landed)
        if b == "log store without put-if-absent":
            yield "looks for the next version", put(s, i, d._replace(pc="rename", seen=len(s.scores)))
        yield "fails to commit", put(s, i, after)

    def rename(self, s: State, i: int, d: Driver) -> Steps:
        assert d.wish is not None
        after = d._replace(pc="readback", seen=0)
        yield "renames over that version", put(s, i, after, scores=(*s.scores[: d.seen], d.wish))

    def readback(self, s: State, i: int, d: Driver) -> Steps:
        wish, tip = d.wish, s.scores[-1] if s.scores else None
        assert wish is not None
        if any(commit.run == d.run for commit in s.scores):
            after = d._replace(pc="quarantine" if self.broken == "quarantine after scores" else "audit")
            yield "finds its commit", put(s, i, after._replace(outcome="published"))
        elif tip is not None and tip.gen >= d.gen and tip.content == wish.key:
            yield "finds its key published meanwhile", put(s, i, d._replace(pc="audit", outcome="unchanged"))
        elif tip is not None and tip.gen >= d.gen:
            yield "finds itself superseded", put(s, i, d._replace(pc="failing", outcome="superseded"))
        else:
            yield "finds nothing, and tries again", put(s, i, d._replace(pc="scores"))
            yield "finds nothing, and gives up", put(s, i, d._replace(pc="failing", outcome="failed"))
        yield "cannot read the log", put(s, i, d._replace(pc="failing", outcome="unread"))

    def failing(self, s: State, i: int, d: Driver) -> Steps:
        log = s.scores[count_published(s.audit) if self.broken == "failure looks at unfolded commits only" else 0 :]
        published = any(commit.run == d.run for commit in log) and self.broken != "exceptions are trusted"
        event = ("failed", d.run, f"{self.names[i]}{d.attempt}")
        fold = Fold(() if published else (event,), (), (), "note" if d.own == d.run else "end")
        yield from self.read(s, i, d._replace(fold=fold, wish=None, gen=0))

    def note(self, s: State, i: int, d: Driver) -> Steps:
        stage = next((stage for stage in s.stages if stage.run == d.own), None)
        whole = stage is not None and stage.state != "partial" and not is_gone(s, d.own)
        whole = whole and d.outcome != "superseded"  # such rows will never be published
        stages = restage(s.stages, d.own, "failed" if whole else None)
        yield f"{'keeps' if whole else 'removes'} its stage", put(s, i, finish(d, d.outcome), stages=stages)

    def drop(self, s: State, i: int, d: Driver) -> Steps:
        after = put(s, i, finish(d, d.outcome or "done"), stages=restage(s.stages, d.own, None))
        yield f"removes the stage of {d.own}", after


def explore(scenario: Scenario, broken: str = "", *, cap: int = 5_000_000, model: type[Model] = Model) -> Result:
    """Visit every state, nearest first, until one breaks a law or more than `cap` were seen."""
    ways, begun = model(scenario, broken), time.perf_counter()
    first = ways.first()
    parents: dict[State, State | None] = {first: None}
    pool: dict[Any, Any] = {}
    queue, ends = deque([first]), 0
    outcomes: set[str] = set()

    def found(state: State, violation: str) -> Result:
        path = [state]
        while (parent := parents[path[-1]]) is not None:
            path.append(parent)
        pairs = zip(path[:0:-1], path[-2::-1], strict=True)
        trace = tuple(next(label for label, new in ways.successors(a) if new == b) for a, b in pairs)
        return Result(len(parents), ends, time.perf_counter() - begun, frozenset(outcomes), violation, trace)

    while queue:
        state = queue.popleft()
        quiet = True
        for _, new in ways.successors(state):
            quiet = False
            if new in parents:
                continue
            new = new._replace(drivers=pool.setdefault(new.drivers, new.drivers))  # noqa: PLW2901 - same, but shared
            parents[new] = state
            if violation := find_broken(new, ways.names):
                return found(new, violation)
            if len(parents) > cap:
                return found(new, f"more than {cap:,} states")
            queue.append(new)
        if quiet:
            ends += 1
            ended = zip(ways.intents, state.drivers, strict=True)
            outcomes.update(f"{verb}: {d.outcome}" for (verb, _), d in ended)
            if violation := find_broken_at_end(state, ways.names):
                return found(state, violation)
    return Result(len(parents), ends, time.perf_counter() - begun, frozenset(outcomes))


def main(arguments: list[str]) -> int:
    """Explore every scenario, and every broken variant; say what was found."""
    from publish_scenarios import FULL, MUTANTS, SCENARIOS  # noqa: PLC0415 - they are of this module's terms

    states = wrong = 0
    for scenario in (*SCENARIOS, *(FULL if "--full" in arguments else ())):
        result = explore(scenario)
        states, wrong = states + result.states, wrong + (result.violation is not None)
        sys.stdout.write(f"{scenario}\n  {result}\n")
        sys.stdout.flush()
    for name, (scenario, expected) in MUTANTS.items():
        result = explore(scenario, name)
        wrong += result.violation != expected
        sys.stdout.write(f"broken: {name}\n  {result}\n")
    sys.stdout.write(f"{states:,} states, {len(MUTANTS)} broken variants: {wrong} wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
