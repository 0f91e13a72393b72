"""One demo for the whole run: built once, with one day of flights scored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flights_oracle import DEMO_DAY

from batchscore import api
from batchscore.attempts import silent
from batchscore.demo.build import build_demo

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def demo_folder(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a built demo in which `DEMO_DAY` has been run; tests that change tables copy it first."""
    folder = tmp_path_factory.mktemp("built") / "demo"
    build_demo(spark, folder, silent)
    api.run(folder / "flights.yaml", DEMO_DAY)
    return folder


@pytest.fixture(scope="module")
def folder(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo of a test module's own, to change as it likes."""
    copied = tmp_path_factory.mktemp("own") / "demo"
    shutil.copytree(demo_folder, copied)
    return copied
