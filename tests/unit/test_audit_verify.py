"""Verification: a chain as it was written has no fault, and a thousand random changes of one are all found."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from batchscore.audit.chain import COLUMNS, GENESIS, seal
from batchscore.audit.fold import Head
from batchscore.audit.verify import ChainFault, Core, find_faults

MUTATIONS = 1000
RUNS = 12
Row = dict[str, Any]
MODEL = {"name": "delay", "version": 1, "sha256": "ab" * 32}


def make_chain() -> tuple[list[Row], Head, list[Core]]:
    """Runs, with a failure and a decision between them; the scores log quotes the chain's end at each plan."""
    rows: list[Row] = []
    cores: list[Core] = []

    def add(record: Mapping[str, Any]) -> None:
        rows.append(seal(record, len(rows) + 1, rows[-1]["sha256"] if rows else GENESIS))

    for run in range(RUNS):
        end = {"seq": len(rows), "sha256": rows[-1]["sha256"] if rows else GENESIS}
        record = {
            "kind": "run",
            "status": "published",
            "job": "flights",
            "interval": f"2013-10-{run + 1:02d}T04:00:00Z",
            "run_id": f"run-{run}",
            "generation": 1,
            "run_key": f"{run:064x}",
            "content_key": f"{run:064x}",
            "of": None,
            "config_sha256": "cc" * 32,
            "started_at": f"2013-10-{run + 2:02d}T04:00:00Z",
            "model": MODEL,
            "counts": {"read": 10 + run, "scored": 9 + run, "quarantined": 1},
            "timings_s": {"score": 1.25 + run},
        }
        cores.append(Core(run + 1, {**record, "timings_s": {}, "chain": end}))
        add(record)
        if run % 3 == 0:
            add(
                {"kind": "failed", "status": "failed", "job": "flights", "run_id": f"failed-{run}", "error": "é \u2028"}
            )
        if run % 4 == 0:
            add({"kind": "block", "status": "block", "job": "flights", "reason": "a strike"})
    return rows, Head(len(rows), rows[-1]["sha256"], RUNS), cores


ROWS, HEAD, CORES = make_chain()


def verify(rows: Sequence[Row], head: Head = HEAD, cores: Sequence[Core] = CORES) -> list[ChainFault]:
    return list(find_faults(sorted(rows, key=lambda row: row["seq"]), head, cores))


def test_a_chain_as_it_was_written_has_no_fault() -> None:
    assert verify(ROWS) == []
    assert verify([], Head(0, GENESIS, -1), []) == []


def change_byte(rows: list[Row], chance: random.Random) -> None:
    row = chance.choice(rows)
    name = chance.choice([name for name, _ in COLUMNS if row[name] is not None])
    text = str(row[name]).encode()
    place = chance.randrange(len(text))
    other = chance.choice([b for b in b'0123456789abcdefXYZ"{}:,' if b != text[place]])
    changed = (text[:place] + bytes([other]) + text[place + 1 :]).decode(errors="replace")
    digits = isinstance(row[name], int) and changed.isdigit()
    row[name] = int(changed) if digits else row[name] + 1 if isinstance(row[name], int) else changed


def remove(rows: list[Row], chance: random.Random) -> None:
    del rows[chance.randrange(len(rows))]


def double(rows: list[Row], chance: random.Random) -> None:
    rows.insert(chance.randrange(len(rows)), dict(chance.choice(rows)))


def swap_places(rows: list[Row], chance: random.Random) -> None:
    one, other = chance.sample(rows, 2)
    one["seq"], other["seq"] = other["seq"], one["seq"]


def swap_contents(rows: list[Row], chance: random.Random) -> None:
    one, other = chance.sample(rows, 2)
    for name in ("kind", "job", "interval", "run_id", "generation", "run_key", "status", "record"):
        one[name], other[name] = other[name], one[name]


def add_forged(rows: list[Row], chance: random.Random) -> None:
    forged = {"kind": "unblock", "status": "unblock", "job": "flights", "reason": "nobody"}
    rows.append(seal(forged, len(rows) + 1, rows[-1]["sha256"]))


