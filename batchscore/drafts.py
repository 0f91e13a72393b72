"""Drafts of job files: what `init` writes for a table and a model, with every open choice marked in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from batchscore.errors import ConfigError
from batchscore.patterns import RESERVED_PREFIX
from batchscore.records import PinnedModel, TensorSpec
from batchscore.selectors import parse_selector

OPEN = "CHOOSE"
MOST_OUTPUTS = 10

_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = (*_INTEGERS, "float", "double", "boolean")
_TIMES = ("date", "timestamp", "timestamp_ntz")
_KEY = re.compile(r"(^|_)(id|key|uuid|number|num)$|Id$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFacts:
    """The input table, as the draft needs to know it.

    Attributes:
        table: As the job file will name it.
        format: `delta` or `parquet`.
        columns: Column name to Spark's name of its type, in order.
        partitions: Partition columns.
    """

    table: str
    format: str
    columns: dict[str, str]
    partitions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What the user said.

    Attributes:
        job: Name of the job.
        file: Name of the job file.
        registry: The registry's URI, as the job file will name it.
        key: Key columns.
        column: The column that intervals are cut by; None leaves the guess to the draft.
    """

    job: str
    file: str
    registry: str | None = None
    key: tuple[str, ...] = ()
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A job file's text, and what is still to be chosen in it.

    Attributes:
        text: YAML; valid as it is.
        grain: The interval's grain.
        choices: One sentence for each open choice.
    """

    text: str
    grain: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some lines of the draft, and what is to be chosen in them."""

    lines: tuple[str, ...]
    choices: tuple[str, ...] = ()


def draft_job(facts: TableFacts, model: PinnedModel, wishes: Wishes) -> Draft:
    """Write a job file for a table and a model: what matches by name is filled in, the rest is marked.

    Args:
        facts: The input table.
        model: The pinned model.
        wishes: What the user said.

    Raises:
        ConfigError: A key or interval column that the table lacks, or that no interval can be cut by.
    """
    _check_columns(facts, wishes)
    column, others = _pick_interval(facts, wishes)
    grain = "day" if column else "snapshot"
    folder, slash, _ = facts.table.rpartition("/")
    scores = f"{folder}/{wishes.job}_scores" if slash and "$" not in facts.table else f"./{wishes.job}_scores"
    run = f"batchscore run {wishes.file}" + (" --interval YYYY-MM-DD" if column else "")
    parts = (
        _Part(("# yaml-language-server: $schema=./job.schema.json", f"# {run}", f"job: {wishes.job}")),
        _draft_interval(column, others),
        _draft_input(facts, wishes, column),
        _draft_features(facts, model),
        _draft_model(model, wishes),
        _Part(
            (
                "output:",
                f"  scores: {_yaml(scores)}   # beside it: …_quarantine and …_audit",
                "  # passthrough: []   # input columns that travel to the scores",
            )
        ),
        _Part(
            (
                "# checks:",
                "#   input: expectations/input.json   # a Great Expectations suite file for the raw rows",
                "#   max_quarantine_pct: 5            # of the rows read, all reasons together",
            )
        ),
        _Part((f"registry: {{uri: {_yaml(wishes.registry)}}}",) if wishes.registry else ()),
    )
    text = "\n".join(line for part in parts for line in part.lines) + "\n"
    return Draft(text, grain, tuple(choice for part in parts for choice in part.choices))


def job_name(stem: str) -> str:
    """A job's name made of a file's: letters, digits and underscores, starting with a letter."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_")
    return (name if name[:1].isalpha() else f"job_{name}")[:100]


def _check_columns(facts: TableFacts, wishes: Wishes) -> None:
    wanted = [("--key", name) for name in wishes.key] + ([("--column", wishes.column)] if wishes.column else [])
    for option, name in wanted:
        if name not in facts.columns:
            near = get_close_matches(name, facts.columns, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" It has {', '.join(facts.columns)}."
            raise ConfigError(f"{option} {name}: expected a column of {facts.table}; it has none of this name.{hint}")
    if wishes.column and facts.columns[wishes.column] not in _TIMES:
        raise ConfigError(
            f"--column {wishes.column}: expected a date or a timestamp; found {facts.columns[wishes.column]}. "
            "Choose another, or leave --column out."
        )


def _pick_interval(facts: TableFacts, wishes: Wishes) -> tuple[str | None, list[str]]:
    """The interval's column: the one asked for, else a partition column, else a date, else a timestamp."""
    times = [name for name, kind in facts.columns.items() if kind in _TIMES]
    times.sort(key=lambda name: (name not in facts.partitions, _TIMES.index(facts.columns[name])))
    column = wishes.column or (times[0] if times else None)
    return column, [name for name in times if name != column]


def _draft_interval(column: str | None, others: Sequence[str]) -> _Part:
    if column is None:
        return _Part(("interval: {grain: snapshot}   # the whole table: it has no date or timestamp column",))
    note = f"; also possible: {', '.join(_yaml(name) for name in others)}" if others else ""
    return _Part(
        (
            "interval:",
            f"  column: {_yaml(column)}   # rows are cut by it{note}",
            "  grain: day   # hour | day | week | month | snapshot",
            "  time_zone: UTC   # days begin at midnight here; SQL features read clocks in it",
            "  # schedule: daily   # a scheduled job fails on an interval without rows",
        ),
    )


