"""Stores that fail: full disks, read-only ones, logs whose content was lost, and system calls that fail or kill."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from checker import check, published_intervals
from children import child_driver
from disks import Disk, small_disk
from fault_job import OTHER_MODEL, FaultJob, days, make_fault_job
from figures import Figures
from test_crashes import Crash, crashing

from batchscore import hooks
from batchscore.errors import WriteError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FULL, LOST, CALLS = "full disks", "commit files cut short", "system calls that fail"
FULL_AT = ("scores.begun", "plan.pinned", "stage.noted", "stage.written", "publish.detailed", "quarantine.begun")
SAID = "No space left on device"
RENAMES = "rename,renameat,renameat2"
MAX_CALLS = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", "4m") as made:
        yield made


@pytest.fixture(scope="module")
def crashed(session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FaultJob:
    """A job with one published day, and one that crashed behind its second commit."""
    job, (first, second) = make_fault_job(tmp_path_factory.mktemp("crashed") / "job"), days(0)[:2]
    job.run(session, first)
    job.run(session, second)
    with crashing("scores.written", armed=True), pytest.raises(Crash):
        job.run(session, second, *OTHER_MODEL)
    return job


def strike_at(point: str, strike: Callable[[], None]) -> None:
    """Have something happen once, at a point."""
    left = [strike]

    def tell(reached: str) -> None:
        if reached == point and left:
            left.pop()()

    hooks.listen(tell)


@pytest.mark.parametrize("point", [FULL_AT[0], *(pytest.param(p, marks=pytest.mark.slow) for p in FULL_AT[1:])])
def test_full_disk(session: SparkSession, job: FaultJob, disk: Disk, figures: Figures, point: str) -> None:
    day, scores = days(0)[0], disk.place / "scores"
    onto_disk = f"output.scores={scores}"
    strike_at(point, disk.fill)
    with pytest.raises(WriteError, match=SAID) as caught:
        job.run(session, day, onto_disk)
    assert str(disk.place) in str(caught.value)
    assert "\n" not in str(caught.value)
    figures.strike(FULL)
    if (scores / "_delta_log").exists():
        assert not published_intervals(scores)
    disk.free()
    assert job.run(session, day, onto_disk).status == "published"
    figures.survive(FULL, check(scores, {job.name(day): job.wanted(day)}))


@pytest.mark.slow
@pytest.mark.parametrize("point", ["scores.written", "audit.begun", "audit.written"])
def test_full_disk_behind_the_commit(
    session: SparkSession, job: FaultJob, disk: Disk, figures: Figures, point: str
) -> None:
    day, scores, told = days(0)[0], disk.place / "scores", []
    onto_disk = f"output.scores={scores}"
    strike_at(point, disk.fill)
    assert job.run(session, day, onto_disk, progress=told.append).status == "published"
    figures.strike(FULL)
    wanted = {job.name(day): job.wanted(day)}
    check(scores, wanted, audited=False)
    disk.free()
    assert job.run(session, day, onto_disk).status == "unchanged"
    figures.survive(FULL, check(scores, wanted))


@pytest.mark.slow
def test_full_disk_for_shuffles(job: FaultJob, figures: Figures, tmp_path: Path) -> None:
    day, place = days(0)[0], tmp_path / "local"
    with small_disk(place, "160m") as disk, child_driver(tmp_path, spark__local__dir=str(place)) as driver:
        driver.run(job, day, pause=["plan.pinned"])
        driver.wait_at("plan.pinned")
        disk.fill()
        driver.release("plan.pinned")
        result = driver.result()
        figures.strike(FULL)
        assert SAID in result["message"], result
        disk.free()
        driver.run(job, day)
        assert driver.result()["status"] == "published"
    figures.survive(FULL, check(job.scores, {job.name(day): job.wanted(day)}))


@pytest.mark.slow
def test_read_only_store(session: SparkSession, job: FaultJob, disk: Disk, figures: Figures) -> None:
    kind, (first, second) = "read-only stores", days(0)[:2]
    scores = disk.place / "scores"
    onto_disk = f"output.scores={scores}"
    wanted = {}
    for day in (first, second):  # before the tables stand, and then
        disk.allow_writes(False)
        with pytest.raises(WriteError, match="Read-only file system") as caught:
            job.run(session, day, onto_disk)
        assert str(disk.place) in str(caught.value)
        figures.strike(kind)
        disk.allow_writes(True)
        assert job.run(session, day, onto_disk).status == "published"
        wanted[job.name(day)] = job.wanted(day)
        figures.survive(kind, check(scores, wanted))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5], ids=["empty", "half"])
@pytest.mark.parametrize(
    ("table", "version"), [("scores", 3), ("scores", 2), ("scores_audit", 2), ("scores_quarantine", 3)]
)
def test_commit_file_cut_short(
    session: SparkSession, crashed: FaultJob, tmp_path: Path, figures: Figures, table: str, version: int, share: float
) -> None:
    job = FaultJob(tmp_path / "job")
    shutil.copytree(crashed.folder, job.folder)
    file = job.folder / table / "_delta_log" / f"{version:020d}.json"
    whole = file.read_bytes()
    sums = file.with_name(f".{file.name}.crc").read_bytes()
    file.with_name(f".{file.name}.crc").unlink()
    file.write_bytes(whole[: int(len(whole) * share)])
    day = days(0)[2]
    with pytest.raises(WriteError, match=file.name) as caught:
        job.run(session, day)
    assert "\n" not in str(caught.value)
    figures.strike(LOST)
    file.write_bytes(whole)
    file.with_name(f".{file.name}.crc").write_bytes(sums)
    assert job.run(session, day).status == "published"
    figures.survive(LOST, check(job.scores, {job.name(d): job.wanted(d) for d in days(0)[:3]}))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
def test_nth_rename(session: SparkSession, job: FaultJob, figures: Figures, tmp_path: Path, fault: str) -> None:
    """The fault strikes the first rename of a thread, then the second, and so on, until none is left to strike."""
    require_tracing()
    wanted = {}
    for number, day in enumerate(days(0)[:MAX_CALLS], 1):
        control = tmp_path / f"{number}"
        control.mkdir()
        trace = control / "trace"
        options = ["-e", f"trace={RENAMES}", "-e", f"inject={RENAMES}:{fault}:when={number}"]
        with child_driver(control, wrapper=["strace", "-f", "--seccomp-bpf", "-o", str(trace), *options]) as driver:
            driver.run(job, day)
            status = driver.status()
        struck = status is None or "INJECTED" in trace.read_text()
        if not struck:
            assert status == "published"
            assert number > 1
            return
        figures.strike(CALLS)
        landed = (job.scores / "_delta_log").exists() and job.name(day) in published_intervals(job.scores)
        assert landed or status != "published", "told as published, and it is not"
        assert job.run(session, day).status == ("unchanged" if landed else "published")
        wanted[job.name(day)] = job.wanted(day)
        figures.survive(CALLS, check(job.scores, wanted))
    pytest.fail(f"{fault}: no end of renames after {MAX_CALLS}")


def require_tracing() -> None:
    """Skip the test where strace is missing or may not trace."""
    try:
        done = subprocess.run(["strace", "-f", "true"], capture_output=True, timeout=20, check=False)
    except FileNotFoundError:
        pytest.skip("needs strace")
    if done.returncode:
        pytest.skip(f"strace may not trace here: {os.fsdecode(done.stderr).strip()[:200]}")
