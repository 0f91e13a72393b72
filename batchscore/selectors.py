"""Output selectors: which part of an output a column holds: `label`, `p[:, 1]`, `p[:, :, 0]`, `p[:, "yes"]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

FORM = "expected 'tensor', 'tensor[:, k]' with `:` for all of a dimension, or 'tensor[:, \"key\"]'"

_SELECTOR = re.compile(r"([^\[\]]+?)(?:\[\s*:\s*,([^\[\]]*)\])?\Z")
_PICK = re.compile(r"""\s*(?:(?P<all>:)|(?P<at>[0-9]{1,6})|"(?P<double>[^"]*)"|'(?P<single>[^']*)')\s*(,|\Z)""")


@dataclass(frozen=True, slots=True)
class Selector:
    """A selector, taken apart.

    Attributes:
        tensor: ONNX output name.
        picks: For each dimension after the batch a position, the key of a map, or None for all of it; None where the
            selector names the whole output.
    """

    tensor: str
    picks: tuple[int | str | None, ...] | None


def parse_selector(text: str) -> Selector | None:
    """Take a selector apart; None where it has not the form."""
    found = _SELECTOR.match(text)
    if found is None or not found[1].strip():
        return None
    if found[2] is None:
        return Selector(found[1].strip(), None)
    picks: list[int | str | None] = []
    place, more = 0, True
    while more:
        pick = _PICK.match(found[2], place)
        if pick is None:
            return None
        text_key = pick["double"] if pick["double"] is not None else pick["single"]
        picks.append(int(pick["at"]) if pick["at"] else None if pick["all"] else text_key)
        place, more = pick.end(), pick[5] == ","
    return Selector(found[1].strip(), tuple(picks))
