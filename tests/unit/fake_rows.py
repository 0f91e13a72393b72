"""Rows in memory with the little of a DataFrame that publishing asks of them; read when they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Rows = tuple[Mapping[str, Any], ...]
Condition = Callable[[Mapping[str, Any]], bool]


def load_rows(rows: Any) -> Rows:
    """The rows of a frame, or of a list."""
    return rows.load() if isinstance(rows, Frame) else tuple(rows)


class Test:
    """A condition on a row."""

    __test__ = False  # not pytest's

    def __init__(self, holds: Condition) -> None:
        self.holds = holds

    def __and__(self, other: Test) -> Test:
        return Test(lambda row: self.holds(row) and other.holds(row))


class Column:
    """A named column, to compare with."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __eq__(self, value: object) -> Test:  # type: ignore[override]
        return Test(lambda row: row[self._name] == value)

    __hash__ = None  # type: ignore[assignment]


class Frame:
    """See the module."""

    def __init__(self, load: Callable[[], Rows]) -> None:
        self.load = load

    def __getitem__(self, name: str) -> Column:
        return Column(name)

    def where(self, test: Test) -> Frame:
        return Frame(lambda: tuple(row for row in self.load() if test.holds(row)))

    def count(self) -> int:
        return len(self.load())

    def change(self, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Frame:
        return Frame(lambda: tuple(change(row) for row in self.load()))
