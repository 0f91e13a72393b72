"""Suites made ready: compiled for their place, and whatever is wrong with them said before any row is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchscore.checks.compile import compile_suite
from batchscore.checks.compiled import CompiledSuite
from batchscore.checks.flags import check_condition
from batchscore.expectations import Suite

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def ready_suite(suite: Suite, frame: DataFrame, time_zone: str) -> CompiledSuite:
    """Compile a suite against the columns of its place.

    Args:
        suite: The suite.
        frame: A frame with those columns; none of its rows is read.
        time_zone: Zone in which times without one are read: the Spark session's.

    Raises:
        InputError: An expectation names a column that the frame lacks.
        ConfigError: SQL of the suite does not parse, is not allowed, or is no condition; Great Expectations refuses
            the arguments of an expectation that is left to it. Names where it is written.
    """
    from pyspark.sql.pandas.types import to_arrow_schema  # noqa: PLC0415 - keeps `validate` free of Spark

    compiled = compile_suite(suite, to_arrow_schema(frame.schema), time_zone=time_zone)
    for check in compiled.checks:
        if check.written is not None:
            check_condition(frame.sparkSession, frame, check.written, check.expectation.where)
    if compiled.gx:
        from batchscore.checks.engine import check_arguments  # noqa: PLC0415 - great_expectations takes seconds to import

        check_arguments(compiled.gx)
    return compiled
