"""Signals of real runs: reports, MLflow, Prometheus, OpenLineage and webhooks; what fails there is a warning."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pytest
from servers import Server, serve
from small_job import SmallJob, make_small_job, row

from batchscore.errors import ChecksFailed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = "2013-10-01"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as served:
        yield served


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    rows = [row(id=i, day=DAY, a=i / 10, text=None if i == 9 else "t") for i in range(10)]
    return make_small_job(spark, tmp_path_factory.mktemp("signals"), rows)


class Told(list[str]):
    """Warnings of a run."""

    def __call__(self, text: str) -> None:
        if text.startswith("warning"):
            self.append(text)


def test_everybody_is_told_of_a_published_run(small: SmallJob, server: Server) -> None:
    told = Told()
    record = small.run(
        DAY,
        "signals.reports=./reports",
        "signals.mlflow={experiment: nightly}",
        "signals.prometheus={file: ./metrics/small.prom}",
        "signals.openlineage={file: ./lineage/events.jsonl, namespace: prod}",
        f"signals.webhooks=[{{url: '{server.address}/hook', on: [published]}}, {{url: '{server.address}/other'}}]",
        force=True,
        progress=told,
    )
    assert told == []
    page = (small.folder / "reports" / f"small-{record.run_id}.html").read_text()
    assert record.run_id in page and "<!DOCTYPE html>" in page
    check_mlflow(small, record.run_id, page)
    figures = (small.folder / "metrics" / "small.prom").read_text().splitlines()
    assert 'batchscore_run_rows{job="small",outcome="scored"} 9.0' in figures
    assert 'batchscore_run_status{job="small",status="published"} 1.0' in figures
    assert 'batchscore_newest_published_interval_timestamp_seconds{job="small"} 1.3806e+09' in figures
    check_lineage([json.loads(line) for line in (small.folder / "lineage" / "events.jsonl").read_text().splitlines()])
    (message,) = server.bodies("/hook")
    assert (message["event"], message["run_id"], message["counts"]["scored"]) == ("published", record.run_id, 9)
    assert server.bodies("/other") == []


def check_mlflow(small: SmallJob, run_id: str, page: str) -> None:
    client = mlflow.MlflowClient(tracking_uri=small.registry, registry_uri=small.registry)
    experiment = client.get_experiment_by_name("nightly")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.tags["batchscore.run_id"] == run_id
    assert run.data.metrics["rows_scored"] == 9 and run.data.params["interval"] == "2013-10-01T04:00:00Z"
    version = client.get_model_version("small", "1")
    assert [one.model_id for one in run.inputs.model_inputs] == ([version.model_id] if version.model_id else [])
    file = Path(client.download_artifacts(run.info.run_id, "report.html", str(small.folder)))
    assert file.read_text() == page


def check_lineage(events: list[dict[str, Any]]) -> None:
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    start, end = events
    assert start["run"]["runId"] == end["run"]["runId"]
    assert (end["job"]["namespace"], end["job"]["name"]) == ("prod", "small")
    assert end["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2013-10-01T04:00:00Z"
    names = [(one["namespace"], one["name"].rpartition("/")[2]) for one in end["inputs"]]
    assert names == [("file", "rows"), ("file", "cities"), ("mlflow", "small")]
    source = end["inputs"][0]
    assert source["facets"]["version"]["datasetVersion"] == "0"
    assert source["inputFacets"]["inputStatistics"]["rowCount"] == 10
    assertions = source["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert assertions[0] == {
        "assertion": "expect_column_values_to_not_be_null",
        "success": False,
        "column": "text",
        "params": {},
    }
    outputs = {one["name"].rpartition("/")[2]: one for one in end["outputs"]}
    assert outputs["scores"]["outputFacets"]["outputStatistics"]["rowCount"] == 9
    assert outputs["scores_quarantine"]["outputFacets"]["outputStatistics"]["rowCount"] == 1


def test_people_are_told_of_a_failure_in_slacks_form(small: SmallJob, server: Server) -> None:
    server.statuses = [503, 429]  # may pass: asked again
    hook = f"signals.webhooks=[{{url: '{server.address}/hook', form: slack}}]"
    with pytest.raises(ChecksFailed):
        small.run(DAY, hook, "checks.max_quarantine_rows=0", force=True)
    told = server.bodies("/hook")
    assert len(told) == 3 and told[0] == told[2]
    lines = told[2]["text"].splitlines()
    assert lines[0] == "*batchscore small · 2013-10-01 (America/New_York)*: failed"
    assert lines[1].startswith("checks: expected at most 0 quarantined rows (checks.max_quarantine_rows); found 1")
    assert lines[2] == "rows: 10 read, 9 scored, 1 quarantined"


def test_a_held_run_is_told_once_with_its_gates(small: SmallJob, server: Server) -> None:
    record = small.run(
        DAY,
        f"signals.webhooks=[{{url: '{server.address}/hook'}}]",
        f"signals.openlineage={{url: '{server.address}'}}",
        f"signals.prometheus={{push_gateway: '{server.address}'}}",
        "gates.quarantine={max_pct: 5}",
        force=True,
    )
    assert record.status == "held"
    (message,) = server.bodies("/hook")
    assert message["event"] == "held"
    assert message["gates"] == [
        {"gate": "quarantine", "verdict": "fail", "found": "1 of 10 rows set aside, 10 %; expected at most 5 %"}
    ]
    assert [event["eventType"] for event in server.bodies("/api/v1/lineage")] == ["START", "ABORT"]
    (pushed,) = [body for method, path, _, body in server.received if path == "/metrics/job/batchscore_small"]
    assert b'batchscore_run_gate_failed{gate="quarantine",job="small"} 1.0' in pushed


BROKEN: list[tuple[str, str]] = [
    ("webhooks=[{url: 'http://127.0.0.1:1/secret-path', on: [published]}]", "signals.webhooks[0]: .*no answer"),
    ("openlineage={url: 'http://127.0.0.1:1'}", "signals.openlineage: "),
    ("prometheus={push_gateway: '127.0.0.1:1'}", "signals.prometheus: "),
    ("prometheus={file: ./job.yaml/x.prom}", "signals.prometheus: "),
    ("reports=./job.yaml/x", "signals.reports: "),
]


@pytest.mark.parametrize(
    ("signal", "warning"), [BROKEN[0], *(pytest.param(*one, marks=pytest.mark.slow) for one in BROKEN[1:])]
)
def test_what_cannot_be_told_is_a_warning(small: SmallJob, signal: str, warning: str) -> None:
    told = Told()
    record = small.run(DAY, f"signals.{signal}", "signals.timeout_s=2", force=True, progress=told)
    assert record.status == "published"
    (text,) = told
    name, _, said = warning.partition(": .*")
    assert f"warning: {name.rstrip(': ')}: the run stands as it is, but was not told there: " in text and said in text
    assert "secret-path" not in text


@pytest.mark.slow
def test_a_server_that_never_ends_its_answer_holds_nobody_up(small: SmallJob) -> None:
    class Dripping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b".")
                    time.sleep(0.2)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{http.server_address[1]}"
    told, started = Told(), time.monotonic()
    sets = (f"signals.webhooks=[{{url: '{address}', on: [published]}}]", f"signals.openlineage={{url: '{address}'}}")
    record = small.run(DAY, *sets, "signals.timeout_s=2", force=True, progress=told)
    took = time.monotonic() - started - sum(record.timings_s.values())
    http.shutdown()
    http.server_close()
    assert record.status == "published" and took < 10
    assert all("no end within 2 s" in text or "openlineage" in text for text in told)


@pytest.mark.slow
def test_a_missing_secret_is_a_warning(small: SmallJob) -> None:
    told = Told()
    small.run(DAY, "signals.webhooks=[{url: '${env:NO_SUCH_HOOK}', on: [published]}]", force=True, progress=told)
    assert len(told) == 1 and "webhooks[0]" in told[0] and "NO_SUCH_HOOK" in told[0]


def test_an_address_that_redirects_or_refuses_is_told_once(small: SmallJob, server: Server) -> None:
    server.statuses = [302, 404]
    for _ in range(2):
        told = Told()
        hook = f"signals.webhooks=[{{url: '{server.address}/hook', on: [published]}}]"
        small.run(DAY, hook, force=True, progress=told)
        assert len(told) == 1 and "HTTP " in told[0]
    assert len(server.received) == 2
