"""The built wheel alone, in an empty folder: nothing depends on the repository's files."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from pathlib import Path

import pytest
from processes import BATCHSCORE, REPOSITORY, clean_environment, run_process

SOURCES = ("pyproject.toml", "setup.cfg", "README.md", "batchscore")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content; built from a copy, so that no build folder is left in the repository."""
    sources = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file():
            shutil.copy2(path, sources / name)
    built = run_process([sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", "dist"], folder=sources)
    assert built.returncode == 0, built.stderr
    (wheel,) = (sources / "dist").glob("*.whl")
    target = tmp_path_factory.mktemp("installed")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    done = run_process(pip, folder=sources)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.slow  # builds the whole demo again
def test_the_demo_runs_from_the_wheel_and_again_reuses_what_is_there(installed: Path, tmp_path: Path) -> None:
    environment = clean_environment(PYTHONPATH=str(installed))
    where = run_process(
        [sys.executable, "-c", "import batchscore; print(batchscore.__file__)"],
        folder=tmp_path,
        environment=environment,
    )
    assert Path(where.stdout.strip()).is_relative_to(installed)

    first = run_process([*BATCHSCORE, "demo", "--dir", "d", "--json"], folder=tmp_path, environment=environment)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["record"]["status"] == "published"
    assert found["record"]["counts"] == {"read": 965, "scored": 964, "quarantined": 1}
    assert [row["reason"] for row in found["quarantine"]] == ["expect_column_values_to_not_be_null"]
    assert all(0 < row["probability_late"] < 1 for row in found["scores"])
    assert len(found["scores"]) == 5
    assert (found["audit"]["run_id"], found["audit"]["seq"]) == (found["record"]["run_id"], 1)
    assert found["commands"][1][0] == "python -m batchscore run d/flights.yaml --interval 2013-10-02"

    again = run_process([*BATCHSCORE, "demo", "--dir", "d"], folder=tmp_path, environment=environment)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already there") == 5
    assert f"unchanged: run {found['record']['run_id']}" in again.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.slow
def test_every_extra_installs_under_the_constraints(tmp_path: Path) -> None:
    names = [name for name in importlib.metadata.metadata("batchscore").get_all("Provides-Extra") if name != "gpu"]
    wish = [f"{REPOSITORY}[{','.join(names)}]", "-c", str(REPOSITORY / "constraints.txt")]
    # None of what is here counts, so that versions are found as on a fresh machine.
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--no-build-isolation"]
    done = run_process([*pip, *wish], folder=tmp_path)
    assert done.returncode == 0, done.stderr
