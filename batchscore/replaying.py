"""Replaying: a run's scores computed again from its own inputs and models, and compared with what it published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from batchscore.config import Job
from batchscore.errors import ConfigError, VerificationError
from batchscore.failures import retell
from batchscore.ledger import find_run
from batchscore.outputs import open_outputs
from batchscore.records import show_model
from batchscore.rendering import Sheet, Shown
from batchscore.reopening import Reopened, reopen_run
from batchscore.scoring.udf import score_rows
from batchscore.tables.read import quote

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

SHOWN_ROWS = 20
_PLACE = "_place"
# Absolute and relative difference that two computations of one score may have, by what computed the first.
EXACT = (1e-6, 1e-5)  # ONNX Runtime in float32, whatever the provider; equal to the bit on the same machine
REDUCED = (1e-2, 1e-2)  # TF32 or half precision on a GPU: 10 bits of mantissa
_NUMBERS = ("float", "double")


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay(Shown):
    """What became of computing a run again.

    Attributes:
        job: The job's name.
        run_id: The run.
        interval_label: Its interval.
        model: Its model.
        same_key: Whether the job file still gives the run's key; where not, only inputs and models are as they were.
        compared: Published rows that were computed again.
        equal: Of these, the same to the bit.
        within: Others within the tolerance.
        tolerance: Absolute and relative difference that counts as the same.
        missing: Published rows that the replay does not score.
        extra: Rows that it scores, and the run did not publish, those that were erased since among them.
        erased: Published rows that were erased since.
        differences: Some rows that differ: keys, column, published, and computed.
    """

    job: str
    run_id: str
    interval_label: str
    model: str
    same_key: bool
    compared: int
    equal: int
    within: int
    tolerance: tuple[float, float]
    missing: int
    extra: int
    erased: int
    differences: tuple[Mapping[str, Any], ...]

    @property
    def certified(self) -> bool:
        """Whether the run computes to what it published."""
        return self.compared == self.equal + self.within and not self.missing and self.extra <= self.erased

    def sheet(self) -> Sheet:
        """The replay laid out."""
        facts = [
            ("certified", self.certified),
            ("run", self.run_id),
            ("model", self.model),
            ("rows compared", self.compared),
            ("equal to the bit", self.equal),
            (f"within {self.tolerance[0]:g} or {self.tolerance[1]:g} of the score", self.within),
            ("published, not computed", self.missing),
            ("computed, not published", self.extra),
        ]
        if self.erased:
            facts.append(("erased since", self.erased))
        if not self.same_key:
            facts.append(("warning", "the job file has changed since the run: features or columns may be others"))
        names = tuple(self.differences[0]) if self.differences else ()
        lines = [[one[name] for name in names] for one in self.differences]
        return Sheet(f"replay {self.job} · {self.interval_label}", facts, (("some that differ", names, lines),))


def replay_run(spark: SparkSession, job: Job, run_id: str, sample: int | None) -> Replay:
    """Read a run's inputs by time travel, compute features and scores with its models, and compare.

    Args:
        spark: A session that `open_session` made.
        job: The job; it needs `input.key`.
        run_id: The run's id, the beginning of it, or `latest`.
        sample: Compare so many published rows, chosen by a hash of their keys; None for all.

    Raises:
        ConfigError: There is no such run, it was not published, or the job has no key.
        InputError: Retention has removed what the replay needs; the message says what.
        ModelError: A model's version is gone, or has other bytes.
    """
    try:
        return _replay(spark, job, run_id, sample)
    except Exception as error:
        raise retell(error) from error


def check_certified(found: Replay) -> None:
    """End with exit code 9 where a replay differs.

    Raises:
        VerificationError: It does.
    """
    if not found.certified:
        differ = found.compared - found.equal - found.within
        raise VerificationError(
            f"replay {found.run_id}: expected the scores that were published; {differ} of {found.compared} rows differ "
            f"beyond the tolerance, {found.missing} are not computed, {found.extra} were not published."
        )


def _replay(spark: SparkSession, job: Job, run_id: str, sample: int | None) -> Replay:
    keys = job.config.input.key
    if not keys:
        raise ConfigError("input.key: expected a key, by which rows are compared; found none.")
    target = open_outputs(spark, job)
    target.ledger.repair()
    record = find_run(target.ledger, run_id)
    reopened = reopen_run(spark, job, target, record)
    columns = [f.name for f in reopened.prepared.fields if f.name not in (*keys, *job.config.output.passthrough)]
    columns = [name for name in columns if name in reopened.published.columns]
    if job.config.model.segments is not None:
        columns.append("_model")
    published = reopened.published
    if sample is not None:
        published = _sample(published, keys, sample)
    rows = reopened.prepared.rows
    if sample is not None:
        rows = rows.join(published.select(*[quote(key) for key in keys]), list(keys), "left_semi")
    scored = score_rows(spark, rows, reopened.prepared.spec, reopened.prepared.contents).where("_outcome = 'scored'")
    if job.config.input.on_duplicate_key == "keep":
        published, scored = (_number(frame, keys, columns) for frame in (published, scored))
        both = _join(published, scored, (*keys, _PLACE), columns).persist()
    else:
        both = _join(published, scored, keys, columns).persist()
    try:
        return _compare(job, reopened, both, keys, columns)
    finally:
        both.unpersist()


def _sample(published: DataFrame, keys: Sequence[str], sample: int) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    return published.orderBy(F.xxhash64(*[F.col(quote(key)) for key in keys])).limit(sample)


def _number(rows: DataFrame, keys: Sequence[str], columns: Sequence[str]) -> DataFrame:
    """Rows with the place that each has among those of its key, by what is compared: for keys that are not unique."""
    from pyspark.sql import Window  # noqa: PLC0415 - keeps `validate` free of Spark
    from pyspark.sql import functions as F  # noqa: PLC0415

    values = F.to_json(F.struct(*[F.col(quote(column)) for column in columns]))
    window = Window.partitionBy(*[F.col(quote(key)) for key in keys]).orderBy(values)
    return rows.withColumn(_PLACE, F.row_number().over(window))


def _join(published: DataFrame, scored: DataFrame, keys: Sequence[str], columns: Sequence[str]) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: PLC0415

    def side(frame: DataFrame, name: str) -> DataFrame:
        picked = [frame[quote(key)].alias(f"{name}_k{i}") for i, key in enumerate(keys)]
        return frame.select(*picked, F.struct(*[F.col(quote(column)) for column in columns]).alias(name))

    one, other = side(published, "_a"), side(scored, "_b")
    condition = F.lit(True)
    for i in range(len(keys)):
        condition = condition & one[f"_a_k{i}"].eqNullSafe(other[f"_b_k{i}"])
    return one.join(other, condition, "full")


def _compare(job: Job, reopened: Reopened, both: DataFrame, keys: Sequence[str], columns: Sequence[str]) -> Replay:
    from pyspark.sql import functions as F  # noqa: PLC0415

    tolerance = _tolerance(job, reopened.record)
    types = dict(both.select("_a.*").dtypes)
    pairs = [(F.col("_a").getField(name), F.col("_b").getField(name), types[name]) for name in columns]
    equal = reduce(lambda a, b: a & b, [_is_equal(*pair) for pair in pairs], F.lit(True))
    near = reduce(lambda a, b: a & b, [_is_near(*pair, tolerance) for pair in pairs], F.lit(True))
    has_both = F.col("_a").isNotNull() & F.col("_b").isNotNull()
    counts = both.agg(
        F.count_if(has_both).alias("compared"),
        F.count_if(has_both & equal).alias("equal"),
        F.count_if(has_both & ~equal & near).alias("within"),
        F.count_if(F.col("_b").isNull()).alias("missing"),
        F.count_if(F.col("_a").isNull()).alias("extra"),
    ).first()
    assert counts is not None
    shown = both.where(F.col("_a").isNotNull()) if reopened.erased else both  # an erased row is not to be shown again
    differing = shown.where(~has_both | ~near).limit(SHOWN_ROWS).collect()
    record = reopened.record
    return Replay(
        job=job.config.job,
        run_id=str(record["run_id"]),
        interval_label=str(record["interval_label"]),
        model=show_model(record["model"]) or "",
        same_key=reopened.same_key,
        erased=reopened.erased,
        tolerance=tolerance,
        differences=tuple(_tell(row, keys) for row in differing),
        **{name: int(counts[name]) for name in ("compared", "equal", "within", "missing", "extra")},
    )


def _tolerance(job: Job, record: Mapping[str, Any]) -> tuple[float, float]:
    providers = (record.get("runtime") or {}).get("providers") or {}
    gpu = job.config.scoring.gpu
    reduced = any(name != "CPUExecutionProvider" for name in providers) and (gpu.tf32 or gpu.fp16)
    return REDUCED if reduced else EXACT


def _is_equal(one: Column, other: Column, kind: str) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415

    if kind.startswith("map"):
        return F.to_json(one).eqNullSafe(F.to_json(other))
    return one.eqNullSafe(other)


def _is_near(one: Column, other: Column, kind: str, tolerance: tuple[float, float]) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415

    equal, (absolute, relative) = _is_equal(one, other, kind), tolerance

    def near(a: Column, b: Column) -> Column:
        apart = F.abs(a.cast("double") - b.cast("double"))
        return F.coalesce(apart <= absolute + relative * F.abs(a.cast("double")), F.lit(False))

    if kind in _NUMBERS:
        return equal | near(one, other)
    if kind in [f"array<{number}>" for number in _NUMBERS]:
        same_size = F.size(one) == F.size(other)
        return equal | (
            same_size & F.forall(F.arrays_zip(one.alias("a"), other.alias("b")), lambda p: near(p["a"], p["b"]))
        )
    return equal


def _tell(row: Any, keys: Sequence[str]) -> dict[str, Any]:
    side = "_a" if row["_a"] is not None else "_b"
    told: dict[str, Any] = {key: row[f"{side}_k{i}"] for i, key in enumerate(keys)}
    for name, column in (("published", "_a"), ("computed", "_b")):
        values = row[column]
        told[name] = "nothing" if values is None else ", ".join(f"{k} {v}" for k, v in values.asDict().items())
    return told
