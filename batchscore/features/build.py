"""The rows as the kernel takes them: keys, checked columns and computed features, each column once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from batchscore.config import FeatureConfig, ImputeConfig
from batchscore.errors import ConfigError
from batchscore.expressions import (
    check_column,
    check_expression,
    find_names,
    guard,
    has_inexact,
    is_failed,
    keep_exact,
    parse_column,
)
from batchscore.features.arrow_calls import arrow_column
from batchscore.features.encoders import Constants, constants_of, encode_column
from batchscore.features.fallible import find_fallible
from batchscore.features.modules import Function, line_of
from batchscore.features.steps import Step, layer_steps, order_steps
from batchscore.features.words import quote
from batchscore.kernel.spec import FeatureSpec

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

MANY_NAMES = 10_000
# Expressions that were found to be in order over some columns, and what they read: a backfill asks for each interval.
_NAMES: dict[tuple[str, frozenset[str]], list[str]] = {}
_FALLIBLE: dict[tuple[str, str], bool] = {}  # by the schema of the rows and the expression over them
BITS = 62  # failure bits in one bigint column; the kernel's FAILED_BITS


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Rows ready for the kernel.

    Attributes:
        rows: One column for each name that keys, rules, features and passthrough need, and the flag columns.
        features: What the kernel must know of each feature.
        failed: Whether `_failed_<word>` columns travel along.
        steps: Every feature with what it reads, inputs first.
        plain: Whether every column is a column of the input table, or `_raw`.
    """

    rows: DataFrame
    features: tuple[FeatureSpec, ...]
    failed: bool
    steps: tuple[Step, ...] = ()
    plain: bool = False


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
    known = frozenset(name.lower() for name in (*rows.columns, *(f.name for f in features)))

    def names_of(sql: str, where: str) -> list[str]:
        if (sql, known) not in _NAMES:
            check_expression(spark, sql, where, known)
            if len(_NAMES) >= MANY_NAMES:
                _NAMES.clear()
            _NAMES[sql, known] = find_names(spark, sql, where)
        return _NAMES[sql, known]

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
        specs = tuple(_spec(f, None, sources) for f in features)
        return FeatureRows(start.select(*carried), specs, failed=False, steps=steps)
    work = _Layers(spark, layers, sources)
    final, bits = work.compute(start, carried, [feature.name for feature in features])
    specs = tuple(_spec(f, bits.get(f.name), sources) for f in features)
    return FeatureRows(final, specs, failed=bool(bits), steps=steps)


