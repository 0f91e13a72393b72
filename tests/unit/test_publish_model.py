"""The model of publishing keeps its laws in every state, and every rule that is taken out of it is missed."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path

import publish_model
import pytest
from publish_laws import Driver, Scenario, State
from publish_model import Model, Result, explore
from publish_scenarios import FULL, MUTANTS, SCENARIOS

# Every way in which a driver may end, so that no law holds only because nothing happens.
OUTCOMES = {
    "run": {"published", "unchanged", "superseded", "held back", "failed", "unread"},
    "force": {"published", "superseded", "failed", "unread"},
    "rollback": {"published", "superseded", "failed", "unread"},
    "hold": {"held", "held back", "unchanged"},
    "override": {"published", "superseded", "refused", "failed", "unread"},
    "resume": {"published", "unchanged", "superseded", "refused", "failed", "unread"},
    "discard": {"done", "refused"},
    "expire": {"done"},
    "optimize": {"done"},
    "repair": {"done"},
}
NOT_OF_THE_PROTOCOL = {"maintain", "intend", "rename"}  # others' commits, and what only mutants do


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_no_state_breaks_a_law(scenario: Scenario) -> None:
    result = explore_once(scenario)
    assert result.violation is None, str(result)


def test_drivers_end_in_every_way() -> None:
    found = set().union(*(explore_once(scenario).outcomes for scenario in SCENARIOS))
    assert found == {f"{verb}: {outcome}" for verb, outcomes in OUTCOMES.items() for outcome in outcomes}


@pytest.mark.parametrize(("name", "scenario", "law"), [(name, *where) for name, where in MUTANTS.items()], ids=MUTANTS)
def test_a_broken_rule_is_caught(name: str, scenario: Scenario, law: str) -> None:
    result = explore(scenario, name)
    assert result.violation == law, str(result)
    assert explore_once(scenario).violation is None


def test_a_trace_is_the_shortest_way_to_what_it_shows() -> None:
    result = explore(Scenario(("rollback",), 0, "ab"), "rollback copies no quarantine")
    assert result.trace == (
        "A (rollback): finds the audit complete",
        "A (rollback): reads generation 3",
        "A (rollback): plans rollback of a as A1",
        "A (rollback): appends its quarantine",
        "A (rollback): commits its scores",
    )
    assert "  5. A (rollback): commits its scores" in str(result)


def test_every_variant_is_a_rule_of_the_model() -> None:
    text = Path(publish_model.__file__).read_text(encoding="utf-8")
    assert [name for name in MUTANTS if f'"{name}"' not in text] == []


def test_the_table_names_functions_that_exist() -> None:
    rows = re.findall(r"^(\w+) +\S.*? {2,}(batchscore\.\S+)$", publish_model.__doc__ or "", re.MULTILINE)
    steps = {name for name, found in vars(Model).items() if callable(found) and not name.startswith("_")}
    assert {action for action, _ in rows} == steps - {"first", "successors"} - NOT_OF_THE_PROTOCOL
    for _, path in rows:
        assert callable(resolve(path)), path


@pytest.mark.slow
@pytest.mark.parametrize("scenario", FULL, ids=str)
def test_no_state_of_a_large_scenario_breaks_a_law(scenario: Scenario) -> None:
    result = explore(scenario)
    assert result.violation is None, str(result)


def test_a_driver_that_can_not_go_on_is_a_deadlock() -> None:
    class Stuck(Model):
        def number(self, s: State, i: int, d: Driver) -> publish_model.Steps:
            yield from ()

    result = explore(Scenario(("run a",)), model=Stuck)
    assert result.violation == "deadlock: no driver can go on"


@cache
def explore_once(scenario: Scenario) -> Result:
    """What is found in a scenario under the whole protocol."""
    return explore(scenario)


def resolve(path: str) -> object:
    """The function that a dotted path names, be it a module's or a class's."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)
