"""YAML text to a tree of values with places: YAML 1.2 core schema, no aliases, tags, merge keys or second documents.

Built from ruamel.yaml's events, which its parser makes without recursion, so that no nesting can overflow it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from batchscore.loading.faults import Fault, Mark, split_lines
from batchscore.loading.scalars import Scalar, resolve_scalar

MAX_DEPTH = 32
MAX_VALUES = 50_000
MAX_LINE = 16_384  # ruamel.yaml takes quadratic time over some very long lines
_FORBIDDEN_CHARACTER = re.compile(
    # not printable in YAML 1.2 (5.1), or invisible and able to make a line read otherwise than it stands
    "[^\t\n\r\x20-\x7e\x85\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(slots=True)
class Node:
    """A value of the tree: a scalar, a list of nodes, or a mapping of text to nodes with the places of its keys."""

    mark: Mark
    value: Scalar | list[Node] | dict[str, Node]
    keys: dict[str, Mark] = field(default_factory=dict)
    flow: bool = True


@dataclass(slots=True)
class _Frame:
    """A collection that is being filled; `key` waits for its value, `skip` drops the value that comes next."""

    node: Node
    key: tuple[str, Mark] | None = None
    skip: bool = False


def compose(text: str, origin: str = "") -> tuple[Node | None, list[Fault]]:
    """Read one YAML document.

    Args:
        text: The document.
        origin: For a `--set` item, its name; every place then carries it.

    Returns:
        The tree, or None where the text cannot be trusted to mean anything; and the faults found on the way.
        Of a doubled key the first value stays.
    """
    faults = list(_find_text_faults(text, origin))
    if faults:
        return None, faults
    composer = _Composer(origin)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            composer.take(event)
            if composer.stopped:
                break
    except MarkedYAMLError as error:
        composer.faults.append(_syntax_fault(error, text, origin))
        composer.stopped = True
    except (YAMLError, ValueError, OverflowError) as error:  # the last two: escapes such as "\UFFFFFFFF"
        what = str(error).partition("\n")[0] or type(error).__name__
        composer.faults.append(Fault(Mark(0, 0, origin), "yaml-syntax", f"cannot be read as YAML: {what}"))
        composer.stopped = True
    return (None if composer.stopped or composer.unsafe else composer.root), composer.faults


class _Composer:
    """Turns events into nodes; `stopped` ends the reading, `unsafe` means that the tree must not be used."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.faults: list[Fault] = []
        self.root: Node | None = None
        self.stopped = self.unsafe = False
        self._stack: list[_Frame] = []
        self._documents = self._values = 0

    def take(self, event: Event) -> None:
        """Take the next event."""
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1, self.origin)
        if isinstance(event, DocumentStartEvent):
            self._start_document(event, mark)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._stack.pop()
        elif isinstance(event, AliasEvent):
            self._refuse(mark, "alias", f"aliases are not allowed; found '*{event.anchor}'. Write the value out")
            self._place(Node(mark, None))
        elif isinstance(event, (ScalarEvent, CollectionStartEvent)):
            self._start_value(event, mark)

    def _start_document(self, event: DocumentStartEvent, mark: Mark) -> None:
        self._documents += 1
        if self._documents > 1:
            self._refuse(mark, "many-documents", "expected one document; a second one starts here. Use one file each")
            self.stopped = True
        if event.tags:
            self._refuse(mark, "tag", "%TAG directives are not allowed; remove the line")
        if event.version not in (None, (1, 2)):
            self._refuse(mark, "yaml-version", "expected YAML 1.2; remove the %YAML line")

    def _start_value(self, event: ScalarEvent | CollectionStartEvent, mark: Mark) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            self._refuse(mark, "too-long", f"expected at most {MAX_VALUES} keys and values in one file")
            self.stopped = True
        if event.anchor is not None:
            self._refuse(mark, "anchor", f"anchors are not allowed; found '&{event.anchor}'. Remove it")
        if event.ctag is not None and str(event.ctag):
            self._refuse(mark, "tag", f"tags are not allowed; found '{event.ctag}'. Remove it")
        if isinstance(event, ScalarEvent):
            self._place_scalar(event, mark)
            return
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(mark, "too-deep", f"expected at most {MAX_DEPTH} levels of nesting; a deeper one starts here")
            self.stopped = True
            return
        node = Node(mark, {} if isinstance(event, MappingStartEvent) else [], flow=bool(event.flow_style))
        self._place(node)
        self._stack.append(_Frame(node))

    def _place_scalar(self, event: ScalarEvent, mark: Mark) -> None:
        plain = not event.style
        if self._awaits_key():
            self._take_key(event.value, plain, mark)
            return
        value: Scalar = event.value
        if plain:
            value, problem = resolve_scalar(event.value)
            if problem:
                self.faults.append(Fault(mark, "out-of-range", problem))
        if isinstance(value, str):
            self._check_characters(value, mark)
        self._place(Node(mark, value))

    def _awaits_key(self) -> bool:
        frame = self._stack[-1] if self._stack else None
        return frame is not None and isinstance(frame.node.value, dict) and frame.key is None and not frame.skip

    def _take_key(self, text: str, plain: bool, mark: Mark) -> None:
        frame = self._stack[-1]
        if plain and text == "<<":
            self._refuse(mark, "merge-key", "merge keys are not allowed. Write the keys out")
            frame.skip = True
        elif not text or (plain and resolve_scalar(text) == (None, "")):
            self.faults.append(Fault(mark, "bad-key", "expected a key; found nothing"))
            frame.skip = True
        elif text in frame.node.keys:
            first = frame.node.keys[text]
            where = f"line {first.line}, column {first.column}"
            self.faults.append(Fault(mark, "doubled-key", f"'{text}' is given twice, first at {where}. Keep one"))
            frame.skip = True
        else:
            self._check_characters(text, mark)
            frame.key = (text, mark)

    def _place(self, node: Node) -> None:
        """Put a finished scalar or a just started collection where it belongs."""
        if not self._stack:
            if self._documents == 1:
                self.root = node
            return
        frame = self._stack[-1]
        holder = frame.node.value
        if isinstance(holder, list):
            holder.append(node)
        elif isinstance(holder, dict):
            if frame.skip:
                frame.skip = False
            elif frame.key is None:
                self.faults.append(Fault(node.mark, "bad-key", "expected a key of plain text; found a list or mapping"))
                frame.skip = True
            else:
                name, frame.node.keys[name] = frame.key[0], frame.key[1]
                holder[name] = node
                frame.key = None

    def _check_characters(self, text: str, mark: Mark) -> None:
        found = _FORBIDDEN_CHARACTER.search(text)
        if found:
            what = f"the escape gives U+{ord(found[0]):04X}, which no value may hold. Remove it"
            self.faults.append(Fault(mark, "bad-character", what))

    def _refuse(self, mark: Mark, code: str, message: str) -> None:
        self.faults.append(Fault(mark, code, message))
        self.unsafe = True


