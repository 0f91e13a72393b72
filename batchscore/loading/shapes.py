"""What the config's types look like from YAML: keys, expectations in plain words, and stand-ins."""

from __future__ import annotations

import dataclasses
import itertools
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from batchscore.config import yaml_key
from batchscore.loading.yaml import Node

_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Any: "a value",
}


def is_config(shape: Any) -> bool:
    """Whether the type is a config class."""
    return dataclasses.is_dataclass(shape)


@cache
def fields_of(shape: Any) -> Mapping[str, Any]:
    """YAML key to type, for a config class; empty for any other type."""
    if not dataclasses.is_dataclass(shape):
        return {}
    hints = get_type_hints(shape)
    return {yaml_key(f.name): hints[f.name] for f in dataclasses.fields(shape)}


@cache
def required_of(shape: Any) -> frozenset[str]:
    """YAML keys of a config class that have no default."""
    missing = dataclasses.MISSING
    return frozenset(
        yaml_key(f.name)
        for f in (dataclasses.fields(shape) if dataclasses.is_dataclass(shape) else ())
        if f.default is missing and f.default_factory is missing
    )


def branches_of(shape: Any) -> tuple[Any, ...]:
    """The members of a union without None; any other type alone."""
    if get_origin(shape) in (Union, types.UnionType):
        return tuple(member for member in get_args(shape) if member is not type(None))
    return (shape,)


def class_of(shape: Any) -> Any:
    """The config class among a type's branches, or None."""
    return next((member for member in branches_of(shape) if is_config(member)), None)


def item_of(shape: Any, part: str | int) -> Any:
    """The type of the value under a key or position, or None where there can be none."""
    for branch in branches_of(shape):
        if isinstance(part, str) and part in fields_of(branch):
            return fields_of(branch)[part]
        if isinstance(part, str) and get_origin(branch) is dict:
            return get_args(branch)[1]
        if isinstance(part, int) and get_origin(branch) is tuple:
            return get_args(branch)[0]
    return None


def list_of(shape: Any) -> Any:
    """The list among a type's branches, or None."""
    return next((member for member in branches_of(shape) if get_origin(member) is tuple), None)


def is_free(shape: Any) -> bool:
    """Whether the type is a mapping with any keys."""
    return any(get_origin(branch) is dict for branch in branches_of(shape))


def choices_of(shape: Any) -> tuple[str, ...]:
    """The words that a type allows by name."""
    found = (get_args(branch) for branch in branches_of(shape) if get_origin(branch) is Literal)
    return tuple(itertools.chain.from_iterable(found))


def describe(shape: Any) -> str:
    """What a type expects, in plain words."""
    parts: list[str] = []
    for branch in branches_of(shape):
        origin, arguments = get_origin(branch), get_args(branch)
        if origin is Literal:
            parts += [f"'{word}'" for word in arguments]
        elif origin is tuple:
            parts.append(f"a list; each entry {describe(arguments[0])}")
        elif origin is dict:
            parts.append(f"a mapping of names; each value {describe(arguments[1])}")
        elif is_config(branch):
            parts.append("a mapping with " + ", ".join(f"`{key}`" for key in fields_of(branch)))
        else:
            parts.append(_WORDS[branch])
    return " or ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def describe_found(node: Node) -> str:
    """What kind of value stands there, in plain words; never the value itself, true and false apart."""
    value = node.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    kinds = ((dict, "a mapping"), (list, "a list"), (int, "a whole number"), (float, "a number"))
    return next((word for kind, word in kinds if isinstance(value, kind)), "text")


def make_stand_in(shape: Any, counter: Iterator[int]) -> Any:
    """A valid value of a type, so that the rest of a faulty config can be looked at; texts are all different."""
    first = branches_of(shape)[0]
    origin = get_origin(first)
    if origin is Literal:
        return get_args(first)[0]
    if origin is tuple:
        return []
    if origin is dict:
        return {}
    if is_config(first):
        return {key: make_stand_in(fields_of(first)[key], counter) for key in required_of(first)}
    return f"stand_in_{next(counter)}" if first is str else {int: 1, float: 1.0, bool: False}[first]
