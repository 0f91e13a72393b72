"""Which parts of the model's outputs become columns, and as which types, before any task starts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from batchscore.config import ModelConfig
from batchscore.errors import ModelError
from batchscore.kernel.scores import ARROW_TYPES
from batchscore.kernel.spec import OutputSpec
from batchscore.records import PinnedModel, TensorSpec, show_shape
from batchscore.selectors import Selector, parse_selector

_MAPS = re.compile(r"seq\(map\((?P<key>int64|string),(?P<value>tensor\([a-z0-9]+\))\)\)\Z")


def match_outputs(model: PinnedModel, config: ModelConfig, taken: Sequence[str]) -> tuple[OutputSpec, ...]:
    """The output columns: from `model.outputs`, or every output whole and under its own name.

    Args:
        model: The pinned model.
        config: The job's model section.
        taken: Names of key and passthrough columns.

    Raises:
        ModelError: A selector names no such tensor or part, a type has no column type, or a name is taken.
    """
    tensors = {tensor.name: tensor for tensor in model.outputs}
    selectors = {c: parse_selector(s) for c, s in config.outputs.items()} or {n: Selector(n, None) for n in tensors}
    specs = []
    for column, selector in selectors.items():
        assert selector is not None  # the config's own checks have read it
        where = f"model.outputs.{column}"
        if selector.tensor not in tensors:
            known = ", ".join(tensors)
            raise ModelError(f"{where}: expected an output of the model ({known}); found '{selector.tensor}'.")
        if column in taken or column.startswith("_"):
            raise ModelError(
                f"{where}: output column '{column}' collides with a key, passthrough or reserved column. "
                "Name it under model.outputs."
            )
        specs.append(_match(where, column, tensors[selector.tensor], selector))
    return tuple(specs)


def _match(where: str, column: str, tensor: TensorSpec, selector: Selector) -> OutputSpec:
    maps = _MAPS.match(tensor.dtype)
    if maps is not None:
        return _match_map(where, column, tensor, selector, maps["key"], maps["value"])
    if tensor.dtype not in ARROW_TYPES:
        raise ModelError(
            f"{where}: expected a tensor of numbers, booleans or strings, or a map for each row; found {tensor.dtype}. "
            "Leave it out of model.outputs, or export the model without it."
        )
    trailing = tensor.shape[1:]
    if selector.picks is None:
        # An open width is most often that of one score: where it is not, the message says what to write.
        whole = len(trailing) > 1 or any(size not in (None, 1) for size in trailing)
        single = all(size == 1 for size in trailing)
        picks = (None,) * len(trailing) if whole and not single else None
        return OutputSpec(column=column, tensor=tensor.name, dtype=tensor.dtype, picks=picks)
    positions = tuple(pick for pick in selector.picks if not isinstance(pick, str))
    if len(positions) < len(selector.picks):
        key = next(pick for pick in selector.picks if isinstance(pick, str))
        raise ModelError(
            f"{where}: expected positions in '{tensor.name}' of shape {show_shape(tensor.shape)}; "
            f"found the key '{key}'."
        )
    known = bool(tensor.shape)  # ONNX Runtime gives an unknown rank as no dimensions
    if known and len(positions) != len(trailing):
        raise ModelError(
            f"{where}: expected a pick for each dimension of '{tensor.name}' of shape {show_shape(tensor.shape)} after "
            f"the first; found {len(positions)}."
        )
    for pick, size in zip(positions, trailing, strict=False):
        if pick is not None and size is not None and pick >= size:
            raise ModelError(
                f"{where}: expected a part of '{tensor.name}' of shape {show_shape(tensor.shape)}; found index {pick}."
            )
    return OutputSpec(column=column, tensor=tensor.name, dtype=tensor.dtype, picks=positions)


def _match_map(where: str, column: str, tensor: TensorSpec, selector: Selector, key: str, value: str) -> OutputSpec:
    dtype = f"tensor({key})"
    pick = selector.picks[0] if selector.picks else None
    if value not in ARROW_TYPES:
        raise ModelError(f"{where}: expected a map of numbers for each row; found {tensor.dtype}. Export without it.")
    expected = int if key == "int64" else str
    if selector.picks is not None and (len(selector.picks) != 1 or not isinstance(pick, expected | None)):
        form = f"{tensor.name}[:, 1]" if key == "int64" else f'{tensor.name}[:, "yes"]'
        raise ModelError(
            f"{where}: expected one key of '{tensor.name}', a map for each row with keys of type {key}, such as "
            f"'{form}', or '{tensor.name}' for the whole map; found another form."
        )
    return OutputSpec(column=column, tensor=tensor.name, dtype=value, key_dtype=dtype, key=pick)