def _draft_input(facts: TableFacts, wishes: Wishes, column: str | None) -> _Part:
    lines = ["input:", f"  table: {_yaml(facts.table)}", f"  format: {facts.format}"]
    if wishes.key:
        lines.append(f"  key: {_flow(wishes.key)}   # identifies a row; travels to every output table")
        lines.append("  on_duplicate_key: fail   # fail | quarantine | keep")
        return _Part(tuple(lines))
    likely = [n for n, kind in facts.columns.items() if n != column and kind in (*_INTEGERS, "string")]
    likely.sort(key=lambda name: _KEY.search(name) is None)
    lines.append(f"  # key: {_flow(likely[:1])}   # {OPEN} what identifies a row; it travels to every output table")
    return _Part(tuple(lines), ("input.key: the columns that identify a row",))


def _draft_features(facts: TableFacts, model: PinnedModel) -> _Part:
    head = ("features:", "  # on_null: fail | quarantine (unless given) | nan | {impute: VALUE}")
    wanted = _wanted_features(model)
    if not wanted:
        tensor = model.inputs[0]
        width = tensor.shape[1] if len(tensor.shape) == 2 else 1
        numbers = [name for name, kind in facts.columns.items() if _is_number(kind) and name not in facts.partitions]
        what = f"{width if width is not None else 'all'} features, in the order in which the model was trained"
        shown = [f"    # - {{name: {_yaml(name)}}}" for name in numbers]
        lines = (*head, f"  # {OPEN} {what}: it names none of them", "  columns: []", *shown)
        return _Part(lines, (f"features.columns: {what}",))
    entries: list[str] = []
    missing: list[str] = []
    for name, tensor in wanted:
        line, fits = _draft_feature(name, tensor, facts)
        entries.append(f"    {line}")
        if not fits:
            missing.append(name)
    columns = "  columns:" if len(missing) < len(wanted) else "  columns: []"
    choice = (f"features.columns: a source for {', '.join(missing)}",) if missing else ()
    return _Part((*head, columns, *entries), choice)


def _wanted_features(model: PinnedModel) -> list[tuple[str, TensorSpec]]:
    """The features that the model names, by its signature or by its inputs' own names; empty if it names none."""
    tensors = {tensor.name: tensor for tensor in model.inputs}
    if len(tensors) == 1:
        tensor = model.inputs[0]
        if model.signature_inputs:
            return [(name, tensor) for name in model.signature_inputs]
        width = tensor.shape[1] if len(tensor.shape) == 2 else 1
        return [(tensor.name, tensor)] if width == 1 else []
    return list(tensors.items())


def _draft_feature(name: str, tensor: TensorSpec, facts: TableFacts) -> tuple[str, bool]:
    kind = facts.columns.get(name)
    if kind is not None and _fits(kind, tensor.dtype) and not name.startswith(RESERVED_PREFIX):
        return f"- {{name: {_yaml(name)}}}   # {kind}", True
    if kind is not None:
        why = f"the column is {kind.partition('<')[0]}; it takes {tensor.dtype}"
        return f'# - {{name: {_yaml(name)}, sql: "…"}}   # {OPEN} {why}', False
    near = get_close_matches(name.lower(), [column.lower() for column in facts.columns], n=1)
    hint = next((f"; near: {_yaml(column)}" for column in facts.columns if column.lower() in near), "")
    return f'# - {{name: {_yaml(name)}, sql: "…"}}   # {OPEN} how it is computed: no column has this name{hint}', False


def _draft_model(model: PinnedModel, wishes: Wishes) -> _Part:
    lines = ["model:", f"  uri: {_yaml(model.uri)}", "  outputs:   # output column: tensor, or one column of it"]
    taken = {name.lower() for name in wishes.key}
    found = [selector for tensor in model.outputs for selector in _selectors(tensor)]
    if not found:
        names = ", ".join(_yaml(tensor.name) for tensor in model.outputs)
        lines[-1] = f"  # outputs: {{…}}   # {OPEN} among {names}: none is a plain tensor of known width"
        return _Part(tuple(lines), ("model.outputs: which values are published, and under which names",))
    for column, selector in found:
        name = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_") or "score"
        name = name if name.lower() not in taken else f"{name}_score"
        taken.add(name.lower())
        lines.append(f"    {name}: {_yaml(selector)}")
    return _Part(tuple(lines))


def _selectors(tensor: TensorSpec) -> list[tuple[str, str]]:
    """Column name and selector of each value that one tensor gives for a row."""
    if parse_selector(tensor.name) is None or not tensor.dtype.startswith(("tensor(", "seq(map(")):
        return []
    if len(tensor.shape) > 2 or tensor.dtype.startswith("seq("):
        return [(tensor.name, tensor.name)]
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    if width == 1:
        return [(tensor.name, tensor.name)]
    first = 1 if width == 2 else 0  # of two classes, the second says it all
    return [(f"{tensor.name}_{k}", f"{tensor.name}[:, {k}]") for k in range(first, min(width or 0, MOST_OUTPUTS))]


def _fits(kind: str, dtype: str) -> bool:
    if dtype == "tensor(string)":
        return kind == "string"
    if dtype == "tensor(bool)":
        return kind == "boolean"
    return _is_number(kind) if dtype in _FLOATS else kind in (*_INTEGERS, "boolean")


def _is_number(kind: str) -> bool:
    return kind in _NUMBERS or kind.startswith("decimal")


def _yaml(text: str) -> str:
    """A YAML scalar: plain where nothing in it has a meaning, else double-quoted."""
    plain = re.fullmatch(r"([A-Za-z]|\.{0,2}/)[A-Za-z0-9_./@-]*(:/[A-Za-z0-9_./@-]+)?", text)
    reserved = text.lower() in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
    return text if plain and not reserved else json.dumps(text, ensure_ascii=False)


def _flow(names: Iterable[str]) -> str:
    return "[" + ", ".join(_yaml(name) for name in names) + "]"
