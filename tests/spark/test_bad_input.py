# ruff: noqa: E501 - a table of messages, one case a line
"""Bad input: each kind has its own error with place, finding and remedy, and leaves the tables as they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from onnx_models import add_version, make_linear, write_folder
from small_job import SUITE, SmallJob, expectation, make_small_job, row

from batchscore.errors import BatchscoreError, ChecksFailed, ConfigError, InputError, ModelError, RegistryError
from batchscore.failures import retell
from batchscore.planning import prepare
from batchscore.scoring.udf import score_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REPOSITORY = Path(__file__).resolve().parents[2]
CANARY = "canary-5f2c81d0"


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """A job with one published run; every case below must leave it as it is."""
    small = make_small_job(spark, tmp_path_factory.mktemp("bad_input"))
    small.write_rows([row(id=7, day="2013-10-03"), row(id=7, day="2013-10-03")])
    folder = small.folder
    add_version(small.registry, "garbage", write_folder(folder / "garbage", b"<html>not a model</html>"), "champion")
    add_version(small.registry, "narrow", write_folder(folder / "narrow", make_linear([1.0])), "champion")
    spark.range(3).write.parquet(str(folder / "plain"))
    (folder / "empty").mkdir()
    doubled = spark.createDataFrame([("x", 2), ("x", 3)], "city string, size int")
    doubled.write.format("delta").save(str(folder / "doubled"))
    small.write_suite([*SUITE, expectation("expect_table_row_count_to_equal", value=99)], "critical.json")
    small.write_suite([expectation("expect_column_values_to_not_be_null", column="txt")], "unknown_column.json")
    small.run()
    return small


@pytest.fixture(autouse=True)
def untouched(small: SmallJob) -> Iterator[None]:
    before = small.versions()
    yield
    assert small.versions() == before
    stages = small.outputs().stages
    notes = [stages.read_note(run_id) or {} for run_id in stages.run_ids()]
    assert {note.get("state") for note in notes} <= {"failed"}  # of runs that failed after scoring, for `resume`


CASES: list[tuple[str, str, list[str], type[BatchscoreError], str]] = [
    ("no table", "2013-10-01", ["input.table=./nowhere"], InputError, r"input.table: expected a table at ./nowhere; found nothing there .*relative paths count from the job file's folder"),
    ("no table in a folder", "2013-10-01", ["input.table=./empty"], InputError, "found a folder without a Delta log"),
    ("Parquet as Delta", "2013-10-01", ["input.table=./plain"], InputError, "found Parquet files without a Delta log .*Set `format: parquet`"),
    ("Delta as Parquet", "2013-10-01", ["input.format=parquet"], InputError, "found a Delta table. Set `format: delta`"),
    ("no such catalog table", "2013-10-01", ["input.table=shop.orders"], InputError, "table shop.orders: expected a Delta table of this name in the catalog; found none"),
    ("no key column", "2013-10-01", ["input.key=[idd]"], InputError, r"input.key: expected column 'idd' \(did you mean 'id'\?\); found only: id, day"),
    ("no passthrough column", "2013-10-01", ["output.passthrough=[town]"], InputError, "output.passthrough: expected column 'town'"),
    ("interval column of another type", "2013-10-01", ["interval.column=city"], InputError, "expected 'city' to be a date or a timestamp; found string"),
    ("no interval column", "2013-10-01", ["interval.column=date"], InputError, "interval.column: expected column 'date'"),
    ("hours of a date", "2013-10-01T05", ["interval.grain=hour"], InputError, "expected 'day' to be a timestamp; found date"),
    ("zero length", "2013-10-01/2013-10-01", [], ConfigError, "start and end are the same, so the interval has zero length"),
    ("no rows", "2013-10-02", [], InputError, "expected rows, since the job is scheduled daily; found none"),
    ("doubled keys", "2013-10-03", [], InputError, "expected id to be unique within the interval; found 1 keys with more than one row"),
    ("unknown column in SQL", "2013-10-01", ["features.columns.1.sql=bb + 1"], ConfigError, r"features.columns.1 \(ratio\): expected columns of the input table.*found `bb`"),
    ("SQL that does not parse", "2013-10-01", ["features.columns.1.sql=b +"], ConfigError, r"features.columns.1 \(ratio\): expected a Spark SQL expression; found: .*PARSE_SYNTAX_ERROR"),
    ("SQL that calls Java", "2013-10-01", ["features.columns.1.sql=reflect('java.lang.System', 'getenv', 'HOME')"], ConfigError, "function 'reflect' is not allowed in a job file"),
    ("SQL with a subquery", "2013-10-01", ["features.columns.1.sql=(select 1)"], ConfigError, "expected a scalar expression"),
    ("SQL that reads the clock", "2013-10-01", ["features.columns.1.sql=datediff(current_date, day)"], ConfigError, "does not give the same value for the same row"),
    ("SQL of chance", "2013-10-01", ["features.columns.1.sql=rand()"], ConfigError, "function 'rand' is not allowed"),
    ("feature that is no column", "2013-10-01", ["features.columns.0.name=aa"], ConfigError, r"job.yaml:\d+: features.columns.0 \(aa\): expected an input column or a marked function of this name"),
    ("feature with a column's name", "2013-10-01", ["features.columns.1.name=b"], ConfigError, r"features.columns.1 \(b\): the input table or a lookup already has this name"),
    ("feature of another type", "2013-10-01", ["features.columns.0.name=text"], ModelError, r"feature 'text' for model input 'x' \(tensor\(float\)\): found type string, which does not fit"),
    ("impute of another type", "2013-10-01", ["features.columns.0.on_null={impute: much}"], ModelError, "`impute` expects a value of type double; found str"),
    ("too few features", "2013-10-01", ["features.columns=[{name: a}]"], ModelError, r"model input 'x': expected 2 features; found 1 \(a\)"),
    ("too many features", "2013-10-01", ["model.uri=models:/narrow@champion", "model.outputs={}"], ModelError, "expected 1 feature; found 2"),
    ("unknown output", "2013-10-01", ["model.outputs={p: score}"], ModelError, r"model.outputs.p: expected an output of the model \(label, probabilities\); found 'score'"),
    ("output without that column", "2013-10-01", ["model.outputs.p='probabilities[:, 2]'"], ModelError, r"expected a part of 'probabilities' of shape \[N, 2\]; found index 2"),
    ("output named like a key", "2013-10-01", ["model.outputs={id: label}"], ConfigError, "output column 'id' collides with a key"),
    ("unknown model", "2013-10-01", ["model.uri=models:/nobody@champion"], ModelError, "nobody"),
    ("unknown alias", "2013-10-01", ["model.uri=models:/small@chanpion"], ModelError, "chanpion"),
    ("unknown version", "2013-10-01", ["model.uri=models:/small/99"], ModelError, "99"),
    ("not ONNX", "2013-10-01", ["model.uri=models:/garbage@champion"], ModelError, "expected an ONNX"),
    ("no registry file", "2013-10-01", ["registry.uri=sqlite:///nowhere.db"], RegistryError, "nowhere.db"),
    ("no registry server", "2013-10-01", ["registry.uri=http://127.0.0.1:9"], RegistryError, "127.0.0.1:9"),
    ("all rows fail", "2013-10-01", ["features.columns.1.sql=b / 0"], ChecksFailed, r"all 1 rows were set aside, so there is nothing to publish. Most frequent reasons: not_computable ratio \(1 rows\)"),
    ("a critical expectation", "2013-10-01", ["checks.input=critical.json"], ChecksFailed, r"1 critical expectation failed: input\[3\] expect_table_row_count_to_equal: found 1"),
    ("an expectation's column", "2013-10-01", ["checks.input=unknown_column.json"], InputError, "txt.*text"),
    ("no suite file", "2013-10-01", ["checks.input=nowhere.json"], ConfigError, "nowhere.json"),
    ("another job's table", "2013-10-01", ["job=other"], ConfigError, "expected a table of job 'other'; found job 'small'"),
    ("another grain's table", "2013-10", ["interval.grain=month"], ConfigError, "expected a table of grain 'month'; found grain 'day'"),
    ("another output column", "2013-10-01", ["model.outputs={q: 'probabilities[:, 1]'}"], ConfigError, "found missing q; too many: p"),
    ("a foreign table", "2013-10-01", ["output.scores=./doubled"], ConfigError, "a table that batchscore did not make"),
    ("lookup column", "2013-10-01", ["lookups.cities.columns=[sizes]", "features.columns.1={name: ratio, from: cities.sizes}"], InputError, "lookups.cities: expected column 'sizes' in the table ./cities"),
    ("lookup key", "2013-10-01", ["lookups.cities.on=[town]"], InputError, "lookups.cities: expected column 'town' in the input table"),
    ("lookup time", "2013-10-01", ["lookups.cities={table: ./cities, on: [city], columns: [size], at: text, known_at: city, max_age: 6h}"], InputError, "expected 'text' to be a timestamp; found string"),
    ("doubled lookup key", "2013-10-01", ["lookups.cities.table=./doubled"], InputError, "lookups.cities: expected one row for each key; found a key with several rows"),
]  # fmt: skip


@pytest.mark.parametrize(("interval", "sets", "kind", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_fault_has_its_own_error(
    small: SmallJob, interval: str, sets: list[str], kind: type[BatchscoreError], message: str
) -> None:
    started = time.monotonic()
    with pytest.raises(kind, match=f"(?s){message}") as raised:
        small.run(interval, *sets)
    assert type(raised.value) is kind
    assert time.monotonic() - started < 30


def test_a_byte_flipped_between_pin_and_worker_is_found_on_the_worker(small: SmallJob) -> None:
    small.add_model((0.125, 0.375), alias=None, name="fresh")  # no worker has a session of it yet
    job = small.load("model.uri=models:/fresh/1")
    prepared = prepare(small.spark, job, small.interval("2013-10-01"))
    ((sha256, content),) = prepared.contents.items()
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 1
    with pytest.raises(Exception) as raised:
        score_rows(small.spark, prepared.rows, prepared.spec, {sha256: bytes(flipped)}).collect()
    told = retell(raised.value)
    assert isinstance(told, ModelError)
    assert "They changed between pin and scoring; nothing was scored" in str(told)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_input_file_is_named(spark: SparkSession, tmp_path: Path, damage: str) -> None:
    hurt = make_small_job(spark, tmp_path, [row(id=i, text=f"some text {i}") for i in range(50)])
    file = next((tmp_path / "rows" / "day=2013-10-01").glob("*.parquet"))
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[200] ^= 0xFF
    file.write_bytes(bytes(content))
    for crc in file.parent.glob(".*.crc"):
        crc.unlink()
    with pytest.raises(InputError, match=r"expected .*\.parquet to be a whole Parquet file; it could not be read"):
        hurt.run()
    assert not hurt.outputs().scores.commits(0)


def test_planted_secrets_are_found_nowhere(
    small: SmallJob, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANTED_URI", f"http://user:{CANARY}@127.0.0.1:9")
    monkeypatch.setenv("PLANTED_KEY", CANARY)
    sets = ["registry.uri=${env:PLANTED_URI}", "engine.conf={spark.hadoop.fs.s3a.secret.key: '${env:PLANTED_KEY}'}"]
    with pytest.raises(RegistryError) as raised:
        small.run("2013-10-01", *sets)
    texts = [str(raised.value), json.dumps(small.audit()[-1]), *capfd.readouterr()]
    assert json.loads(texts[1])["error_type"] == "RegistryError"
    assert not [text for text in texts if CANARY in text]


def test_spark_submit_without_the_delta_jars_prints_the_line_to_use(small: SmallJob) -> None:
    submit = Path(sys.executable).parent / "spark-submit"
    command = [str(submit), str(REPOSITORY / "jobs" / "score.py"), "plan", small.file, "--interval", "2013-10-01"]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith("error: ")]  # where spark-submit sends stderr
    assert done.returncode == 2 and len(told) == 1, done.stdout + done.stderr[-2000:]
    assert "expected the Delta jars on this application; found none" in told[0]
    assert "spark-submit --jars" in told[0]
