"""What the fault tests share: one warm session, one job, two child drivers, and the figures at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_job import FaultJob, make_fault_job, open_cheap_session
from figures import FIGURES, Figures
from pair import Pair

from batchscore import hooks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def figures() -> Figures:
    """Where tests count their faults."""
    return FIGURES


@pytest.fixture(scope="session")
def session(spark: SparkSession) -> SparkSession:
    """A session for small runs over the one application of this test run."""
    return open_cheap_session(**{"spark.databricks.delta.properties.defaults.checkpointInterval": "100"})


@pytest.fixture(autouse=True)
def _deaf() -> Iterator[None]:
    """No test leaves a listener behind."""
    yield
    hooks.listen(None)


@pytest.fixture
def job(tmp_path: Path) -> FaultJob:
    """A job of the test's own."""
    return make_fault_job(tmp_path / "job")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory, figures: Figures) -> Iterator[Pair]:
    """Two drivers of one job."""
    made = Pair(make_fault_job(tmp_path_factory.mktemp("pair") / "job"), figures)
    yield made
    made.kill()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Kills come last: they end the drivers that the other tests share."""
    items.sort(key=lambda item: item.path.name == "test_kills.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the run."""
    if not FIGURES.faults:
        return
    terminalreporter.section("faults")
    for kind, number in sorted(FIGURES.faults.items()):
        terminalreporter.write_line(f"{kind}: {FIGURES.survived[kind]} survived of {number}")
    for note in FIGURES.notes:
        terminalreporter.write_line(note)
    terminalreporter.write_line(f"{FIGURES.found} in {FIGURES.found.rows} visible rows that were looked at")
