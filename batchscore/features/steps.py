"""The order of features: what each one reads, and the layers in which they can be computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from batchscore.config import EncodeConfig, FeatureConfig
from batchscore.errors import ConfigError
from batchscore.features.modules import Function

Kind = Literal["input", "lookup", "sql", "python", "arrow", "encode"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One feature, or a marked function that features lead to.

    Attributes:
        name: The column.
        kind: How it comes about.
        reads: Columns of input and lookups, and other features, by their names.
        where: Its place, for messages.
        sql: The expression, for `sql`; `LOOKUP.COLUMN`, for `lookup`.
        function: The function, for `python` and `arrow`.
        encode: The encoder, for `encode`.
        listed: Whether `features.columns` names it.
    """

    name: str
    kind: Kind
    reads: tuple[str, ...]
    where: str
    sql: str = ""
    function: Function | None = None
    encode: EncodeConfig | None = None
    listed: bool = True

    @property
    def computed(self) -> bool:
        """Whether it takes an expression, and not only a column."""
        return self.kind not in ("input", "lookup")

    @property
    def origin(self) -> str:
        """Where it comes from, in few words."""
        if self.function is not None:
            return f"{'Python' if self.kind == 'python' else 'Arrow'} {self.function.file}:{self.function.line}"
        if self.encode is not None:
            return f"{self.encode.do} of {self.encode.of}"
        return self.sql or "input column"


def order_steps(
    features: Sequence[FeatureConfig],
    functions: Mapping[str, Function],
    columns: Sequence[str],
    where_of: Callable[[int], str],
    names_of: Callable[[str, str], Sequence[str]],
) -> tuple[Step, ...]:
    """The features and the functions that they lead to, each after whatever it reads.

    Args:
        features: The job's features.
        functions: Marked functions by name.
        columns: Columns of the input, and lookups.
        where_of: Place of a feature by its position, for messages.
        names_of: The columns that a SQL expression reads; its second argument is for messages.

    Returns:
        Listed features in the job's order as far as their inputs allow, every one once.

    Raises:
        ConfigError: A feature has a column's name, reads what there is not, or reads itself.
    """
    taken = {name.lower(): name for name in columns}
    listed = {}
    for position, feature in enumerate(features):
        step = _listed_step(feature, functions, taken, where_of(position), names_of)
        listed[feature.name] = step
    return _Order(listed, functions, taken).all()


def _listed_step(
    feature: FeatureConfig,
    functions: Mapping[str, Function],
    taken: Mapping[str, str],
    where: str,
    names_of: Callable[[str, str], Sequence[str]],
) -> Step:
    where = f"{where} ({feature.name})"
    name, own = feature.name, functions.get(feature.name)
    made = feature.sql is not None or feature.from_ is not None or feature.encode is not None
    if (made or own is not None) and name.lower() in taken:
        raise ConfigError(
            f"{where}: the input table or a lookup already has this name. Give the feature another name, "
            "or leave out `sql`, `from` and `encode` to take the column as it is."
        )
    if made and own is not None:
        raise ConfigError(f"{where}: expected one definition; {own.where} is another. Rename one.")
    if feature.sql is not None:
        return Step(name=name, kind="sql", sql=feature.sql, reads=tuple(names_of(feature.sql, where)), where=where)
    if feature.from_ is not None:
        return Step(name=name, kind="lookup", sql=feature.from_, reads=(feature.from_.partition(".")[0],), where=where)
    if feature.encode is not None:
        return Step(name=name, kind="encode", encode=feature.encode, reads=(feature.encode.of,), where=where)
    if own is not None:
        return _function_step(own, where)
    if taken.get(name.lower()) != name:
        near = get_close_matches(name, [*taken.values(), *functions], n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"{where}: expected an input column or a marked function of this name, `sql`, `from` or `encode`; found "
            f"none of them.{hint}"
        )
    return Step(name=name, kind="input", reads=(name,), where=where)


def _function_step(function: Function, where: str, *, listed: bool = True) -> Step:
    kind: Kind = "python" if function.mark.kind == "column" else "arrow"
    return Step(
        name=function.name, kind=kind, reads=function.mark.inputs, where=where, function=function, listed=listed
    )


class _Order:
    """A walk over features, inputs first."""

    def __init__(self, listed: Mapping[str, Step], functions: Mapping[str, Function], taken: Mapping[str, str]) -> None:
        self._listed = listed
        self._functions = functions
        self._taken = taken
        self._by_folded = {name.lower(): name for name in [*functions, *listed]}
        self._done: dict[str, Step] = {}

    def all(self) -> tuple[Step, ...]:
        for name in self._listed:
            self._visit(name, [])
        return tuple(self._done.values())

    def _visit(self, name: str, path: list[str]) -> None:
        if name in self._done:
            return
        step = self._listed.get(name)
        if step is None:
            function = self._functions[name]
            step = _function_step(function, function.where, listed=False)
        if name in path:
            cycle = " → ".join([*path[path.index(name) :], name])
            raise ConfigError(f"{step.where}: expected features that do not read themselves; found {cycle}. Break it.")
        for read in step.reads if step.kind != "input" else ():
            if read.lower() in self._taken:
                if step.kind != "lookup":
                    self._refuse_shadowed(read)
                continue
            found = self._by_folded.get(read.lower())
            if found is None:
                raise ConfigError(f"{step.where}: {self._missing(step, read)}")
            self._visit(found, [*path, name])
        self._done[name] = step

    def _refuse_shadowed(self, read: str) -> None:
        own = {name.lower(): function for name, function in self._functions.items()}.get(read.lower())
        if own is not None:
            raise ConfigError(f"{own.where}: the input table or a lookup already has this name. Rename it.")

    def _missing(self, step: Step, read: str) -> str:
        known = dict.fromkeys([*self._taken.values(), *self._by_folded.values()])
        known.pop(step.name, None)
        near = get_close_matches(read, list(known), n=3, cutoff=0.5)
        hint = f" Did you mean one of: {', '.join(near)}?" if near else ""
        what = "parameter " if step.function else ""
        return (
            f"expected columns of the input table, lookups or other features; found {what}`{read}`, which is none of "
            f"them.{hint}"
        )


def layer_steps(steps: Sequence[Step]) -> list[list[Step]]:
    """The computed steps in layers: each reads nothing but columns and the layers before it."""
    depth: dict[str, int] = {}
    layers: list[list[Step]] = []
    for step in steps:
        below = [depth.get(read.lower(), 0) for read in step.reads] if step.kind != "input" else []
        depth[step.name.lower()] = max(below, default=0) + (1 if step.computed else 0)
        if step.computed:
            while len(layers) < depth[step.name.lower()]:
                layers.append([])
            layers[depth[step.name.lower()] - 1].append(step)
    return layers
