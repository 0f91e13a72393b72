"""The rows as the kernel takes them: keys, checked columns and computed features, each column once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchscore.config import FeatureConfig, ImputeConfig
from batchscore.errors import BatchscoreError, ConfigError
from batchscore.expressions import check_column, check_expression, find_names, guard, guard_column
from batchscore.features.arrow_calls import arrow_column
from batchscore.features.encoders import Constants, constants_of, encode_column
from batchscore.features.modules import Function, line_of
from batchscore.features.steps import Step, layer_steps, order_steps
from batchscore.kernel.spec import FeatureSpec

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

BITS = 62  # failure bits in one bigint column; the kernel's FAILED_BITS


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Rows ready for the kernel.

    Attributes:
        rows: One column for each name that keys, rules, features and passthrough need, and the flag columns.
        features: What the kernel must know of each feature.
        failed: Whether `_failed_<word>` columns travel along.
        steps: Every feature with what it reads, inputs first.
    """

    rows: DataFrame
    features: tuple[FeatureSpec, ...]
    failed: bool
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """What features are made of beside the rows.

    Attributes:
        functions: Marked functions by name.
        constants: Encoders' constants by feature.
        constants_file: Where these stand, for messages.
        where_of: Place of a feature by its position, for messages.
    """

    functions: Mapping[str, Function] = field(default_factory=dict)
    constants: Constants = field(default_factory=dict)
    constants_file: str = ""
    where_of: Callable[[int], str] = "features.columns.{}".format


def build_features(
    spark: SparkSession,
    rows: DataFrame,
    features: Sequence[FeatureConfig],
    *,
    needed: Sequence[str],
    flags: Sequence[Column],
    sources: Sources = Sources(),
) -> FeatureRows:
    """Compute the features of a job in Spark, each after those that it reads.

    A feature that cannot be computed for a row (overflow, bad cast, division by zero) leaves null, and its bit in
    `_failed_<word>`; the kernel sets that row aside with the reason. So does one that reads such a feature. What reads
    a feature sees it before its null policy, which the kernel applies.

    Args:
        spark: The session.
        rows: [n] input rows with lookups joined.
        features: The job's features.
        needed: Input columns that travel beside the features, without doubles.
        flags: Further columns, such as `_raw` and `_duplicate`.
        sources: Python functions and encoders' constants.

    Returns:
        [n] rows.

    Raises:
        ConfigError: An expression does not parse, is not allowed, or names no known column; a feature has a column's
            name, or reads itself; a constant is missing.
    """

    def names_of(sql: str, where: str) -> list[str]:
        check_expression(spark, sql, where, [*rows.columns, *(f.name for f in features)])
        return find_names(spark, sql, where)

    steps = order_steps(features, sources.functions, rows.columns, sources.where_of, names_of)
    layers = layer_steps(steps)
    read = {name.lower() for layer in layers for step in layer for name in step.reads}
    lookups = [step for step in steps if step.kind == "lookup"]
    early = [_brought(step) for step in lookups if step.name.lower() in read]
    start = rows.select("*", *early) if early else rows
    plain = [_column(s.name).alias(s.name) for s in lookups if early and s.name.lower() in read]
    plain += [_brought(s) for s in lookups if not (early and s.name.lower() in read)]
    plain += [_column(s.name).alias(s.name) for s in steps if s.kind == "input" and s.name not in needed]
    carried = [*[_column(name).alias(name) for name in needed], *plain, *flags]
    if not layers:
        return FeatureRows(start.select(*carried), tuple(_spec(f, None) for f in features), failed=False, steps=steps)
    bits = {f.name: i for i, f in enumerate(f for f in features if any(s.name == f.name and s.computed for s in steps))}
    final = _Layers(spark, layers, sources).compute(start, carried, bits)
    specs = tuple(_spec(f, bits.get(f.name)) for f in features)
    return FeatureRows(final, specs, failed=True, steps=steps)


