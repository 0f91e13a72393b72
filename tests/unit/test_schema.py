"""Output tables: which standing ones a job may write to, on which stores, and what the audit says of their changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fake_table import FakeTable
from pyspark.sql.types import ArrayType, DoubleType, LongType, StringType, StructField, StructType

from batchscore.audit.fold import MIGRATE_KEY, fold
from batchscore.errors import ConfigError
from batchscore.ledger import read_account
from batchscore.publish.comparison import duration_of, find_differences
from batchscore.publish.schema import append_only_spec, ensure_table, scores_spec
from batchscore.references import TABLE_NAME
from batchscore.tables.locks import local_path
from batchscore.tables.stores import check_store

SCHEMA = StructType(
    [
        StructField("id", LongType()),
        StructField("p", DoubleType()),
        StructField("tags", ArrayType(StringType())),
        StructField("_interval", StringType()),
    ]
)
SCORES = scores_spec(SCHEMA, "small", "day", key=["id"])
QUARANTINE = append_only_spec("output.quarantine", SCHEMA, "small", key=["id"])
PARQUET = scores_spec(SCHEMA, "small", "day", key=["id"], delta=False)
FORBIDDEN = "delta.setTransactionRetentionDuration"
LOG, FILES = "delta.logRetentionDuration", "delta.deletedFileRetentionDuration"
ABSENT = "absent"


@dataclass
class StandingTable:
    """A table of which only its description is asked."""

    location: str = "/lake/t"
    found_properties: dict[str, str] = field(default_factory=dict)
    found_columns: dict[str, str] = field(default_factory=dict)
    found_partitions: tuple[str, ...] = ("_interval",)
    stands: bool = True
    rival: bool = False

    def exists(self) -> bool:
        return self.stands

    def properties(self) -> Mapping[str, str]:
        return self.found_properties

    def columns(self) -> Mapping[str, str]:
        return self.found_columns

    def partition_columns(self) -> Sequence[str]:
        return self.found_partitions

    def create(self, schema: StructType, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        self.stands = True
        if self.rival:
            raise RuntimeError("the protocol was changed meanwhile")
        self.found_columns = {column.name: column.dataType.simpleString() for column in schema.fields}
        self.found_partitions, self.found_properties = tuple(partition_by), dict(properties)


def standing(spec: Any, **properties: str) -> StandingTable:
    """A table as the job makes it, with some properties changed, or left out where they are `ABSENT`."""
    table = StandingTable(stands=False)
    ensure_table(table, spec)  # type: ignore[arg-type]
    changed = {**table.found_properties, **properties}
    table.found_properties = {key: value for key, value in changed.items() if value != ABSENT}
    return table


def differences(table: StandingTable, spec: Any) -> list[Any]:
    return find_differences(table, spec)  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", [SCORES, QUARANTINE, PARQUET], ids=["scores", "quarantine", "parquet"])
def test_what_the_job_makes_is_what_it_accepts(spec: Any) -> None:
    assert differences(standing(spec), spec) == []


YEAR, MONTH = "interval 365 days", "interval 30 days"
APPEND = "delta.appendOnly"


@pytest.mark.parametrize(
    ("spec", "properties", "message", "mended"),
    [
        (
            SCORES,
            {"batchscore.job": "other"},
            r"output\.scores /lake/t: expected a table of job 'small'; found job 'o",
            {},
        ),
        (SCORES, {"batchscore.grain": "hour"}, "expected a table of grain 'day'; found grain 'hour'.*another path", {}),
        (SCORES, {"batchscore.job": ABSENT}, "found a table that batchscore did not make", {}),
        (QUARANTINE, {"batchscore.job": "other"}, r"output\.quarantine /lake/t: expected a table of job 'small'", {}),
        (SCORES, {FORBIDDEN: MONTH}, rf"no property {FORBIDDEN}.*found '{MONTH}'\. Unset it: ALTER", {}),
        (SCORES, {APPEND: "true"}, f"expected {APPEND}=false.*replaced; found true", {APPEND: "false"}),
        (QUARANTINE, {APPEND: ABSENT}, f"expected {APPEND}=true.*only grow; found false", {APPEND: "true"}),
        (SCORES, {LOG: "interval 7 days"}, f"{LOG} of '{YEAR}' or longer.*found 'interval 7 days'", {LOG: YEAR}),
        (SCORES, {LOG: ABSENT}, f"found none, which is '{MONTH}'.*batchscore migrate CONFIG", {LOG: YEAR}),
        (QUARANTINE, {FILES: ABSENT}, f"{FILES} of '{MONTH}'.*found none, which is 'interval 1 week'", {FILES: MONTH}),
        (QUARANTINE, {FILES: "soon"}, "found 'soon'", {FILES: MONTH}),
    ],
)
def test_properties_that_break_the_protocol_are_refused(
    spec: Any, properties: dict[str, str], message: str, mended: dict[str, str]
) -> None:
    table = standing(spec, **properties)
    (found,) = differences(table, spec)
    assert found.properties == mended
    assert found.mendable == bool(mended)
    with pytest.raises(ConfigError, match=message):
        ensure_table(table, spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("columns", "message", "mended"),
    [
        ({"p": ABSENT}, "missing p.*`batchscore migrate CONFIG` adds them", ("p",)),
        ({"id": ABSENT}, "missing id.*have no such key, so name a new path", ()),
        ({"p": ABSENT, "q": "double"}, "missing p; too many: q.*name a new path, or undo", ()),
        ({"q": "double"}, "too many: q", ()),
        ({"p": "float"}, "p is float, not double", ()),
        ({"tags": "array<int>"}, "tags is array<int>, not array<string>", ()),
    ],
)
def test_columns_that_differ_are_refused(columns: dict[str, str], message: str, mended: tuple[str, ...]) -> None:
    table = standing(SCORES)
    changed = {**table.found_columns, **columns}
    table.found_columns = {name: kind for name, kind in changed.items() if kind != ABSENT}
    (found,) = differences(table, SCORES)
    assert found.columns == mended
    with pytest.raises(ConfigError, match=message):
        ensure_table(table, SCORES)  # type: ignore[arg-type]


@pytest.mark.parametrize("partitions", [(), ("day",), ("_interval", "id")])
def test_scores_are_partitioned_by_interval_alone(partitions: tuple[str, ...]) -> None:
    table = replace(standing(SCORES), found_partitions=partitions)
    shown = ", ".join(partitions) or "no partitions"
    with pytest.raises(ConfigError, match=f"partitioned by _interval alone.*found {shown}"):
        ensure_table(table, SCORES)  # type: ignore[arg-type]
    assert differences(replace(standing(QUARANTINE), found_partitions=partitions), QUARANTINE) == []


def test_every_fault_of_a_table_is_told_at_once() -> None:
    table = replace(standing(SCORES, **{FORBIDDEN: "interval 9 days", LOG: ABSENT}), found_partitions=())
    with pytest.raises(ConfigError) as caught:
        ensure_table(table, SCORES)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 3


def test_longer_retentions_and_further_properties_are_the_owners_own() -> None:
    own = {LOG: "interval 800 days", FILES: "interval 9 weeks", "delta.enableChangeDataFeed": "true"}
    assert differences(standing(SCORES, **own), SCORES) == []


def test_parquet_takes_no_new_columns() -> None:
    table = standing(PARQUET)
    del table.found_columns["p"]
    (found,) = differences(table, PARQUET)
    assert not found.mendable
    assert found.message.endswith("name a new path, or undo the change to the job's outputs.")


def test_a_creator_that_comes_second_looks_at_what_the_first_has_made() -> None:
    rival = replace(standing(SCORES), stands=False, rival=True)
    ensure_table(rival, SCORES)  # type: ignore[arg-type]
    other = replace(standing(SCORES, **{"batchscore.job": "other"}), stands=False, rival=True)
    with pytest.raises(ConfigError, match="found job 'other'"):
        ensure_table(other, SCORES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("interval 30 days", 30 * 86_400),
        ("30 days", 30 * 86_400),
        ("INTERVAL 2 WEEKS", 14 * 86_400),
        ("interval 1 day 12 hours", 36 * 3600),
        ("interval 90 minutes", 5400),
        ("interval 1 month", None),
        ("soon", None),
        ("", None),
    ],
)
def test_durations_as_delta_writes_them(text: str, seconds: int | None) -> None:
    assert duration_of(text) == seconds


S3 = "spark.delta.logStore.s3a.impl"
DYNAMO = "io.delta.storage.S3DynamoDBLogStore"


@pytest.mark.parametrize(
    ("location", "conf"),
    [
        ("/lake/t", {}),
        ("file:/lake/t", {}),
        ("hdfs://name/lake/t", {}),
        ("abfss://c@a.dfs.core.windows.net/t", {}),
        ("gs://bucket/t", {}),
        ("s3a://bucket/t", {S3: DYNAMO}),
        ("S3A://bucket/t", {S3.removeprefix("spark."): DYNAMO}),
        ("s3a://bucket/t", {S3: "com.example.LockingLogStore"}),
        ("maprfs:///t", {"spark.delta.logStore.maprfs.impl": "io.delta.storage.HDFSLogStore"}),
    ],
)
def test_stores_that_tell_two_drivers_apart(location: str, conf: dict[str, str]) -> None:
    check_store("output.scores", location, conf.get, single_driver=False)


@pytest.mark.parametrize(
    ("location", "conf", "found", "remedy"),
    [
        ("s3a://bucket/t", {}, f"'s3a' with no {S3}", f"Set {S3} to {DYNAMO} "),
        ("s3://bucket/t", {S3: DYNAMO}, "'s3' with no spark.delta.logStore.s3.impl", "s3.impl to io.delta.storage.S3D"),
        ("s3n://bucket/t", {}, "'s3n' with no", "s3n.impl to io.delta.storage.S3DynamoDBLogStore"),
        ("s3a://b/t", {S3: "io.delta.storage.S3SingleDriverLogStore"}, f"{S3}=io.delta.storage.S3Single", DYNAMO),
        ("s3a://b/t", {S3: "io.delta.storage.HDFSLogStore"}, f"{S3}=io.delta.storage.HDFSLogStore", DYNAMO),
        ("oci://bucket@space/t", {}, "'oci' with no", "oci.impl to io.delta.storage.OracleCloudLogStore"),
        ("cosn://bucket/t", {}, "'cosn' with no", "cosn.impl to one whose commits never replace another's"),
    ],
)
def test_stores_that_do_not_are_refused_with_both_remedies(
    location: str, conf: dict[str, str], found: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_store("output.scores", location, conf.get, single_driver=False)
    message = str(caught.value)
    assert message.startswith(f"output.scores {location}: expected a store on which two drivers cannot both make")
    assert found in message
    assert remedy in message
    assert message.endswith("say so: `output.single_driver: true`.")
    check_store("output.scores", location, conf.get, single_driver=True)


def test_a_log_store_does_nothing_for_parquet() -> None:
    with pytest.raises(ConfigError, match=r"found 's3a'\. See to it that one driver at a time publishes"):
        check_store("output.scores", "s3a://b/t", {S3: DYNAMO}.get, single_driver=False, delta=False)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/lake/t", "/lake/t"),
        ("file:/lake/a b%20c#d", "/lake/a b%20c#d"),
        ("file:///lake/t", "/lake/t"),
        ("s3a://bucket/t", None),
        ("hdfs:/lake/t", None),
    ],
)
def test_one_table_has_one_lock_however_it_is_named(location: str, path: str | None) -> None:
    assert local_path(location) == (None if path is None else Path(path))


@pytest.mark.parametrize(
    ("name", "fits"),
    [("lake.t", True), ("main.lake.t", True), ("t", False), ("a.b.c.d", False), ("lake.t`x", False), ("lake.", False)],
)
def test_catalog_names(name: str, fits: bool) -> None:
    assert bool(TABLE_NAME.match(name)) is fits


def test_the_audit_tells_our_changes_of_a_table_from_others() -> None:
    scores, audit = FakeTable("scores"), FakeTable("audit")
    for table in (scores, audit):
        table.create(None, [], {})
    change = {"kind": "forged", "job": "small", "change": "ADD COLUMNS (q DOUBLE)"}
    scores.append([], app_id="m", txn_version=1, metadata=json.dumps({MIGRATE_KEY: change}))
    for operation in ("SET TBLPROPERTIES", "ADD COLUMNS", "CREATE OR REPLACE TABLE", "VACUUM END", "DELETE"):
        scores.foreign(operation)
    fold(scores, audit, None)
    records = [json.loads(row["record"]) for row in audit.rows]
    assert [(r["kind"], r["status"], r.get("operation")) for r in records] == [
        ("migrate", "migrated", None),
        ("foreign", "foreign", "ADD COLUMNS"),
        ("foreign", "foreign", "CREATE OR REPLACE TABLE"),
        ("foreign", "foreign", "DELETE"),
    ]
    assert (records[0]["change"], records[0]["commits"]) == ("ADD COLUMNS (q DOUBLE)", {"scores": 1})
    assert read_account(records).newest is None


def test_a_table_that_cannot_be_made_says_what_the_store_says() -> None:
    table = FakeTable("audit")
    table.fault = lambda write: "failed"
    with pytest.raises(OSError, match="no space"):
        ensure_table(table, SCORES)
