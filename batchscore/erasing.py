"""Erasing: a person's rows removed from every table and stage of a job, with a record that names nobody."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchscore.attempts import Progress, make_event, silent
from batchscore.audit.fold import ERASE_KEY
from batchscore.config import Job
from batchscore.errors import ConfigError, WriteError
from batchscore.failures import retell
from batchscore.outputs import Outputs, former_differences, open_outputs
from batchscore.pinning import resolve_table
from batchscore.rendering import Sheet, Shown
from batchscore.tables.delta import DeltaTable
from batchscore.tables.erasure import delete_rows, find_files, matching, remove_replaced
from batchscore.tables.pin import pin_table
from batchscore.tables.read import quote, read_pinned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Keys = Sequence[Mapping[str, str]] | Mapping[str, str]
KeyList = Sequence[Mapping[str, str]]
MOST_KEYS = 10_000
# Scores last: until then the erasure can be begun anew, and finds what is left by the same keys.
_ORDER = ("quarantine", "challenger", "differences", "scores")


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure(Shown):
    """What was erased, or would be.

    Attributes:
        job: The job's name.
        keys: How many keys were asked about.
        done: Whether it was done; False where it was only looked at, or there was nothing.
        tables: Table to `rows` that readers saw, and `files` of older versions that held such rows.
        stages: Runs that were not published, whose staged rows went.
        intervals: Intervals that lost rows.
        input_rows: Rows that the input, as it is now, still has of the keys; the next run would score them again.
            None where the input cannot be read.
    """

    job: str
    keys: int
    done: bool
    tables: Mapping[str, Mapping[str, int]]
    stages: tuple[str, ...]
    intervals: tuple[str, ...]
    input_rows: int | None

    def sheet(self) -> Sheet:
        """The erasure laid out."""
        facts: list[tuple[str, Any]] = [
            ("erased", self.done),
            ("keys", self.keys),
            ("intervals", len(self.intervals)),
            ("stages removed" if self.done else "stages", len(self.stages)),
        ]
        if self.input_rows is None:
            facts.append(("warning", "the input cannot be read; erase the rows there, too"))
        elif self.input_rows:
            rows = f"{self.input_rows} row{'s' if self.input_rows != 1 else ''}"
            facts.append(("warning", f"the input still has {rows}; erase them there, or the next run scores them"))
        lines = [[name, found["rows"], found["files"]] for name, found in self.tables.items()]
        return Sheet(f"erase {self.job}", facts, (("tables", ("table", "rows", "replaced files"), lines),))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """One table's rows of the keys: keys with the table's types, rows by interval, and files that hold any."""

    table: DeltaTable
    keys: DataFrame
    rows: Mapping[str, int]
    files: int


def erase_rows(
    spark: SparkSession,
    job: Job,
    keys: Keys,
    *,
    reason: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Erasure:
    """Remove all rows of some keys from scores, quarantine, a challenger's tables and stages.

    Readers of the latest versions see them no more, and the replaced files that hold such rows are removed at once, so
    that older versions of those intervals cannot be read: no rollback and no replay brings the rows back. The
    quarantine may shrink for this one commit. Stages with such rows go as a whole. Records in the audit say who, when,
    why, how many rows and of which intervals; no value of a key. An erasure that was cut off is done by the same
    command again.

    Args:
        spark: A session that `open_session` made.
        job: The job; it needs `input.key` and Delta output.
        keys: For each key, values of some or all columns of `input.key`, as text; the same columns for all. One key
            may stand alone.
        reason: Why, such as the number of a request; the audit keeps it.
        dry_run: Only look.
        progress: Called with a line for each step.

    Raises:
        ConfigError: The keys are none of the job's, or the output is plain Parquet.
        WriteError: A run is at work, or a store did not take it.
    """
    keys = [keys] if isinstance(keys, Mapping) else list(keys)
    names = _check_keys(job, keys)
    target = open_outputs(spark, job)
    _refuse_runs(target)
    target.ledger.repair()
    progress("looking for the rows")
    try:
        found = {name: one for name in _ORDER if (one := _look(spark, target, name, keys, names)) is not None}
        stages = _find_stages(spark, target, found)
        intervals = tuple(sorted({interval for one in found.values() for interval in one.rows}))
        told = Erasure(
            job=job.config.job,
            keys=len(keys),
            done=False,
            tables={name: {"rows": sum(one.rows.values()), "files": one.files} for name, one in found.items()},
            stages=tuple(stages),
            intervals=intervals,
            input_rows=_count_input(spark, job, keys, names),
        )
        if dry_run or not (stages or any(one.rows or one.files for one in found.values())):
            return told
        return _erase(spark, target, found, told, names, reason, progress)
    except Exception as error:
        raise retell(error) from error


def read_keys(text: str, known: Sequence[str], where: str) -> list[dict[str, str]]:
    """Keys from CSV with a header of columns. No message has any of its text.

    Args:
        text: The CSV.
        known: The job's key columns.
        where: How messages name it.

    Raises:
        ConfigError: It is no CSV, its header names other columns, or a line has another number of values.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise ConfigError(f"{where}: expected CSV as RFC 4180 has it; found {error}.") from error
    header, *rows = lines or [[]]
    if not header or not set(header) <= set(known) or len(set(header)) < len(header):
        raise ConfigError(
            f"{where}: expected a first line with names of key columns, each once, of {', '.join(known)}; found "
            f"{len(header)} others."
        )
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ConfigError(f"{where}, key {number}: expected {len(header)} values; found {len(row)}.")
    return [dict(zip(header, row, strict=True)) for row in rows]


