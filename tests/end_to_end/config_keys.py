"""Every key of a job file with its default and its choices, read from the config's dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from batchscore.config import JobConfig, yaml_key


class Key(NamedTuple):
    """One key: where it stands, its default as YAML writes it, and the words that it may hold."""

    path: str
    default: str
    choices: tuple[str, ...]


def list_keys(shape: Any = JobConfig, prefix: str = "") -> Iterator[Key]:
    """The keys of a config class and of the classes in it.

    `NAME` stands for a name that the job chooses, `PLACE` for the three places of checks, which take the same.
    """
    hints = get_type_hints(shape)
    for field in dataclasses.fields(shape):
        path, kind = prefix + yaml_key(field.name), hints[field.name]
        inner = [(suffix, part) for suffix, part in _parts(kind) if dataclasses.is_dataclass(part)]
        if not inner or _is_choice(kind):
            yield Key(path.replace("checks.input[]", "checks.PLACE[]"), _default(field), tuple(_choices(kind)))
        if path in ("checks.features", "checks.output"):
            continue
        for suffix, part in inner:
            yield from list_keys(part, f"{path}{suffix}.")


def _parts(kind: Any) -> Iterator[tuple[str, Any]]:
    """The classes in a type, each with what its keys' paths get: `[]` in a list, `.NAME` in a mapping."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for arg in args:
            yield from _parts(arg)
    elif origin is tuple:
        yield from ((f"[]{suffix}", part) for suffix, part in _parts(args[0]))
    elif origin is dict:
        yield from ((f".NAME{suffix}", part) for suffix, part in _parts(args[1]))
    else:
        yield "", kind


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _choices(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    elif _is_choice(kind):
        for arg in get_args(kind):
            yield from _choices(arg)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "`{}`"
    if field.default is dataclasses.MISSING:
        return "required"
    if isinstance(field.default, bool):  # before the rest: True equals 1
        return f"`{str(field.default).lower()}`"
    if field.default in (None, ""):
        return "none"
    if isinstance(field.default, tuple):
        return f"`{list(field.default)}`"
    return f"`{field.default:g}`" if isinstance(field.default, float) else f"`{field.default}`"
