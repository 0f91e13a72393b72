"""One job by `spark-submit`, by the command line and from a notebook: one run key, and one of them writes."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from processes import BATCHSCORE, REPOSITORY, TIMEOUT_S, clean_environment, run_process

from batchscore import api
from batchscore.outputs import open_outputs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = "2013-10-03"
NOTEBOOK = REPOSITORY / "notebooks" / "quickstart.ipynb"


def table_versions(spark: SparkSession, job: Path) -> dict[str, int]:
    found = open_outputs(spark, api.load(job))
    tables = {"scores": found.scores, "quarantine": found.quarantine, "audit": found.audit}
    return {name: table.version() for name, table in tables.items()}


def run_notebook(folder: Path) -> nbformat.NotebookNode:
    """The quickstart with its outputs, run from its own folder by a kernel of this interpreter."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = NotebookClient(notebook, timeout=TIMEOUT_S, kernel_name="python3", resources=place)
    return client.execute(env=clean_environment(BATCHSCORE_DEMO=str(folder), BATCHSCORE_INTERVAL=DAY))


def result_of(notebook: nbformat.NotebookNode, call: str) -> dict[str, Any]:
    """What the cell with this call shows, by media type."""
    cell = next(c for c in notebook.cells if c.cell_type == "code" and call in c.source)
    return next(dict(o.data) for o in cell.outputs if o.output_type == "execute_result")


@pytest.mark.slow
def test_one_run_key_by_three_ways_and_only_the_first_writes(
    spark: SparkSession, demo_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(demo_folder, folder)
    job = folder / "flights.yaml"
    plan = api.plan(job, DAY)
    assert plan.action == "new"
    assert plan.submit_line in str(plan).splitlines()

    submitted = run_process([*shlex.split(plan.submit_line), "--json"], folder=REPOSITORY)
    assert submitted.returncode == 0, submitted.stderr
    first = json.loads(submitted.stdout)
    assert (first["status"], first["run_key"]) == ("published", plan.run_key)
    assert first["counts"]["read"] == first["counts"]["scored"] + first["counts"]["quarantined"] == plan.input.rows
    written = table_versions(spark, job)

    called = run_process([*BATCHSCORE, "run", str(job), "--interval", DAY, "--json"], folder=tmp_path)
    assert called.returncode == 0, called.stderr
    second = json.loads(called.stdout)
    assert (second["status"], second["run_key"]) == ("unchanged", plan.run_key)
    assert second["counts"] == first["counts"]
    assert "scoring" not in called.stderr
    assert table_versions(spark, job) == written

    notebook = run_notebook(folder)
    shown = result_of(notebook, "bs.run(")["text/html"]
    assert "unchanged" in shown and plan.run_key in shown
    assert first["run_id"] in result_of(notebook, "bs.runs(")["text/html"]
    assert "probability_late" in result_of(notebook, "bs.scores(")["text/html"]
    assert table_versions(spark, job) == written
    runs = [r for r in api.runs(job).records if r.get("interval") == first["interval"]]
    assert [(r["run_id"], r["status"]) for r in runs] == [(first["run_id"], "published")]
