"""The marks by which a job finds its Python features: `@feature` and `@arrow_feature`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from batchscore.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__batchscore_feature__"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a mark says of a function.

    Attributes:
        kind: `column` for one that gives a Spark column, `arrow` for one that gives Arrow arrays.
        inputs: The columns that it needs: its parameters.
        returns: For `arrow`, Spark's name of the type.
    """

    kind: Literal["column", "arrow"]
    inputs: tuple[str, ...]
    returns: str = ""


def feature(function: F) -> F:
    """Mark a function as a feature: its name is the column's, its parameters are the columns that it needs.

    It is called once, on the driver, with one Spark `Column` for each parameter (input columns, lookups as structs,
    other features), and returns a `Column` that is a scalar function of the row.

    Args:
        function: The function.

    Raises:
        ConfigError: It has no parameters, or such that are no columns.
    """
    setattr(function, _MARK, Mark("column", _inputs(function, "@feature")))
    return function


def arrow_feature(*misplaced: object, returns: str = "") -> Callable[[F], F]:
    """Mark a function of Arrow arrays as a feature, for what SQL cannot say.

    It is called on the workers with one `pyarrow.Array` for each parameter, all [n], and returns one array of [n]
    values. Rows go to Python and back for it, so a `@feature` is faster wherever it will do.

    Args:
        misplaced: Nothing: the mark takes its argument by name.
        returns: Spark's name of the type, such as `double` or `array<float>`.

    Raises:
        ConfigError: No type is named, or the function has no parameters or such that are no columns.
    """
    if misplaced or not isinstance(returns, str) or not returns:
        raise ConfigError("@arrow_feature: expected (returns='double'), or another type's name; found none. Name it.")

    def mark(function: F) -> F:
        setattr(function, _MARK, Mark("arrow", _inputs(function, "@arrow_feature"), returns))
        return function

    return mark


def mark_of(value: object) -> Mark | None:
    """The mark of a function; None where it has none."""
    found = getattr(value, _MARK, None) if inspect.isfunction(value) else None
    return found if isinstance(found, Mark) else None


def _inputs(function: object, mark: str) -> tuple[str, ...]:
    if not inspect.isfunction(function):
        raise ConfigError(f"{mark}: expected a function; found {type(function).__name__}. Mark a plain function.")
    parameters = inspect.signature(function).parameters.values()
    odd = [p.name for p in parameters if p.kind is not p.POSITIONAL_OR_KEYWORD or p.default is not p.empty]
    if odd or not parameters:
        raise ConfigError(
            f"{mark} {function.__name__}: expected parameters that name columns, without defaults; found "
            f"{odd[0] if odd else 'none'}. Name each column that it needs."
        )
    return tuple(p.name for p in parameters)