def _erase(
    spark: SparkSession,
    target: Outputs,
    found: Mapping[str, _Found],
    told: Erasure,
    names: Sequence[str],
    reason: str | None,
    progress: Progress,
) -> Erasure:
    erase_id = uuid.uuid4().hex
    event = {
        **make_event("erase", told.job, None, reason),
        "command": "batchscore erase",  # the line itself may hold keys
        "erase_id": erase_id,
        "columns": list(names),
        "keys": told.keys,
        "intervals": list(told.intervals),
        "tables": {name: dict(counts) for name, counts in told.tables.items()},
        "stages": list(told.stages),
    }
    target.ledger.fold(events=[{**event, "status": "begun"}])
    for run_id in told.stages:
        progress(f"stage of run {run_id}")
        _remove_stage(target, run_id, reason)
    files = {}
    for name, one in found.items():
        progress(f"{name}: removing rows, and replaced files that hold them")
        if one.rows:
            metadata = json.dumps({ERASE_KEY: {"erase_id": erase_id, "job": told.job, "rows": dict(one.rows)}})
            delete_rows(spark, one.table, one.keys, metadata)
        files[name] = remove_replaced(spark, one.table, one.keys)
    tables = {name: {"rows": counts["rows"], "files": files[name]} for name, counts in told.tables.items()}
    target.ledger.fold(events=[{**event, "status": "done", "tables": tables}])
    return Erasure(
        job=told.job,
        keys=told.keys,
        done=True,
        tables=tables,
        stages=told.stages,
        intervals=told.intervals,
        input_rows=told.input_rows,
    )


def _check_keys(job: Job, keys: KeyList) -> list[str]:
    config = job.config
    if config.output.format != "delta":
        raise ConfigError(
            "erase: expected Delta output. From plain Parquet rows go by scoring each interval again without them; its "
            "quarantine must be written anew by hand."
        )
    known = config.input.key
    names = list(keys[0]) if keys else []
    if not names or not set(names) <= set(known) or any(set(key) != set(names) for key in keys):
        raise ConfigError(
            f"--key: expected a value for some or all of {', '.join(known) or '(the job has no key)'}, the same "
            f"columns for each key; found {'others' if names else 'none'}."
        )
    if any(not isinstance(value, str) for key in keys for value in key.values()):
        raise ConfigError("--key: expected values as text; found another type, or none.")
    if len(keys) > MOST_KEYS:
        raise ConfigError(f"--keys: expected at most {MOST_KEYS:,} keys; found {len(keys):,}. Erase them in parts.")
    return names