def _find_text_faults(text: str, origin: str) -> list[Fault]:
    """Faults of the bare text, one per line at most: characters that YAML has no place for, and overlong lines."""
    faults = []
    for number, line in enumerate(split_lines(text), 1):
        found = _FORBIDDEN_CHARACTER.search(line)
        if found:
            what = f"U+{ord(found[0]):04X} may not stand in a job file. Remove it"
            faults.append(Fault(Mark(number, found.start() + 1, origin), "bad-character", what))
        elif len(line) > MAX_LINE:
            what = f"expected at most {MAX_LINE} characters in a line; found {len(line)}. Break the line"
            faults.append(Fault(Mark(number, MAX_LINE + 1, origin), "long-line", what))
    return faults


def _syntax_fault(error: MarkedYAMLError, text: str, origin: str) -> Fault:
    place = error.problem_mark or error.context_mark
    mark = Mark(place.line + 1, place.column + 1, origin) if place else Mark(0, 0, origin)
    lines = split_lines(text)
    line = lines[mark.line - 1] if 0 < mark.line <= len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent or line[mark.column - 1 : mark.column] == "\t":
        column = line.index("\t") + 1
        return Fault(
            Mark(mark.line, column, origin),
            "tab",
            "expected spaces; found a tab, which YAML does not take here. Use spaces",
        )
    message = "; ".join(part for part in (error.context, error.problem) if part)
    return Fault(mark, "yaml-syntax", f"cannot be read as YAML: {message}. A text with such signs needs quotes")
