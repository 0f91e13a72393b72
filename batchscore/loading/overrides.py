"""`--set path.to.key=value`: values put into the document before it is validated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchscore.config import JobConfig
from batchscore.loading.faults import Fault, Mark, suggest
from batchscore.loading.shapes import class_of, fields_of, is_free, item_of
from batchscore.loading.yaml import Node, compose


def apply_overrides(root: Node, items: Sequence[str]) -> list[Fault]:
    """Put the values of `--set` items into the document, in their order.

    Args:
        root: The document; changed in place.
        items: `path.to.key=value`; the value is a YAML scalar or flow value, list positions are numbers.

    Returns:
        Faults of the items themselves; a value of a wrong type is found later, by validation.
    """
    faults: list[Fault] = []
    for item in items:
        path, equals, text = item.partition("=")
        origin = f"--set {path}=..."
        mark = Mark(1, 1, origin)
        if not equals or not path.strip() or "" in path.split("."):
            faults.append(Fault(Mark(1, 1, "--set"), "bad-override", "expected path.to.key=value"))
            continue
        value, problems = compose(text, origin)
        if not problems and value is None:
            value = Node(mark, None)
        if value is not None and isinstance(value.value, (dict, list)) and not value.flow:
            problems.append(Fault(mark, "bad-override", "expected a single value, or a list or mapping in [] or {}"))
        if value is not None and not problems:
            problems = _put(root, path.strip().split("."), value, mark)
        faults += problems
    return faults


def _put(root: Node, parts: list[str], value: Node, mark: Mark) -> list[Fault]:
    """Walk along the path, making sections that the file leaves out, and set the value at its end."""
    node, shape = root, JobConfig
    while True:
        key, parts = _next_key(node, shape, parts)
        wanted = item_of(shape, key) if isinstance(key, str) else _entry_of(shape)
        if wanted is None:
            return [_unknown(shape, key, mark)]
        holder = node.value
        if isinstance(key, int):
            if not isinstance(holder, list) or not 0 <= key < len(holder):
                count = len(holder) if isinstance(holder, list) else 0
                return [Fault(mark, "bad-position", f"expected a position below {count}; found {key}")]
            if not parts:
                holder[key] = value
                return []
            node, shape = holder[key], wanted
            continue
        if not isinstance(holder, dict):
            holder = node.value = {}
            node.mark = mark
        node.keys.setdefault(key, mark)
        if not parts:
            holder[key], node.keys[key] = value, mark
            return []
        if key not in holder:
            holder[key] = Node(mark, [] if _entry_of(wanted) else {})
        node, shape = holder[key], wanted


def _next_key(node: Node, shape: Any, parts: list[str]) -> tuple[str | int, list[str]]:
    """The next key and what is left. In a free mapping a key may hold dots, as `spark.sql.shuffle.partitions`."""
    if _entry_of(shape) is not None and parts[0].isascii() and parts[0].isdigit():
        return int(parts[0][:9]), parts[1:]
    if is_free(shape):
        known = node.value if isinstance(node.value, dict) else {}
        for length in range(len(parts), 0, -1):
            if ".".join(parts[:length]) in known:
                return ".".join(parts[:length]), parts[length:]
        if class_of(item_of(shape, "")) is None:
            return ".".join(parts), []
    return parts[0], parts[1:]


def _entry_of(shape: Any) -> Any:
    return item_of(shape, 0)


def _unknown(shape: Any, key: str | int, mark: Mark) -> Fault:
    known = fields_of(class_of(shape))
    if known:
        return Fault(mark, "unknown-key", f"'{key}': no such key; expected {', '.join(known)}", suggest(key, known))
    if _entry_of(shape) is not None:
        return Fault(mark, "bad-position", f"expected the number of a list entry, from 0; found '{key}'")
    return Fault(mark, "unknown-key", f"'{key}': the value before it has no keys")
