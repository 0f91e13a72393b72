"""Gates: tables of figures and the verdicts on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchscore.config import ChallengerGateConfig, DriftGateConfig, OutputGateConfig, QuarantineGateConfig
from batchscore.config import ScoreGateConfig as Scores
from batchscore.gates.drift import bin_together, judge_drift, measure_drift, resample_threshold
from batchscore.gates.limits import judge_challenger, judge_output, judge_quarantine, judge_rows, judge_scores
from batchscore.kernel.columns import ColumnTally
from batchscore.kernel.distributions import OTHERS, Distribution
from batchscore.kernel.spec import TallySpec

RANGE = TallySpec(place="scores", column="p", stats=frozenset({"count", "range", "sum"}))


def tally(*values: Any) -> dict[str, ColumnTally]:
    one = ColumnTally()
    one.add(pa.array(values, pa.float64()), RANGE)
    return {"p": one}


SCORES: list[tuple[Scores, dict[str, ColumnTally], str, str]] = [
    (Scores(between=(0, 1)), tally(0.0, 0.5, 1.0), "pass", "0 to 1, mean 0.5, 0 % missing"),
    (Scores(between=(0, 1)), tally(0.5, 1.5), "fail", "scores from 0.5 to 1.5; expected 0 to 1"),
    (Scores(between=(0, 1)), tally(-0.1, 0.5), "fail", "scores from -0.1 to 0.5; expected 0 to 1"),
    (Scores(mean_between=(0.1, 0.3)), tally(0.4, 0.4), "fail", "mean 0.4; expected 0.1 to 0.3"),
    (Scores(max_missing_pct=10), tally(0.4, None), "fail", "50 % missing; expected at most 10 %"),
    (Scores(max_missing_pct=50), tally(0.4, None), "pass", "0.4 to 0.4, mean 0.4, 50 % missing"),
    (Scores(between=(0, 1), max_missing_pct=100), tally(None, None), "pass", "none to none, mean none, 100 % missing"),
    (Scores(between=(0, 1)), {}, "open", "no row was scored"),
]


@pytest.mark.parametrize(("config", "tallies", "verdict", "found"), SCORES)
def test_scores(config: Scores, tallies: dict[str, ColumnTally], verdict: str, found: str) -> None:
    (one,) = judge_scores({"p": config}, tallies)
    assert (one.gate, one.verdict, one.found) == ("scores.p", verdict, found)


QUARANTINES = [
    (100, 2, "pass", "2 of 100 rows set aside, 2 %; expected at most 2 %"),
    (100, 3, "fail", "3 of 100 rows set aside, 3 %; expected at most 2 %"),
    (0, 0, "pass", "0 of 0 rows set aside, 0 %; expected at most 2 %"),
]


@pytest.mark.parametrize(("read", "aside", "verdict", "found"), QUARANTINES)
def test_quarantine(read: int, aside: int, verdict: str, found: str) -> None:
    one = judge_quarantine(QuarantineGateConfig(max_pct=2.0, on_fail="warn"), {"read": read, "quarantined": aside})
    assert (one.verdict, one.on_fail, one.found, one.holds) == (verdict, "warn", found, False)


def test_rows() -> None:
    counts = {"read": 5, "scored": 4, "quarantined": 1}
    assert judge_rows(counts, None).found == "5 read = 4 scored + 1 quarantined"
    assert judge_rows(counts, 5).found.endswith(", as many as the pinned files hold (5)")


NUMBERS = {"rows": 10, "psi": 0.3, "mean_abs_difference": 0.02, "rank_correlation": 0.8}
CHALLENGERS: list[tuple[dict[str, float], dict[str, Any], str, str]] = [
    ({"max_psi": 0.2}, {"p": NUMBERS}, "fail", "p: PSI 0.3; expected at most 0.2"),
    ({"min_rank_correlation": 0.9}, {"p": NUMBERS}, "fail", "p: rank correlation 0.8; expected at least 0.9"),
    ({"max_mean_abs_difference": 0.1}, {"p": NUMBERS}, "pass", "p: within the limits"),
    ({"max_flips_pct": 5}, {"c": {"rows": 10, "flips": 1}}, "fail", "c: flips in percent 10; expected at most 5"),
    ({"max_flips_pct": 5}, {"c": {"rows": 0, "flips": 0}}, "pass", "c: within the limits"),
    ({"max_psi": 0.2}, {}, "open", "no row was scored by both models"),
]


@pytest.mark.parametrize(("limits", "columns", "verdict", "found"), CHALLENGERS)
def test_challengers(limits: dict[str, float], columns: dict[str, Any], verdict: str, found: str) -> None:
    one = judge_challenger(ChallengerGateConfig(**limits), columns)  # type: ignore[arg-type]
    assert (one.verdict, one.found) == (verdict, found)


def test_output() -> None:
    assert judge_output(OutputGateConfig(), [], 3).found == "3 expectations of the scores"
    failed = judge_output(OutputGateConfig(), [f"output[{i}]: bad" for i in range(5)], 5)
    assert failed.holds and failed.found == "output[0]: bad; output[1]: bad; output[2]: bad; and 2 more"


def numbers(values: Any) -> Distribution:
    one = Distribution()
    one.add(pa.array(values, pa.float64()))
    return one


def texts(values: Any) -> Distribution:
    one = Distribution()
    one.add(pa.array(values, pa.string()))
    return one


def test_bins_hold_equal_shares_of_the_reference() -> None:
    parts = [numbers(np.arange(0, 50) + 0.5), numbers(np.arange(50, 100) + 0.5)]
    daily, found, bins, missing = bin_together(parts, numbers([-5.0, 5.0, 5_000.0, None]))
    assert daily.sum(axis=0).tolist() == [10] * 10 + [0]
    assert found.tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert (bins[0], bins[-2], bins[-1], missing) == ("<= 9.5", "above", "missing", True)


def test_a_value_that_fills_several_bins_has_one() -> None:
    daily, _, bins, _ = bin_together([numbers([0.0] * 95 + [1.0] * 5)], numbers([0.0]))
    assert daily.tolist() == [[95, 5]] and bins == ["<= 0", "above"]


def test_categories_that_the_reference_does_not_name_are_one_bin() -> None:
    daily, found, bins, missing = bin_together([texts(["a", "b", "b"])], texts(["b", "new", "newer", None]))
    assert bins == ["a", "b", OTHERS, "missing"] and missing
    assert daily.tolist() == [[1, 2, 0, 0]] and found.tolist() == [0, 1, 2, 1]


def days(count: int, rows: int, seed: int = 0) -> list[dict[str, dict[str, Distribution]]]:
    chance = np.random.default_rng(seed)
    return [
        {"features": {"steady": numbers(chance.normal(size=rows)), "lively": numbers(chance.normal(d % 3, 1, rows))}}
        for d in range(count)
    ]


def test_a_column_may_go_as_far_as_its_intervals_differ() -> None:
    steady, lively = (
        resample_threshold(bin_together([d["features"][n] for d in days(28, 900)], numbers([0.0]))[0], "psi", 4.0)
        for n in ("steady", "lively")
    )
    assert 0.01 < steady < 0.1
    assert lively > 1


def test_the_column_that_moved_is_named_first() -> None:
    chance = np.random.default_rng(5)
    found = {"features": {"lively": numbers(chance.normal(1, 1, 900)), "steady": numbers(chance.normal(0.5, 1, 900))}}
    config = DriftGateConfig()
    columns = measure_drift(config, found, days(28, 900))
    assert [(one.column, one.over) for one in columns] == [("steady", True), ("lively", False)]
    verdict = judge_drift(config, columns, "28 days", "")
    assert verdict.holds
    assert verdict.found.startswith("1 of 2 columns drifted from 28 days: steady PSI 0.337 (at most ")


DRIFTS: list[tuple[dict[str, Any], int, str, str]] = [
    ({}, 28, "pass", "2 columns against it; the furthest is "),
    ({"columns": ("steady",)}, 28, "pass", "1 columns against it; the furthest is steady"),
    ({"ignore": ("steady", "lively")}, 28, "open", "no column to compare with it"),
    ({}, 6, "open", "no column to compare with it"),
    ({"reference": "model"}, 1, "fail", "1 of 2 columns drifted from it: lively PSI "),
    ({"threshold": 50.0}, 28, "pass", "2 columns against it"),
    ({"threshold": 1e-6}, 28, "fail", "2 of 2 columns drifted from it"),
    ({"measure": "jensen_shannon"}, 28, "pass", "2 columns against it; the furthest is "),
    ({"measure": "kolmogorov_smirnov"}, 28, "pass", "2 columns against it; the furthest is "),
]


@pytest.mark.parametrize(("changes", "intervals", "verdict", "found"), DRIFTS)
def test_drift(changes: dict[str, Any], intervals: int, verdict: str, found: str) -> None:
    config = DriftGateConfig(**changes)
    fresh = days(2, 900, seed=9)[1]
    one = judge_drift(config, measure_drift(config, fresh, days(intervals, 900)), "it", "")
    assert (one.verdict, one.found[: len(found)]) == (verdict, found)


def test_an_interval_that_had_drifted_does_not_widen_what_may_be() -> None:
    chance = np.random.default_rng(7)
    before = days(28, 900)
    before[5]["features"]["steady"] = numbers(chance.normal(1.5, 1, 900))
    found = {"features": {"steady": numbers(chance.normal(0.7, 1, 900))}}
    marks: list[set[tuple[str, str]]] = [set() for _ in before]
    assert not measure_drift(DriftGateConfig(), found, before, marks)[0].over
    marks[5] = {("features", "steady")}
    (one,) = measure_drift(DriftGateConfig(), found, before, marks)
    assert one.over and one.reference_rows == 27 * 900
    for place in range(7):  # a quarter: how things are now
        marks[place] = {("features", "steady")}
    assert measure_drift(DriftGateConfig(), found, before, marks)[0].reference_rows == 28 * 900


def test_more_categories_than_can_be_named_are_compared_by_hashes() -> None:
    many = [f"r{i}" for i in range(1100)]
    before = [{"features": {"u": texts(["u0"] * 1000 + ["u1"] * 300 + many[d : d + 990])}} for d in range(8)]
    same = {"features": {"u": texts(["u0"] * 1000 + ["u1"] * 300 + many[:1030])}}
    moved = {"features": {"u": texts(["u0"] * 300 + ["u1"] * 1000 + many[:1030])}}
    config = DriftGateConfig(reference="model")
    for found, over in ((same, False), (moved, True)):
        assert found["features"]["u"].values is None
        (one,) = measure_drift(config, found, before)
        assert (one.over, len(one.bins)) == (over, 64)


def test_a_column_of_another_kind_or_without_rows_is_not_compared() -> None:
    found = {"features": {"a": texts(["x"]), "b": numbers([]), "c": numbers([1.0])}}
    reference = {"features": {"a": numbers([1.0]), "b": numbers([1.0])}}
    assert measure_drift(None, found, [reference]) == []


def test_a_reference_of_missing_values_alone_is_compared_by_them() -> None:
    (one,) = measure_drift(None, {"scores": {"p": numbers([None, 1.0])}}, [{"scores": {"p": numbers([None, None])}}])
    assert one.bins == ("any number", "missing") and one.counts == (1, 1) and one.reference == (0, 2)
    assert one.threshold is None and one.kolmogorov_smirnov == 0.0 and one.psi > 0
