"""Results as people read them: plain text for a terminal, small HTML for a notebook."""

from __future__ import annotations

import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

Rows = Sequence[Sequence[Any]]

_NARROWEST = 12
_LONG_WORD = 24
_GAP = "  "
_WORD = re.compile(r".[^ _,/-]*[ _,/-]*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A result laid out: a title, facts by name, tables with a heading each, and command lines.

    Attributes:
        title: First line.
        facts: Name and value pairs.
        tables: Heading, column names, rows.
        commands: What each is for, and the line to copy; shown unbroken, whatever the width.
    """

    title: str
    facts: Sequence[tuple[str, Any]] = ()
    tables: Sequence[tuple[str, Sequence[str], Rows]] = field(default_factory=tuple)
    commands: Sequence[tuple[str, str]] = ()

    def text(self, width: int | None = None) -> str:
        """The sheet as plain text, columns aligned.

        Args:
            width: Characters in a line, if facts and tables are to be folded into them.
        """
        lines = [self.title]
        longest = max((len(name) for name, _ in self.facts), default=0)
        for name, value in self.facts:
            lines += _hang(f"  {name:<{longest}}{_GAP}", show(value), width)
        for heading, names, rows in self.tables:
            if rows:
                room = width - 4 if width else None
                lines += ["", f"  {heading}", *(f"    {line}" for line in text_table(names, rows, room))]
        for purpose, command in self.commands:
            lines += ["", f"  {purpose}", command]
        return "\n".join(lines)

    def html(self) -> str:
        """The sheet as an HTML fragment; every value is escaped."""
        facts = "".join(f"<tr><th>{escape(n)}</th><td>{escape(show(v))}</td></tr>" for n, v in self.facts)
        parts = [f"<div><strong>{escape(self.title)}</strong><table>{facts}</table>"]
        for heading, names, rows in self.tables:
            if rows:
                head = "".join(f"<th>{escape(name)}</th>" for name in names)
                body = "".join("<tr>" + "".join(f"<td>{escape(_cell(v))}</td>" for v in row) + "</tr>" for row in rows)
                parts.append(f"<p>{escape(heading)}</p><table><tr>{head}</tr>{body}</table>")
        parts += [f"<p>{escape(purpose)}</p><pre>{escape(command)}</pre>" for purpose, command in self.commands]
        return "".join(parts) + "</div>"


class Shown(ABC):
    """A result that shows itself: as text where it is printed, as tables in a notebook."""

    __slots__ = ()

    @abstractmethod
    def sheet(self) -> Sheet:
        """The result laid out."""

    def __str__(self) -> str:
        return self.sheet().text()

    def _repr_html_(self) -> str:
        return self.sheet().html()


def text_table(names: Sequence[str], rows: Rows, width: int | None = None) -> list[str]:
    """Rows under their column names; numbers to the right.

    Args:
        names: Column names.
        rows: Values.
        width: Characters in a line; columns of text are folded, the widest first, until the table fits.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]
    right = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(names))]
    floors = [_floor(name, [row[i] for row in cells]) for i, name in enumerate(names)]
    while width and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        foldable = [i for i, wide in enumerate(widths) if not right[i] and wide > floors[i]]
        if not foldable:
            break
        widths[max(foldable, key=lambda i: widths[i])] -= 1

    def lines(values: Sequence[str]) -> list[str]:
        folded = [_fold(value, wide) for value, wide in zip(values, widths, strict=True)]
        height = max(len(parts) for parts in folded)
        filled = [[*parts, *[""] * (height - len(parts))] for parts in folded]
        return [_line([parts[k] for parts in filled], widths, right) for k in range(height)]

    return [line for values in (list(names), *cells) for line in lines(values)]


def show(value: Any) -> str:
    """One value for people: thousands grouped, floats short, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {show(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(show(v) for v in value)
    return str(value)


def _cell(value: Any) -> str:
    """One value in a table, where whole numbers may be identifiers: they stay as they are."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else show(value)


def _floor(name: str, texts: Sequence[str]) -> int:
    """Characters that a column keeps: its name, and its longest word unless that is very long."""
    longest = max((len(word.rstrip()) for text in texts for word in _WORD.findall(text)), default=0)
    return max(len(name), min(longest, _LONG_WORD))


def _fold(text: str, width: int) -> list[str]:
    """A cell's lines, broken after spaces, commas, slashes, hyphens and underscores, or anywhere in a longer word."""
    lines = [""]
    for word in _WORD.findall(text):
        rest = word
        if len(lines[-1]) + len(rest.rstrip()) > width and lines[-1]:
            lines.append("")
        while len(rest.rstrip()) > width:
            lines[-1:] = [rest[:width], ""]
            rest = rest[width:]
        lines[-1] += rest
    return [line.rstrip() for line in lines if line.strip()] or [""]


def _line(values: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
    return _GAP.join(padded).rstrip()


def _hang(label: str, text: str, width: int | None) -> list[str]:
    """A fact's lines: its value beside its name, folded between words where a width is given."""
    room = (width or 0) - len(label)
    given = text.splitlines() or [""]
    if room >= _NARROWEST:
        given = [
            part
            for line in given
            for part in textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]
        ]
    return [(label if k == 0 else " " * len(label)) + part for k, part in enumerate(given)]
