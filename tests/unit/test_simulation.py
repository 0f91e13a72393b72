"""Thousands of seeded interleavings of the real publish code, with crashes and strangers: no law is broken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from broken_parts import BROKEN
from fake_pipeline import check_fast_canonical
from programs import KINDS, STRANGERS, Report
from simulation import FAULTS, Simulation, Theatre

SEEDS = 20_000
FEW = 4_000
CHUNK = 20_000
CHUNKS = 15  # of the long round: 300,000 seeds
RARE = "holds outlast newer runs"  # one seed in ten thousand

# What 20,000 seeds hold at least; without these figures the test might pass on nothing.
AT_LEAST = {
    "crash": 15_000,
    "pause": 7_000,
    "lost": 5_000,
    "failed": 5_000,
    "unread": 3_000,
    "outage": 2_000,
    "skew": 10_000,
    "jump": 400,
    **dict.fromkeys(KINDS, 1_000),
    "resume": 3_000,
    "unblock": 700,
    "release": 700,
    **dict.fromkeys(STRANGERS, 1_000),
    "again": 3_000,
    "moved": 1_500,
    "resumed": 1_500,
    "same key at once": 1_500,
    "other key at once": 3_000,
    "other interval at once": 2_000,
    "run published": 8_000,
    "run unchanged": 5_000,
    "run held": 1_500,
    "force published": 900,
    "rollback published": 500,
    "override published": 400,
    "resume published": 400,
    "discard done": 500,
    "block done": 500,
    "unblock done": 200,
    "release done": 200,
    "RunSuperseded": 1_500,
    "RunHeld": 500,
    "IntervalBlocked": 1_500,
    "ChecksFailed": 1_500,
}


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    with Theatre() as found:
        yield found


def play(theatre: Theatre, seeds: range) -> Counter[str]:
    """Play seeds, and count what happened in them; the first that breaks a law fails the test, step by step."""
    counted: Counter[str] = Counter()
    for seed in seeds:
        world, violations = theatre.play(seed)
        if violations:
            pytest.fail(theatre.explain(seed), pytrace=False)
        counted.update(count(world))
    return counted


def count(world: Simulation) -> Counter[str]:
    """What happened in one simulation."""
    found = Counter({name: world.stats[name] for name in FAULTS})
    own = [report for report in world.reports[world.old :] if report.driver != "last"]
    for report in own:
        kind = report.program.kind
        found.update((kind, report.program.origin, f"{kind} {report.status}", type(report.error).__name__))
    runs = [report for report in own if report.program.kind == "run"]
    found.update(compare(*pair) for pair in combinations(runs, 2) if overlap(*pair))
    return found


def overlap(one: Report, other: Report) -> bool:
    return one.started < other.ended and other.started < one.ended


def compare(one: Report, other: Report) -> str:
    """How two runs at once stand to each other."""
    if one.program.interval != other.program.interval:
        return "other interval at once"
    return f"{'same' if one.program.version == other.program.version else 'other'} key at once"


def test_some_seeds_break_no_law(theatre: Theatre) -> None:
    counted = play(theatre, range(FEW))
    assert {n: counted[n] for n, least in AT_LEAST.items() if counted[n] < 0.8 * least * FEW / SEEDS} == {}


@pytest.mark.slow
def test_twenty_thousand_seeds_break_no_law(theatre: Theatre) -> None:
    counted = play(theatre, range(SEEDS))
    assert {name: counted[name] for name, least in AT_LEAST.items() if counted[name] < least} == {}


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_three_hundred_thousand_seeds_break_no_law(theatre: Theatre, chunk: int) -> None:
    first = SEEDS + chunk * CHUNK
    counted = play(theatre, range(first, first + CHUNK))
    assert {name: counted[name] for name, least in AT_LEAST.items() if counted[name] < 0.9 * least} == {}


@pytest.mark.parametrize("name", [name for name in BROKEN if name != RARE])
def test_a_broken_store_or_protocol_is_seen(name: str) -> None:
    with Theatre(**BROKEN[name]) as broken:
        assert any(broken.play(seed)[1] for seed in range(SEEDS)), "no seed finds it"


@pytest.mark.slow
def test_a_broken_account_that_few_seeds_reach_is_seen() -> None:
    with Theatre(**BROKEN[RARE]) as broken:
        assert any(broken.play(seed)[1] for seed in range(10 * SEEDS)), "no seed finds it"


def test_a_seed_replays_step_by_step(theatre: Theatre) -> None:
    first, second = theatre.explain(17), theatre.explain(17)
    assert first == second
    assert first.startswith("seed 17:\n")
    assert first.endswith("replay: python tests/unit/simulation.py --seed 17")
    assert len(re.findall(r"(?m)^ *\d+ \w+'* +(scores|audit|quarantine|stages) ", first)) > 50


def test_the_fast_canonical_json_is_that_of_rfc_8785(theatre: Theatre) -> None:
    world: Any = theatre.play(17)[0]
    assert world.audit.rows
    assert all(check_fast_canonical(dict(row)) for row in world.audit.rows)


def test_drivers_that_wait_for_each_other_are_seen(theatre: Theatre) -> None:
    world, _ = theatre.play(17)
    world.holders["scores"] = world.driver
    world.add_last(world.reports[-1].program)
    world.drivers[0].waits_for = "scores"
    assert world.run_all() == ["every driver waits for a lock"]
