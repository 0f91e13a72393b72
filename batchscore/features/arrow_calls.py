"""Arrow features on the workers: the job's own function on Arrow arrays, its faults told without cell values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batchscore.errors import ScoringError
from batchscore.features.modules import Function, line_of, load_source

if TYPE_CHECKING:
    from pyspark.sql import Column


def arrow_column(function: Function, columns: list[Column]) -> Column:
    """The column that an Arrow feature gives.

    Args:
        function: A function marked `@arrow_feature`.
        columns: One for each of its parameters.
    """
    from pyspark.sql.pandas.functions import arrow_udf  # noqa: PLC0415 - the driver alone needs it

    name, source, file = function.name, function.source, function.file

    def run(*arrays: pa.Array) -> pa.Array:
        return call_function(name, source, file, arrays)

    make_udf: Any = arrow_udf  # whose stubs know no types but atomic ones and arrays
    made: Column = make_udf(run, function.mark.returns)(*columns)
    return made


def call_function(name: str, source: str, file: str, arrays: tuple[pa.Array, ...]) -> pa.Array:
    """[n] values of a feature for [n] rows.

    Raises:
        ScoringError: The function raises, or gives something else than one array of [n] values.
    """
    function = getattr(load_source(source, file), name)
    try:
        made = function(*arrays)
    except Exception as error:
        # its text may quote values
        raise ScoringError(
            f"feature '{name}': {file}:{line_of(error, file)}: the function raised {type(error).__name__}. Mend it, "
            "or set such rows aside by an expectation on the input."
        ) from None
    if isinstance(made, pa.ChunkedArray):
        made = made.combine_chunks()
    if not isinstance(made, pa.Array) or len(made) != len(arrays[0]):
        found = f"{len(made)} values" if isinstance(made, pa.Array) else type(made).__name__
        raise ScoringError(
            f"feature '{name}': expected one pyarrow.Array of {len(arrays[0])} values from {file}; found {found}."
        )
    return made