def forge_all(rows: list[Row], chance: random.Random) -> None:
    """A record changed with every digest after it made anew, as one who holds the audit alone could do."""
    place = chance.randrange(len(rows))
    record = json.loads(rows[place]["record"])
    record["reason"] = "forged"
    rows[place] = seal(record, place + 1, rows[place]["prev_sha256"])
    for later in range(place + 1, len(rows)):
        rows[later] = seal(json.loads(rows[later]["record"]), later + 1, rows[later - 1]["sha256"])


KINDS: tuple[Callable[[list[Row], random.Random], None], ...] = (
    *(change_byte,) * 6,  # most of them
    *(remove, double, swap_places, swap_contents, add_forged, forge_all),
)


def test_a_thousand_random_mutations_are_found() -> None:
    chance = random.Random(2013)
    missed = []
    for number in range(MUTATIONS):
        rows = [dict(row) for row in ROWS]
        kind = chance.choice(KINDS)
        kind(rows, chance)
        if sorted(rows, key=str) != sorted(ROWS, key=str) and not verify(rows):
            missed.append((number, kind.__name__))
    assert missed == []


def test_the_first_broken_link_is_named() -> None:
    rows = [dict(row) for row in ROWS]
    rows[6]["status"] = "held"
    rows[9]["record"] = rows[9]["record"].replace("published", "Published")
    faults = verify(rows)
    assert [fault.seq for fault in faults] == [7, 10]
    assert faults[0].what == "its digest is not that of its content: the row was changed"


def forge(place: int, **changes: Any) -> tuple[list[Row], Head]:
    rows = [dict(row) for row in ROWS]
    record = {**json.loads(rows[place]["record"]), **changes}
    rows[place] = seal(record, place + 1, rows[place]["prev_sha256"])
    for later in range(place + 1, len(rows)):
        rows[later] = seal(json.loads(rows[later]["record"]), later + 1, rows[later - 1]["sha256"])
    return rows, Head(len(rows), rows[-1]["sha256"], RUNS)


FORGED: list[tuple[dict[str, Any], str]] = [
    ({"counts": {"read": 10, "scored": 10, "quarantined": 0}}, "scores version 1 says another thing of its counts"),
    ({"model": {**MODEL, "sha256": "ef" * 32}}, "scores version 1 says another thing of its model"),
    ({"generation": 2, "run_key": "0"}, "scores version 1 says another thing of its generation, run_key"),
    ({"timings_s": {}}, "scores version 2 (run run-1) quotes another digest of this row"),
]


@pytest.mark.parametrize(("changes", "what"), FORGED)
def test_two_stores_must_be_forged_together(changes: dict[str, Any], what: str) -> None:
    """Row 3 is what the second run quotes; the whole audit and its own log are forged to fit."""
    rows, head = forge(2 if "timings_s" in changes else 0, **changes)
    faults = verify(rows, head)
    assert any(what in fault.what for fault in faults), faults


GONE: list[tuple[int, str]] = [
    (len(ROWS) - 1, "the chain goes on to row 19 by the audit table's log; rows are gone"),
    (0, "expected sequence number 1; found 2: a row was removed, doubled, or moved"),
]


@pytest.mark.parametrize(("place", "what"), GONE)
def test_rows_that_are_gone(place: int, what: str) -> None:
    rows = [row for number, row in enumerate(ROWS) if number != place]
    assert verify(rows)[0].what == what


def test_an_audit_that_was_cut_and_sealed_anew_lacks_what_the_scores_log_says() -> None:
    rows = ROWS[:-3]
    faults = verify(rows, Head(len(rows), rows[-1]["sha256"], RUNS))
    assert any("was published by run run-11; its record is gone" in fault.what for fault in faults)


def test_commits_that_are_not_folded_yet_are_no_fault() -> None:
    end = {"seq": HEAD.seq, "sha256": HEAD.sha256}
    newer = Core(RUNS + 1, {**CORES[-1].content, "run_id": "run-new", "chain": end})
    assert verify(ROWS, HEAD, [*CORES, newer]) == []
