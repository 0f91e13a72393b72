"""Faults of a job file, each with its place, and the one message that shows them all."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from batchscore.errors import ConfigError
from batchscore.redaction import redact

MAX_SHOWN = 100
_WIDTH = 120  # characters of a source line that are shown
_LINE_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # where ruamel.yaml counts a new line


class Mark(NamedTuple):
    """A place: line and column from 1 (0: the file as a whole), or the `--set` item that the value came from."""

    line: int
    column: int
    origin: str = ""


class Fault(NamedTuple):
    """One fault: where, which kind, what was expected and found, and the name that was perhaps meant."""

    mark: Mark
    code: str
    message: str
    meant: str = ""


Path = tuple[str | int, ...]


class Finding(NamedTuple):
    """A broken rule.

    Attributes:
        path: Path into the YAML.
        code: Kind of fault.
        message: What was expected, what was found, what to do.
        candidates: Names that could have been meant.
        reads: Other places that it follows from; a fault there makes it doubtful.
    """

    path: Path
    code: str
    message: str
    candidates: tuple[str, ...] = ()
    reads: tuple[Path, ...] = ()


WHOLE_FILE = Mark(0, 0)


def split_lines(text: str) -> list[str]:
    """Source lines, broken where marks count a new line."""
    return _LINE_BREAK.split(text)


def suggest(found: object, candidates: Iterable[str]) -> str:
    """The candidate most like what was found, or an empty string where none is like it."""
    if not isinstance(found, str):
        return ""
    by_folded = {name.casefold(): name for name in candidates}
    near = difflib.get_close_matches(found.casefold()[:100], by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else ""


def find_doubled(names: Iterable[str]) -> list[int]:
    """Positions of names that stood before."""
    listed = list(names)
    return [position for position, name in enumerate(listed) if name in listed[:position]]


def raise_faults(faults: Iterable[Fault], file: str, text: str = "") -> None:
    """Raise one ConfigError that shows every fault with its source line; return if there is none.

    Args:
        faults: In any order; shown in the order of the file, `--set` items last.
        file: The file as the user named it.
        text: Its content, for the source lines.

    Raises:
        ConfigError: There is at least one fault.
    """
    ordered = sorted(dict.fromkeys(faults), key=lambda f: (f.mark.origin != "", f.mark))
    if not ordered:
        return
    lines = split_lines(text)
    shown = [line for fault in ordered[:MAX_SHOWN] for line in _render(fault, file, lines)]
    if len(ordered) > MAX_SHOWN:
        shown.append(f"... and {len(ordered) - MAX_SHOWN} more")
    shown.append(f"{len(ordered)} fault{'s' if len(ordered) > 1 else ''} in {file}")
    raise ConfigError(redact("\n".join(shown)))


def _render(fault: Fault, file: str, lines: Sequence[str]) -> list[str]:
    mark = fault.mark
    hint = f"did you mean '{fault.meant}'?" if fault.meant else ""
    if mark.origin or not mark.line:
        return [f"{mark.origin or file}: {fault.code}: {fault.message}{'; ' + hint if hint else ''}"]
    shown = [f"{file}:{mark.line}:{mark.column}: {fault.code}: {fault.message}"]
    if mark.line <= len(lines):
        source, caret = _excerpt(lines[mark.line - 1], mark.column - 1)
        shown += [f"    {source}", f"    {' ' * caret}^{' ' + hint if hint else ''}"]
    return shown


def _excerpt(line: str, column: int) -> tuple[str, int]:
    """The source line with nothing unprintable in it, cut to a window around the column, and the caret's place."""
    printable = "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
    # redacted before it is cut, so that no half of a secret is left at an edge; the caret follows the shift
    source, caret = redact(printable), len(redact(printable[:column]))
    start = max(0, min(caret - _WIDTH // 2, len(source) - _WIDTH))
    return source[start : start + _WIDTH].rstrip(), caret - start
