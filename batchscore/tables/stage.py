"""The stage: every row of a run, once, with its outcome, outside the scores table until it may be published."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from batchscore.session import is_local
from batchscore.tables.locks import local_path
from batchscore.tables.parquet_files import count_rows, write_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType, StructType

# Types that Spark and pyarrow write into Parquet alike.
_SHARED = frozenset(
    "string binary boolean tinyint byte smallint short int integer bigint long float double decimal date timestamp "
    "timestamp_ntz".split()
)
MANY_FILES = 64  # above it Spark reads the footers, in parallel


@dataclass(frozen=True, slots=True)
class Stage:
    """A whole stage: plain Parquet files, named one by one, so that no other file in the folder counts.

    Attributes:
        location: Its path.
        files: Its files by outcome (`scored`, `quarantined`, `tally`), relative to the path.
        counts: Rows by outcome, from the files' footers.
        schema: Its columns, as Spark's JSON.
        stamps: Column to its one value, where the workers have put it into every scored row.
    """

    location: str
    files: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]
    schema: str
    stamps: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What a note keeps of it."""
        return {
            "files": {k: list(v) for k, v in self.files.items()},
            "counts": dict(self.counts),
            "schema": self.schema,
            "stamps": {name: value for name, value in self.stamps.items() if isinstance(value, (str, int))},
        }


def stage_from_dict(location: str, kept: Mapping[str, Any]) -> Stage:
    """The stage that `to_dict` wrote of."""
    files = {outcome: tuple(names) for outcome, names in kept["files"].items()}
    return Stage(location, files, dict(kept["counts"]), kept["schema"], kept.get("stamps", {}))


def write_stage(spark: SparkSession, rows: DataFrame, location: str) -> Stage:
    """Write the kernel's rows in one Spark job, split by outcome, and count what was written.

    Args:
        spark: The session.
        rows: The kernel's output; `_outcome` says where each row goes.
        location: A path of this run alone.

    Raises:
        WriteError: The job left no mark of success.
    """
    found: dict[str, list[str]] = {}
    for file in write_files(spark, rows, location, ["_outcome"]):
        found.setdefault(file.split("/", 1)[0].removeprefix("_outcome="), []).append(file)
    stage = Stage(location, {outcome: tuple(files) for outcome, files in found.items()}, {}, rows.schema.json())
    return replace(stage, counts={outcome: _count(spark, stage, outcome) for outcome in found})


def local_folder(spark: SparkSession, location: str, schema: StructType) -> str | None:
    """Where Python workers can write a stage themselves; None where executors may run on other machines.

    Neither can they where Spark and pyarrow have no common form in Parquet for a column's type.
    """
    folder = local_path(location)
    if folder is None or not is_local(spark) or not all(_is_shared(field.dataType) for field in schema.fields):
        return None
    return str(folder)


def find_stage(files: Iterable[tuple[str, str]], location: str, schema: StructType, stamps: Mapping[str, Any]) -> Stage:
    """The stage that workers have written.

    Args:
        files: Each whole file, relative to the location, with its outcome.
        location: The stage's local path.
        schema: Its columns, without those of the stamps.
        stamps: What every scored row has in columns of its own.
    """
    found: dict[str, list[str]] = {}
    for file, outcome in sorted(files):
        found.setdefault(outcome, []).append(file)
    folder = local_path(location)
    counts = {o: sum(pq.read_metadata(f"{folder}/{file}").num_rows for file in named) for o, named in found.items()}
    return Stage(location, {outcome: tuple(named) for outcome, named in found.items()}, counts, schema.json(), stamps)


def read_stage(spark: SparkSession, stage: Stage, outcome: str) -> DataFrame:
    """The rows of one outcome."""
    from pyspark.sql.types import StructType  # noqa: PLC0415 - executors import this package too

    schema = StructType.fromJson(json.loads(stage.schema))
    paths = [f"{stage.location}/{file}" for file in stage.files.get(outcome, ())]
    if not paths:
        return spark.createDataFrame([], schema)
    return spark.read.schema(schema).option("basePath", stage.location).parquet(*paths)


def _is_shared(kind: DataType) -> bool:
    inner = [getattr(kind, name) for name in ("elementType", "keyType", "valueType") if hasattr(kind, name)]
    inner += [field.dataType for field in getattr(kind, "fields", ())]
    return all(_is_shared(one) for one in inner) if inner else kind.typeName().split("(")[0] in _SHARED


def _count(spark: SparkSession, stage: Stage, outcome: str) -> int:
    files = stage.files[outcome]
    if len(files) > MANY_FILES:
        return read_stage(spark, stage, outcome).count()
    return sum(count_rows(spark, f"{stage.location}/{file}") for file in files)
