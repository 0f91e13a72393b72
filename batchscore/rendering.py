"""Results as people read them: plain text for a terminal, small HTML for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A result laid out: a title, facts by name, and tables with a heading each.

    Attributes:
        title: First line.
        facts: Name and value pairs.
        tables: Heading, column names, rows.
    """

    title: str
    facts: Sequence[tuple[str, Any]] = ()
    tables: Sequence[tuple[str, Sequence[str], Rows]] = field(default_factory=tuple)

    def text(self) -> str:
        """The sheet as plain text, columns aligned."""
        lines = [self.title]
        width = max((len(name) for name, _ in self.facts), default=0)
        lines += [f"  {name:<{width}}  {show(value)}" for name, value in self.facts]
        for heading, names, rows in self.tables:
            if rows:
                lines += ["", f"  {heading}", *(f"    {line}" for line in text_table(names, rows))]
        return "\n".join(lines)

    def html(self) -> str:
        """The sheet as an HTML fragment; every value is escaped."""
        facts = "".join(f"<tr><th>{escape(n)}</th><td>{escape(show(v))}</td></tr>" for n, v in self.facts)
        parts = [f"<div><strong>{escape(self.title)}</strong><table>{facts}</table>"]
        for heading, names, rows in self.tables:
            if rows:
                head = "".join(f"<th>{escape(name)}</th>" for name in names)
                body = "".join("<tr>" + "".join(f"<td>{escape(show(v))}</td>" for v in row) + "</tr>" for row in rows)
                parts.append(f"<p>{escape(heading)}</p><table><tr>{head}</tr>{body}</table>")
        return "".join(parts) + "</div>"


def text_table(names: Sequence[str], rows: Rows) -> list[str]:
    """Rows under their column names; numbers to the right."""
    cells = [[show(value) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]
    right = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(names))]

    def line(values: Sequence[str]) -> str:
        padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return "  ".join(padded).rstrip()

    return [line(list(names)), *(line(row) for row in cells)]


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
