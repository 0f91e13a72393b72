"""The notebooks run: cell by cell in the one session of this test run, and, slow, each in a kernel of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from processes import REPOSITORY, clean_environment

from batchscore import api

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
BACKFILL = REPOSITORY / "notebooks" / "backfill.ipynb"
MONTH_TIMEOUT_S = 900


def code_cells(notebook: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]


def run_cells(notebook: Path) -> dict[str, Any]:
    """The names that a notebook's cells leave behind."""
    names: dict[str, Any] = {}
    for cell in code_cells(notebook):
        exec(compile(cell.source, f"{notebook.name} {cell.id}", "exec"), names)
    return names


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(notebook: Path) -> None:
    cells = code_cells(notebook)
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


def test_the_backfill_notebook_does_what_is_left(
    spark: SparkSession, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three days, of which one is done."""
    span = {"BATCHSCORE_DEMO": str(folder), "BATCHSCORE_START": "2013-09-30", "BATCHSCORE_END": "2013-10-03"}
    for name, value in span.items():
        monkeypatch.setenv(name, value)
    names = run_cells(BACKFILL)
    assert [one.outcome for one in names["result"].outcomes] == ["published", "unchanged", "published"]
    assert api.status(names["job"], "2013-09-30", "2013-10-03").counts == {"done": 3}
    assert "2013-09-30" in names["result"]._repr_html_()


@pytest.mark.slow
def test_a_month_of_flights_in_a_kernel_of_its_own(demo_folder: Path) -> None:
    notebook = nbformat.read(BACKFILL, as_version=4)
    place = {"metadata": {"path": str(BACKFILL.parent)}}
    client = NotebookClient(notebook, timeout=MONTH_TIMEOUT_S, kernel_name="python3", resources=place)
    done = client.execute(env=clean_environment(BATCHSCORE_DEMO=str(demo_folder)))
    shown = {cell.source.split("\n", maxsplit=1)[0]: cell.outputs for cell in done.cells if cell.cell_type == "code"}
    last = shown["bs.backfill(job, start, end).counts"][-1]
    assert last.data["text/plain"] == "{'unchanged': 30}"