def _refuse_runs(target: Outputs) -> None:
    """A run at work may have read the rows already, and would publish them again."""
    if not target.scores.exists():
        raise ConfigError(f"erase: expected a scores table at {target.scores.location}; there is none yet.")
    alive = [run_id for run_id in target.stages.run_ids() if target.stages.is_claimed(run_id)]
    if alive:
        raise WriteError(f"erase: run {alive[0]} is at work and may publish the rows again. Wait for it, then erase.")


def _look(spark: SparkSession, target: Outputs, name: str, keys: KeyList, names: Sequence[str]) -> _Found | None:
    table = getattr(target, name)
    if name == "differences" and table is None:
        table = former_differences(target)
    if not isinstance(table, DeltaTable) or not table.exists():
        return None
    table.repair()
    types = table.columns()
    typed = _frame_of(spark, keys, {column: types[column] for column in names})
    rows = matching(table.read(), typed).groupBy("_interval").count().collect()
    counts = {str(row["_interval"]): int(row["count"]) for row in rows}
    current = {file.rsplit("/", 1)[-1] for file in table.read().inputFiles()}
    held = find_files(spark, table.location, typed)
    replaced = sum(file.rsplit("/", 1)[-1] not in current for file in held)
    return _Found(table=table, keys=typed, rows=counts, files=replaced)


def _frame_of(spark: SparkSession, keys: KeyList, types: Mapping[str, str]) -> DataFrame:
    """Distinct keys with a table's types.

    Raises:
        ConfigError: A value is none of its column's type; the message does not name it.
    """
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    names = list(types)
    texts = spark.createDataFrame([tuple(key[n] for n in names) for key in keys], [f"_{i}" for i in range(len(names))])
    typed = texts.select(*[F.col(f"_{i}").try_cast(kind).alias(name) for i, (name, kind) in enumerate(types.items())])
    rows = typed.distinct().collect()  # a frame of values, so that no plan computes them twice
    for name, kind in types.items():
        if any(row[name] is None for row in rows):
            raise ConfigError(f"--key {name}: expected values of type {kind}; found one that is none.")
    return spark.createDataFrame(rows, typed.schema).coalesce(1)


def _find_stages(spark: SparkSession, target: Outputs, found: Mapping[str, _Found]) -> list[str]:
    one = next(iter(found.values()), None)
    if one is None:
        return []
    return [run_id for run_id in target.stages.run_ids() if find_files(spark, target.stages.location(run_id), one.keys)]


def _remove_stage(target: Outputs, run_id: str, reason: str | None) -> None:
    with target.stages.claim(run_id):
        note = target.stages.read_note(run_id)
        if note is not None and note["state"] == "held":
            event = {**note["record"], "kind": "discard", "status": "erased", "run_id": None, "of": run_id}
            target.ledger.fold(events=[{**event, "reason": reason}])
        target.stages.remove(run_id)


def _count_input(spark: SparkSession, job: Job, keys: KeyList, names: Sequence[str]) -> int | None:
    """Rows of the keys in the input as it is now."""
    config = job.config.input
    try:
        place = resolve_table(job, config.table)
        pinned = pin_table(
            spark, place, config.format, named=config.table, where="input.table", interval=None, column=None
        )
        rows = read_pinned(spark, pinned)
        types = {name: rows.schema[name].dataType.simpleString() for name in names}
        return matching(rows.select(*[quote(name) for name in names]), _frame_of(spark, keys, types)).count()
    except Exception:
        return None
