"""Erasure: no row, no old file and no record of a person is left; everything else stays, and stays provable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from crashes import Crash
from small_job import SUITE, SmallJob, expectation, make_small_job, row

from batchscore.auditing import verify_audit
from batchscore.cli import run_cli
from batchscore.erasing import read_keys
from batchscore.errors import BatchscoreError, ConfigError, InputError, WriteError
from batchscore.mending import erase, redrive
from batchscore.replaying import replay_run
from batchscore.republish import rollback_interval

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY, NEXT = "2013-10-01", "2013-10-02"
PERSON, OTHER = 770_123_457, 990_000_001  # between the others, so that no file's statistics name it
GATE = ("checks={input: input.json, output: output.json}", "gates.output={on_fail: hold}")


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> SmallJob:
    return make_two_days(spark, tmp_path)


@pytest.fixture(scope="module")
def untouched(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    return make_two_days(spark, tmp_path_factory.mktemp("untouched"))


def make_two_days(spark: SparkSession, tmp_path: Path) -> SmallJob:
    """Two days, the first published twice; the person was scored on the first and set aside on the second."""
    first = [row(id=i, a=float(i % 7)) for i in (1, 2, PERSON, OTHER)] + [row(id=5, text=None)]
    second = [row(id=i, day=NEXT, text=None) for i in (11, PERSON, OTHER + 1)] + [row(id=12, day=NEXT)]
    small = make_small_job(spark, tmp_path, [*first, *second], created=True)
    small.run(DAY)
    small.run(DAY, force=True)
    small.run(NEXT)
    return small


def ids(small: SmallJob) -> tuple[list[int], list[int]]:
    return [r["id"] for r in small.scores()], sorted(r["id"] for r in small.quarantined())


def places(small: SmallJob, person: int = PERSON) -> set[str]:
    """Output folders with a data file that holds the person, or any other file that names them."""
    found = set()
    for file in small.folder.rglob("*"):
        top = file.relative_to(small.folder).parts[0]
        if not top.startswith("scores") or not file.is_file():
            continue
        if file.suffix == ".parquet" and "_delta_log" not in file.parts:
            table = pq.read_table(file, partitioning=None)
            if "id" in table.column_names and person in table["id"].to_pylist():
                found.add(top)
        elif str(person).encode() in file.read_bytes():
            found.add(f"{top}: {file.name}")
    return found


def test_nothing_of_a_person_is_left(small: SmallJob) -> None:
    assert places(small) == {"scores", "scores_quarantine"}
    found = erase(small.file, [{"id": str(PERSON)}], reason="request 17")
    assert found.done and len(found.intervals) == 2
    assert found.tables["scores"] == {"rows": 1, "files": 2}  # the first run's file, and the one of today
    assert found.tables["quarantine"] == {"rows": 1, "files": 1}
    assert found.input_rows == 2 and "the input still has 2 rows" in str(found)
    assert ids(small) == ([1, 2, OTHER, 12], [5, 11, OTHER + 1])
    assert places(small) == set()
    assert small.outputs().quarantine.properties()["delta.appendOnly"] == "true"
    records = small.audit()
    assert [(r["kind"], r["status"]) for r in records[3:]] == [
        ("erase", "begun"),
        ("erase", "committed"),
        ("erase", "done"),
    ]
    assert records[-1]["reason"] == "request 17" and records[-1]["tables"]["scores"]["rows"] == 1
    assert verify_audit(small.spark, small.load()).whole
    assert small.run(DAY).status == "unchanged"


@pytest.mark.slow
def test_a_second_one_finds_nothing_and_writes_nothing(small: SmallJob) -> None:
    erase(small.file, [{"id": str(PERSON)}])
    before = small.versions(), len(small.audit())
    again = erase(small.file, [{"id": str(PERSON)}])
    assert not again.done and again.intervals == ()
    assert (small.versions(), len(small.audit())) == before


def test_a_look_writes_nothing(small: SmallJob) -> None:
    before = small.versions(), len(small.audit())
    found = erase(small.file, [{"id": str(PERSON)}], dry_run=True)
    assert not found.done and found.tables["scores"] == {"rows": 1, "files": 1}
    assert (small.versions(), len(small.audit())) == before


@pytest.mark.slow
def test_what_comes_after_knows_of_it(small: SmallJob) -> None:
    oldest, newest = (r["run_id"] for r in small.audit()[:2])
    erase(small.file, [{"id": str(PERSON)}, {"id": "11"}])
    with pytest.raises(InputError, match="some were erased since, and going back would bring them back"):
        rollback_interval(small.spark, small.load(), small.interval(DAY), oldest, None)
    found = replay_run(small.spark, small.load(), newest, None)
    assert found.certified and (found.compared, found.erased, found.extra) == (3, 1, 1)
    with pytest.raises(InputError, match="an erasure or the table's retention"):
        replay_run(small.spark, small.load(), oldest, None)
    small.write_suite((expectation("expect_column_values_to_not_be_null", column="city"), *SUITE[1:]))
    redriven = redrive(small.file)
    assert [(one["open"], one["pass_now"]) for one in redriven.intervals] == [(1, 1), (1, 1)]
    assert ids(small) == ([1, 2, 5, OTHER, 12, OTHER + 1], [])
    assert [r["counts"] for r in small.audit()[-2:]] == [
        {"read": 4, "scored": 4, "quarantined": 0},
        {"read": 2, "scored": 2, "quarantined": 0},
    ]
    assert verify_audit(small.spark, small.load()).whole


@pytest.mark.slow
def test_staged_rows_go_with_their_stage(small: SmallJob) -> None:
    small.write_rows([row(id=20, day="2013-10-03", text=None), row(id=PERSON, day="2013-10-03")])
    small.write_suite([expectation("expect_column_mean_to_be_between", column="p", min_value=2.0)], "output.json")
    held = small.run("2013-10-03", *GATE)
    assert held.status == "held" and "scores_stage" in places(small)
    found = erase(small.file, [{"id": str(PERSON)}])
    assert found.stages == (held.run_id,)
    assert places(small) == set() and small.outputs().stages.run_ids() == []
    discard = next(r for r in small.audit() if r["kind"] == "discard")
    assert (discard["of"], discard["status"]) == (held.run_id, "erased")
    assert small.run("2013-10-03", *GATE).status == "held"  # judged anew, not refused as known


POINTS = [
    "append_only.lifted",
    pytest.param("append_only.marked", marks=pytest.mark.slow),
    pytest.param("audit.written", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("point", POINTS)
def test_one_that_is_killed_is_done_by_the_next(small: SmallJob, crash_at: Callable[[str], None], point: str) -> None:
    crash_at(point)
    with pytest.raises(Crash):
        erase(small.file, [{"id": str(PERSON)}])
    assert small.run(DAY, force=True).status == "published"  # the quarantine only grows again
    assert small.outputs().quarantine.properties()["delta.appendOnly"] == "true"
    assert erase(small.file, [{"id": str(PERSON)}]).done
    assert places(small) == set()
    assert verify_audit(small.spark, small.load()).whole


@pytest.mark.parametrize(
    ("sets", "keys", "error", "message"),
    [
        ((), [{"id": "x"}], ConfigError, "--key id: expected values of type bigint; found one that is none"),
        (
            (),
            [{"city": "x"}],
            ConfigError,
            "some or all of id, the same columns for each .* others",
        ),
        ((), [{"id": None}], ConfigError, "expected values as text; found another type, or none"),
        ((), [], ConfigError, "expected a value for some or all of id"),
        (("output.format=parquet", "output.scores=./p"), [{"id": "1"}], ConfigError, "erase: expected Delta output"),
        (("output.scores=./none",), [{"id": "1"}], ConfigError, "expected a scores table at .*none; there is none"),
    ],
)
def test_refused(
    untouched: SmallJob, sets: tuple[str, ...], keys: list[dict[str, str]], error: type[BatchscoreError], message: str
) -> None:
    with pytest.raises(error, match=message):
        erase(untouched.load(*sets), keys)


@pytest.mark.slow
def test_a_run_at_work_is_waited_for(small: SmallJob) -> None:
    stages = small.outputs().stages
    with stages.claim("20131001T000000-1a2b3c4d"):
        (small.folder / "scores_stage" / "20131001T000000-1a2b3c4d").mkdir(parents=True)
        with pytest.raises(WriteError, match="is at work and may publish the rows again"):
            erase(small.file, [{"id": str(PERSON)}])


@pytest.mark.slow
def test_many_keys_from_a_file(small: SmallJob, capfd: pytest.CaptureFixture[str]) -> None:
    file = small.folder / "keys.csv"
    file.write_text(f"id\n{PERSON}\n{OTHER}\n{PERSON}\n404\n")
    assert run_cli(["erase", small.file, "--keys", str(file), "--reason", "two requests", "--json"]) == 0
    assert ids(small) == ([1, 2, 12], [5, 11, OTHER + 1])
    assert '"keys": 4' in capfd.readouterr().out
    for text, told in (
        ("id\n1,2\n", "key 1: expected 1 values; found 2"),
        ("Ann Lee,1\n", "expected a first line with names of key columns, each once, of id; found 2 others"),
        ("id,id\n1,2\n", "each once"),
        ('id\n"1\n2', "expected CSV as RFC 4180 has it"),
    ):
        file.write_text(text)
        assert run_cli(["erase", small.file, "--keys", str(file)]) == 2
        shown = capfd.readouterr().err
        assert f"--keys {file}" in shown and told in shown and "Ann" not in shown
    file.write_bytes("id\nJosé\n".encode("latin-1"))
    assert run_cli(["erase", small.file, "--keys", str(file)]) == 2
    assert "expected text in UTF-8; found another encoding" in capfd.readouterr().err
    assert run_cli(["erase", small.file, "--key", "id=1", "--key", "id=2"]) == 2
    assert "--key id: given twice" in capfd.readouterr().err
    assert run_cli(["erase", small.file]) == 2
    assert "expected --key COLUMN=VALUE or --keys FILE" in capfd.readouterr().err


def test_keys_of_a_file_are_what_csv_says() -> None:
    text = '\ufeffid,day\r\n"Ann\nLee",1\r\n\r\nA\u2028B,2\n"a ""b""",3'.removeprefix("\ufeff")
    assert read_keys(text, ["id", "day"], "k") == [
        {"id": "Ann\nLee", "day": "1"},
        {"id": "A\u2028B", "day": "2"},
        {"id": 'a "b"', "day": "3"},
    ]