class _Layers:
    """Features computed one layer after the other."""

    def __init__(self, spark: SparkSession, layers: list[list[Step]], sources: Sources) -> None:
        self._spark = spark
        self._layers = layers
        self._sources = sources
        self._bad: dict[str, Column] = {}  # by folded name: true where the feature could not be computed

    def compute(self, rows: DataFrame, carried: list[Column], bits: Mapping[str, int]) -> DataFrame:
        """The carried columns, the listed features, and the words with their failure bits."""
        names = rows.select(*carried).columns if len(self._layers) > 1 else []
        kept = [*carried, *(_column(name) for name in self._read_later(rows, names))]
        for layer in self._layers[:-1]:
            first = self._attempt(rows, layer, kept)
            values = [_value(place).alias(step.name) for place, step in enumerate(layer)]
            bad = {f"_bad_{step.name}": self._failure(step, place) for place, step in enumerate(layer)}
            travel = [_column(name) for name in first.columns if not name.startswith("_try_")]
            rows = first.select(*travel, *values, *[one.alias(name) for name, one in bad.items()])
            self._bad |= {step.name.lower(): _column(f"_bad_{step.name}") for step in layer}
            kept = [_column(name) for name in rows.columns]
        layer = self._layers[-1]
        first = self._attempt(rows, layer, kept)
        values = [_value(place).alias(step.name) for place, step in enumerate(layer) if step.listed]
        self._bad |= {step.name.lower(): self._failure(step, place) for place, step in enumerate(layer)}
        words = _failure_words([self._bad[name.lower()] for name in bits])
        below = [step.name for one in self._layers[:-1] for step in one if step.listed]
        last = [*names, *below] if names else [n for n in first.columns if not n.startswith("_try_")]
        return first.select(*[_column(name) for name in last], *values, *words)

    def _read_later(self, rows: DataFrame, carried: Sequence[str]) -> list[str]:
        """Columns of the rows that layers above the first read, as far as they are not carried anyway."""
        read = {name.lower() for layer in self._layers[1:] for step in layer for name in step.reads}
        return [name for name in rows.columns if name.lower() in read - {one.lower() for one in carried}]

    def _attempt(self, rows: DataFrame, layer: list[Step], kept: list[Column]) -> DataFrame:
        """The kept columns, and for each step a struct of its value; null where it cannot be computed."""
        tried = [self._try(rows, step).alias(f"_try_{place}") for place, step in enumerate(layer)]
        try:
            return rows.select(*kept, *tried)
        except BatchscoreError:
            raise
        except Exception as error:
            for step, one in zip(layer, tried, strict=True):
                reason = find_fault(lambda column=one: rows.select(column))  # type: ignore[misc]
                if reason:
                    raise ConfigError(f"{step.where}: {reason}") from error
            raise

    def _try(self, rows: DataFrame, step: Step) -> Column:
        from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

        if step.kind == "sql":
            return guard(self._spark, step.sql, step.where)
        if step.encode is not None:
            kinds = {name.lower(): kind for name, kind in rows.dtypes}
            values = constants_of(step.name, step.encode, self._sources.constants, self._sources.constants_file)
            of = step.encode.of
            return F.struct(
                encode_column(step.encode.do, _column(of), kinds[of.lower()], values, step.where).alias("v")
            )
        assert step.function is not None
        columns = [_column(name) for name in step.function.mark.inputs]
        if step.kind == "arrow":
            return F.struct(arrow_column(step.function, columns).alias("v"))
        return guard_column(self._spark, _call(self._spark, rows, step.function, columns, step.where))

    def _failure(self, step: Step, place: int) -> Column:
        """Whether a step could not be computed, or one that it reads."""
        failed = _column(f"_try_{place}").isNull()
        for name in dict.fromkeys(read.lower() for read in step.reads):
            if name in self._bad:
                failed = failed | self._bad[name]
        return failed


def _call(spark: SparkSession, rows: DataFrame, function: Function, columns: list[Column], where: str) -> Column:
    """What a Python feature gives, proved to be a scalar function of the row.

    Raises:
        ConfigError: It raises, or gives something else.
    """
    from pyspark.sql import Column as AnyColumn  # noqa: PLC0415 - the driver alone needs it

    try:
        made = function.call(*columns)
    except Exception as error:
        line = line_of(error, function.file)
        raise ConfigError(
            f"{where}: {function.file}:{line}: expected a column; the function raised {type(error).__name__}: {error}. "
            "Mend it."
        ) from error
    if not isinstance(made, AnyColumn):
        raise ConfigError(f"{where}: {function.where}: expected a Column; it gave {type(made).__name__}. Return one.")
    fault = find_fault(lambda: rows.select(made))
    if fault is not None:
        raise ConfigError(f"{where}: {function.where}: {fault}")
    check_column(spark, rows, made, f"{where}: {function.where}")
    return made


def _value(place: int) -> Column:
    return _column(f"_try_{place}").getField("v")


def _brought(step: Step) -> Column:
    lookup, _, column = step.sql.partition(".")
    return _column(lookup).getField(column).alias(step.name)


def _failure_words(failed: Sequence[Column]) -> list[Column]:
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    words = []
    for word, start in enumerate(range(0, len(failed), BITS)):
        total = F.lit(0).cast("bigint")
        for place, one in enumerate(failed[start : start + BITS]):
            total = total.bitwiseOR(F.when(one, F.lit(1 << place).cast("bigint")).otherwise(F.lit(0).cast("bigint")))
        words.append(total.alias(f"_failed_{word}"))
    return words


def find_fault(attempt: Callable[[], object]) -> str | None:
    """What Spark has against an expression, in our words; None where it takes it."""
    try:
        attempt()
    except Exception as error:
        condition = getattr(error, "getCondition", lambda: None)()
        parameters: dict[str, str] = getattr(error, "getMessageParameters", dict)() or {}
        if condition and condition.startswith("UNRESOLVED_COLUMN"):
            near = parameters.get("proposal", "").replace("`_left`.", "")
            return (
                "expected columns of the input table, LOOKUP.COLUMN or other features; found "
                f"{parameters.get('objectName')}. Did you mean one of: {near}?"
            )
        first = str(error).splitlines()[0]
        return f"expected an expression that Spark can resolve; found: {first[:300]}. Correct it."
    return None


def _spec(feature: FeatureConfig, bit: int | None) -> FeatureSpec:
    if isinstance(feature.on_null, ImputeConfig):
        return FeatureSpec(name=feature.name, on_null="impute", impute=feature.on_null.impute, failed_bit=bit)
    return FeatureSpec(name=feature.name, on_null=feature.on_null, failed_bit=bit)


def _column(name: str) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415

    return F.col(f"`{name.replace('`', '``')}`")
