"""A tree of values to a JobConfig: types by pydantic, rules across fields, references; every fault at its place."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from batchscore.config import JobConfig
from batchscore.loading.faults import Fault, Finding, Mark, Path, suggest
from batchscore.loading.rules import find_faults
from batchscore.loading.shapes import (
    branches_of,
    choices_of,
    class_of,
    describe,
    describe_found,
    fields_of,
    item_of,
    list_of,
    make_stand_in,
    required_of,
)
from batchscore.loading.yaml import Node
from batchscore.patterns import URI_PASSWORD
from batchscore.redaction import register_secret
from batchscore.references import find_reference_faults, has_reference

# Where `${env:NAME}` and `${file:PATH}` may stand; `*` is any name.
REFERENCE_PLACES: tuple[tuple[str, ...], ...] = (
    ("input", "table"),
    ("lookups", "*", "table"),
    ("output", "scores"),
    ("output", "quarantine"),
    ("output", "audit"),
    ("output", "challenger"),
    ("output", "differences"),
    ("registry", "uri"),
    ("engine", "master"),
    ("engine", "conf", "*"),
    ("checks", "input"),
    ("checks", "features"),
    ("checks", "output"),
    ("signals", "reports"),
    ("signals", "openlineage", "url"),
    ("signals", "openlineage", "token"),
    ("signals", "openlineage", "file"),
    ("signals", "prometheus", "file"),
    ("signals", "prometheus", "push_gateway"),
    ("signals", "webhooks", "*", "url"),
)


@cache
def job_adapter() -> TypeAdapter[JobConfig]:
    """The one pydantic adapter, built on first use."""
    return TypeAdapter(JobConfig)


def validate(root: Node, folder: str) -> tuple[JobConfig | None, list[Fault]]:
    """Validate a document, and look at as much of it as its faults allow.

    Args:
        root: The document; a mapping.
        folder: The job file's folder, for `${file:PATH}`.

    Returns:
        The config, or None where there are faults; and the faults.
    """
    faults: dict[Path, Fault] = dict(_find_reference_faults(root, folder))
    plain = to_json(root)
    job, typed = _check_types(plain, root)
    if job is None:
        counter = itertools.count(1)
        for path in sorted(typed, key=lambda path: (len(path), [str(part) for part in path])):
            _repair(plain, path, counter)
        job, left = _check_types(plain, root)
        if left:  # what cannot be repaired hides the rules across fields, but no other fault
            job = None
    faulty = frozenset(typed) | frozenset(faults)
    rules = [_place(finding, root) for finding in _find_broken_rules(job, faulty)] if job else []
    found = [*faults.values(), *typed.values(), *rules]
    return (None if found else job), found


def to_json(node: Node) -> Any:
    """The tree as plain JSON values."""
    if isinstance(node.value, dict):
        return {key: to_json(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [to_json(item) for item in node.value]
    return node.value


def find_node(root: Node, path: Path) -> tuple[Node | None, Mark]:
    """The node at a path and where to point: at its key for lists, mappings and nothing, else at its value.

    Where there is no such node, the place is that of the nearest one around it.
    """
    node, mark = root, root.mark
    for part in path:
        item = _item(node, part)
        if item is None:
            return None, mark
        key = node.keys.get(part) if isinstance(part, str) else None
        at_key = item.value is None or isinstance(item.value, (dict, list))
        node, mark = item, key if key and at_key else item.mark
    return node, mark


def show(path: Path) -> str:
    """A path as `--set` takes it. In backticks: `password: text` would look like a secret to the redactor."""
    return f"`{'.'.join(str(part) for part in path)}`"


def _item(node: Node, part: str | int) -> Node | None:
    if isinstance(node.value, dict) and isinstance(part, str):
        return node.value.get(part)
    if isinstance(node.value, list) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part]
    return None


def _check_types(plain: Any, root: Node) -> tuple[JobConfig | None, dict[Path, Fault]]:
    try:
        return job_adapter().validate_json(json.dumps(plain), strict=True), {}
    except ValidationError as error:
        faults: dict[Path, Fault] = {}
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            found = _locate(item["loc"], root)
            if found:
                path, shape = found
                faults.setdefault(path, _type_fault(item["type"], path, shape, root))
        return None, faults


def _locate(loc: Iterable[str | int], root: Node) -> tuple[Path, Any] | None:
    """The path into the YAML that pydantic's location means, and the type that stands there.

    Inside a union pydantic names the member it tried. Only a mapping that meets a config class and a list that meets a
    list are looked into; for the rest the union is one expectation. None: an error of a member that was never meant.
    """
    path: Path = ()
    shape: Any = JobConfig
    node: Node | None = root
    for part in loc:
        if len(branches_of(shape)) > 1:
            value = node.value if node else None
            member = class_of(shape) if isinstance(value, dict) else list_of(shape) if isinstance(value, list) else None
            if member is None:
                return path, shape
            if not str(part).startswith("tuple[" if isinstance(value, list) else member.__name__):
                return None
            shape = member
        else:
            path, shape = (*path, part), item_of(shape, part)
            node = _item(node, part) if node else None
    return path, shape


def _type_fault(kind: str, path: Path, shape: Any, root: Node) -> Fault:
    node, mark = find_node(root, path)
    if kind == "missing":
        return Fault(mark, "missing-key", f"{show(path)}: missing; expected {describe(shape)}")
    if shape is None or node is None:
        return _unknown_key(path, root)
    found, choices = describe_found(node), choices_of(shape)
    expected = f"{show(path)}: expected {describe(shape)}"
    if choices and isinstance(node.value, str):
        return Fault(node.mark, "wrong-choice", f"{expected}; found '{node.value[:40]}'", suggest(node.value, choices))
    if str in branches_of(shape) and isinstance(node.value, (bool, int, float)):
        found += ". Put it in quotes"
    return Fault(mark if node.value is None else node.mark, "wrong-type", f"{expected}; found {found}")


def _unknown_key(path: Path, root: Node) -> Fault:
    *parents, key = path
    holder, mark = find_node(root, tuple(parents))
    mark = holder.keys.get(str(key), mark) if holder else mark
    shape: Any = JobConfig
    for part in parents:
        shape = item_of(shape, part)
    known = fields_of(class_of(shape))
    return Fault(mark, "unknown-key", f"{show(path)}: no such key; expected {', '.join(known)}", suggest(key, known))


def _repair(plain: Any, path: Path, counter: Iterator[int]) -> None:
    """Take the fault out of the plain document: drop the key, or put a stand-in where there must be a value."""
    shape: Any = JobConfig
    holder = plain
    for part in path[:-1]:
        shape = item_of(class_of(shape) or shape, part)
        try:
            holder = holder[part]
        except (KeyError, IndexError, TypeError):
            return  # a stand-in already took the place of what was around it
    if not path or not isinstance(holder, (dict, list)):
        return
    shape, key = class_of(shape) or shape, path[-1]
    wanted = item_of(shape, key)
    if isinstance(holder, dict) and (wanted is None or (fields_of(shape) and key not in required_of(shape))):
        holder.pop(str(key), None)
    elif wanted is not None and (isinstance(holder, dict) or int(key) < len(holder)):
        holder[key] = make_stand_in(wanted, counter)  # type: ignore[index]


def _find_broken_rules(job: JobConfig, faulty: frozenset[Path]) -> Iterator[Finding]:
    """Broken rules, but none that only a fault already reported would explain."""
    for finding in find_faults(job):
        if not any(_overlap(path, place) for path in faulty for place in (finding.path, *finding.reads)):
            yield finding


def _overlap(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _place(finding: Finding, root: Node) -> Fault:
    node, mark = find_node(root, finding.path)
    value = node.value if node else None
    if finding.code == "secret-in-file" and isinstance(value, str):
        found = URI_PASSWORD.search(value)
        register_secret(found[1] if found else value)  # before any source line is shown
    return Fault(mark, finding.code, f"{show(finding.path)}: {finding.message}", suggest(value, finding.candidates))


def _find_reference_faults(root: Node, folder: str) -> Iterator[tuple[Path, Fault]]:
    allowed = ", ".join(".".join(place) for place in REFERENCE_PLACES)
    for path, text, mark, is_key in _texts(root, ()):
        if not has_reference(text):
            continue
        code, message = next(find_reference_faults(text, folder), ("", ""))
        if is_key or not any(_matches(path, place) for place in REFERENCE_PLACES):
            code, message = "reference-not-allowed", f"references may stand only in {allowed}"
        if code == "reference-missing" and path[0] == "signals":
            continue  # who is told decides nothing: it is a warning once the run has ended
        if code:
            yield path, Fault(mark, code, f"{show(path)}: {message}")


def _texts(node: Node, path: Path) -> Iterator[tuple[Path, str, Mark, bool]]:
    """Every text of the tree with its path and place, and whether it is a key."""
    if isinstance(node.value, str):
        yield path, node.value, node.mark, False
    elif isinstance(node.value, dict):
        for key, item in node.value.items():
            yield (*path, key), key, node.keys[key], True
            yield from _texts(item, (*path, key))
    elif isinstance(node.value, list):
        for position, item in enumerate(node.value):
            yield from _texts(item, (*path, position))


def _matches(path: Path, place: tuple[str, ...]) -> bool:
    return len(path) == len(place) and all(want in ("*", part) for part, want in zip(path, place, strict=True))