@pytest.mark.slow
def test_rows_that_others_deleted_are_not_taken_for_erased_ones(small: SmallJob) -> None:
    newest = small.audit()[1]["run_id"]
    erase(small.file, {"id": str(PERSON)})
    small.spark.sql(f"delete from delta.`{small.folder}/scores` where id = 2")
    found = replay_run(small.spark, small.load(), newest, None)
    assert not found.certified and (found.erased, found.extra) == (1, 2)
    assert str(PERSON) not in str(found)
    with pytest.raises(WriteError, match="others have changed the table"):
        small.write_suite((expectation("expect_column_values_to_not_be_null", column="city"), *SUITE[1:]))
        redrive(small.file, DAY)


@pytest.mark.slow
def test_an_interval_of_which_nothing_is_left(small: SmallJob) -> None:
    newest = small.audit()[1]["run_id"]
    erase(small.file, [{"id": str(k)} for k in (1, 2, PERSON, OTHER)])
    found = replay_run(small.spark, small.load(), newest, None)
    assert found.certified and (found.compared, found.erased) == (0, 4)


@pytest.mark.slow
def test_a_former_challengers_differences_go_too(spark: SparkSession, tmp_path: Path) -> None:
    small = make_small_job(spark, tmp_path, [row(id=i) for i in (1, 2, PERSON, OTHER)], created=True)
    small.add_model(weights=(0.1, 0.2), alias=None)
    small.run(DAY, 'model.challenger={uri: "models:/small/2"}')
    assert "scores_differences" in places(small)
    found = erase(small.file, {"id": str(PERSON)})
    assert found.tables["differences"]["rows"] == 1
    assert places(small) == set()


@pytest.mark.slow
def test_an_unfinished_file_of_a_dead_writer_is_no_hindrance(small: SmallJob) -> None:
    folder = next((small.folder / "scores").glob("_interval=*"))
    (folder / "part-dead.parquet").write_bytes(b"PAR1 and no footer" * 100)
    assert erase(small.file, {"id": str(PERSON)}).done


@pytest.mark.slow
def test_deletion_vectors_hide_nothing(small: SmallJob) -> None:
    table = f"delta.`{small.folder}/scores`"
    small.spark.sql(f"alter table {table} set tblproperties ('delta.enableDeletionVectors' = 'true')")
    small.spark.sql(f"delete from {table} where id = {PERSON}")  # marked in place; its file stays current
    assert places(small) == {"scores", "scores_quarantine", *places_of_the_condition(small)}
    found: Any = erase(small.file, [{"id": str(PERSON)}])
    assert found.done
    assert {place for place in places(small) if not place.endswith(".json")} == set()
    assert ids(small)[0] == [1, 2, OTHER, 12]


def places_of_the_condition(small: SmallJob) -> set[str]:
    """The commit in which Delta's DELETE keeps its condition."""
    return {place for place in places(small) if place.endswith(".json")}