class _Layers:
    """Features computed one layer after the other, each layer in one projection."""

    def __init__(self, spark: SparkSession, layers: list[list[Step]], sources: Sources) -> None:
        self._spark = spark
        self._layers = layers
        self._sources = sources
        self._failed: dict[str, Column] = {}  # by folded name: true where the step could not be computed

    def compute(
        self, rows: DataFrame, carried: list[Column], listed: Sequence[str]
    ) -> tuple[DataFrame, dict[str, int]]:
        """The carried columns, the listed features and the words with their failure bits; and the bit of each."""
        names = rows.select(*carried).columns if len(self._layers) > 1 else []
        kept = [*carried, *(_column(name) for name in self._read_later(rows, names))]
        for layer in self._layers[:-1]:
            values = self._values(rows, layer)
            marks = {s.name.lower(): f"_bad_{s.name}" for s in layer if s.name.lower() in self._failed}
            rows = rows.select(*kept, *values, *[self._failed[key].alias(name) for key, name in marks.items()])
            self._failed |= {key: _column(name) for key, name in marks.items()}
            kept = [_column(name) for name in rows.columns]
        values = self._values(rows, self._layers[-1], listed_only=True)
        fallible = [name for name in listed if name.lower() in self._failed]
        words = _failure_words([self._failed[name.lower()] for name in fallible])
        below = [step.name for layer in self._layers[:-1] for step in layer if step.listed]
        last = [_column(name) for name in (*names, *below)] if names else kept
        return rows.select(*last, *values, *words), {name: bit for bit, name in enumerate(fallible)}

    def _read_later(self, rows: DataFrame, carried: Sequence[str]) -> list[str]:
        """Columns of the rows that layers above the first read, as far as they are not carried anyway."""
        read = {name.lower() for layer in self._layers[1:] for step in layer for name in step.reads}
        return [name for name in rows.columns if name.lower() in read - {one.lower() for one in carried}]

    def _values(self, rows: DataFrame, layer: list[Step], *, listed_only: bool = False) -> list[Column]:
        """The columns of a layer, null where they cannot be computed; where that may be is kept in `_failed`."""
        columns = [self._column(rows, step) for step in layer]
        values = []
        for step, column, fallible in zip(layer, columns, self._find_fallible(rows, layer, columns), strict=True):
            own = is_failed(self._spark, column) if fallible else None
            above = [self._failed[key] for key in dict.fromkeys(n.lower() for n in step.reads) if key in self._failed]
            causes = above if own is None else [own, *above]
            if causes:
                self._failed[step.name.lower()] = reduce(or_, causes)
            if step.listed or not listed_only:
                values.append((guard(self._spark, column) if fallible else column).alias(step.name))
        return self._keep_exact(rows, layer, values) if values else values

    def _keep_exact(self, rows: DataFrame, layer: list[Step], values: list[Column]) -> list[Column]:
        """The columns of a layer, those of type double by Java where Comet would give another last digit."""
        inexact = {step.name for step in layer if step.kind == "sql" and has_inexact(step.sql)}
        if not inexact:
            return values
        kinds = rows.select(*values).dtypes
        return [
            keep_exact(value).alias(name) if name in inexact and kind == "double" else value
            for value, (name, kind) in zip(values, kinds, strict=True)
        ]

    def _find_fallible(self, rows: DataFrame, layer: list[Step], columns: list[Column]) -> list[bool]:
        """Which columns may fail for a row; where Spark cannot resolve one, the error that says which step that is."""
        asked = [place for place, step in enumerate(layer) if step.kind in ("sql", "python")]
        schema = rows.schema.json()
        known = {place: _FALLIBLE.get((schema, layer[place].sql)) for place in asked if layer[place].kind == "sql"}
        if asked and all(known.get(place) is not None for place in asked):
            return [bool(known.get(place)) for place in range(len(layer))]
        try:
            found = dict(zip(asked, find_fallible(rows, [columns[place] for place in asked]), strict=True))
        except Exception as error:
            for step, column in zip(layer, columns, strict=True):
                reason = find_fault(lambda one=column: rows.select(one))  # type: ignore[misc]
                if reason:
                    raise ConfigError(f"{step.where}: {reason}") from error
            raise
        if len(_FALLIBLE) >= MANY_NAMES:
            _FALLIBLE.clear()
        _FALLIBLE.update({(schema, layer[place].sql): found[place] for place in known})
        return [found.get(place, False) for place in range(len(layer))]

    def _column(self, rows: DataFrame, step: Step) -> Column:
        if step.kind == "sql":
            return parse_column(self._spark, step.sql, step.where)
        if step.encode is not None:
            kinds = {name.lower(): kind for name, kind in rows.dtypes}
            values = constants_of(step.name, step.encode, self._sources.constants, self._sources.constants_file)
            of = step.encode.of
            return encode_column(step.encode.do, _column(of), kinds[of.lower()], values, step.where)
        assert step.function is not None
        columns = [_column(name) for name in step.function.mark.inputs]
        if step.kind == "arrow":
            return arrow_column(step.function, columns)
        return _call(self._spark, rows, step.function, columns, step.where)


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
    check_column(spark, rows, made, f"{where}: {function.where}", function.mark.inputs)
    return made


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


def _spec(feature: FeatureConfig, bit: int | None, sources: Sources) -> FeatureSpec:
    width = None
    if feature.encode is not None and feature.encode.do == "one_hot":
        width = len(constants_of(feature.name, feature.encode, sources.constants, sources.constants_file)["categories"])
    if isinstance(feature.on_null, ImputeConfig):
        policy, impute = "impute", feature.on_null.impute
        return FeatureSpec(name=feature.name, on_null=policy, impute=impute, failed_bit=bit, width=width)
    return FeatureSpec(name=feature.name, on_null=feature.on_null, failed_bit=bit, width=width)


def _column(name: str) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415

    return F.col(quote(name))
