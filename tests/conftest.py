"""One Spark session for the whole run, and the paths that tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchscore import redaction
from batchscore.config import EngineConfig
from batchscore.session import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that one test planted as a secret must not be masked in the next one's messages."""
    monkeypatch.setattr(redaction, "_secrets", set())


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The one session of this test run, made as a run makes it; Comet is in it, and off until a job asks for it."""
    os.environ.setdefault("TZ", "UTC")
    session = open_session(EngineConfig(master="local[2]", driver_memory="2g", accelerator="auto"), "UTC")
    yield session
    session.stop()
