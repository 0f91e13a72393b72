"""Arrow features on the workers: the job's own function on Arrow arrays, its faults told without cell values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batchscore.errors import ConfigError, ScoringError
from batchscore.features.modules import Function, line_of, load_source

if TYPE_CHECKING:
    from pyspark.sql import Column


def arrow_column(function: Function, columns: list[Column]) -> Column:
    """The column that an Arrow feature gives.

    Args:
        function: A function marked `@arrow_feature`.
        columns: One for each of its parameters.

    Raises:
        ConfigError: It promises a type that there is not.
    """
    from pyspark.sql.pandas.functions import arrow_udf  # noqa: PLC0415 - the driver alone needs it
    from pyspark.sql.pandas.types import to_arrow_type  # noqa: PLC0415
    from pyspark.sql.types import _parse_datatype_string  # noqa: PLC0415

    name, source, file = function.name, function.source, function.file
    try:
        kind = to_arrow_type(_parse_datatype_string(function.mark.returns))
    except Exception as error:
        raise ConfigError(
            f"{function.where}: expected the name of a Spark type, such as 'double'; found '{function.mark.returns}'. "
            "Correct `returns`."
        ) from error

    def run(*arrays: pa.Array) -> pa.Array:
        return call_function(name, source, file, kind, arrays)

    make_udf: Any = arrow_udf  # whose stubs know no types but atomic ones and arrays
    made: Column = make_udf(run, function.mark.returns)(*columns)
    return made


def call_function(name: str, source: str, file: str, kind: pa.DataType, arrays: tuple[pa.Array, ...]) -> pa.Array:
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
    if made.type != kind:
        if not (_is_number(made.type) and _is_number(kind)):
            raise ScoringError(
                f"feature '{name}': expected {kind} from {file}, as it says; found {made.type}. Cast it."
            )
        made = made.cast(kind, safe=False)
    return made


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
