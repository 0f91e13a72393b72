"""Stores that fail: full disks, read-only ones, logs whose content was lost, and system calls that fail or kill."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from checker import check, published_intervals
from children import Child, child_driver, command_of, descendants, wait_until
from disks import Disk, small_disk
from fault_job import OTHER_MODEL, FaultJob, days, make_fault_job
from figures import Figures
from pair import Pair
from test_crashes import Crash, crashing

from batchscore import hooks
from batchscore.errors import WriteError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FULL, LOST, CALLS = "full disks", "commit files cut short", "system calls that fail"
FULL_AT = ("scores.begun", "plan.pinned", "stage.noted", "stage.written", "publish.detailed", "quarantine.begun")
SAID = "No space left on device"
RENAMES = "rename,renameat,renameat2"
MAX_CALLS = 40


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
def test_rename_of_the_commit_fails(pair: Pair) -> None:
    assert strike_call(pair, "error=EIO", 1) == "published"  # by the next try
    pair.look(CALLS)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
def test_nth_rename(pair: Pair, session: SparkSession, fault: str) -> None:
    """The fault strikes the first rename behind `quarantine.begun`, then the second, until none is left to strike."""
    for number in range(1, MAX_CALLS):
        status = strike_call(pair, fault, number, point="quarantine.begun")
        if status == "not struck":
            assert number > 8  # four for each commit: the file, its checksum, and two of the table's state
            return
        pair.look(CALLS)
    pytest.fail(f"{fault}: no end of renames after {MAX_CALLS}")


def strike_call(pair: Pair, fault: str, number: int, point: str = "scores.begun") -> str:
    """Have the n-th rename of a thread of Java fail or kill, in a run from a point on; how the run ended."""
    day = next(pair.days)
    driver, _ = pair.drivers()
    driver.run(pair.job, day, pause=[point])
    driver.wait_at(point)
    with injected(driver, f"inject={RENAMES}:{fault}:when={number}") as trace:
        driver.release(point)
        status = driver.status()
    lost = status is None
    if lost:
        pair.kill()
    landed = pair.job.name(day) in published_intervals(pair.job.scores)
    assert landed or status != "published", "told as published, and it is not"
    if landed:
        pair.landed(day)
    if not lost and "INJECTED" not in trace.read_text():
        assert status == "published"
        return "not struck"
    pair.figures.strike(CALLS)
    if lost:
        pair.look(CALLS, faults=0, audited=False)
    other, _ = pair.drivers()
    other.run(pair.job, day)
    assert other.status() == ("unchanged" if landed else "published")
    pair.landed(day)
    return str(status)


@contextmanager
def injected(driver: Child, injection: str) -> Iterator[Path]:
    """A fault in the system calls of a driver's Java while the block runs; yields where the calls are written down."""
    java = next(
        pid for pid in descendants(driver.process.pid) if "org.apache.spark.deploy.SparkSubmit" in command_of(pid)
    )
    trace = driver.control / f"trace-{driver.number}"
    command = ["strace", "-f", "-p", str(java), "-o", str(trace), "-e", f"trace={RENAMES}", "-e", injection]
    try:
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("needs strace")
    try:
        wait_until(lambda: tracer.poll() is not None or is_traced(java), "strace to attach", 20)
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace may not trace here: {tracer.stderr.read().strip()[:200]}")
        yield trace
    finally:
        tracer.terminate()
        tracer.communicate(timeout=30)


def is_traced(pid: int) -> bool:
    """Whether a tracer has attached to every thread of a process."""
    states = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/status")]
    return not any("TracerPid:\t0\n" in state for state in states)
