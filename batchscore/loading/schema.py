"""The JSON Schema of a job file, for editors."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from batchscore.config import JobConfig, yaml_key
from batchscore.loading.gx_schemas import add_expectations
from batchscore.loading.shapes import branches_of, class_of, fields_of, item_of
from batchscore.loading.validation import job_adapter

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)


def job_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a job file, described by the config classes' docstrings."""
    schema = job_adapter().json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    for shape in _config_classes(JobConfig):
        _describe(schema if shape is JobConfig else definitions[shape.__name__], shape)
    add_expectations(schema)
    return {"$schema": DIALECT, **schema, "title": "batchscore job"}


def _config_classes(shape: Any) -> set[Any]:
    found = {shape}
    for child in fields_of(shape).values():
        for branch in (*branches_of(child), item_of(child, ""), item_of(child, 0)):
            inner = class_of(branch)
            if inner is not None and inner not in found:
                found |= _config_classes(inner)
    return found


def _describe(schema: dict[str, Any], shape: Any) -> None:
    text, _, attributes = inspect.cleandoc(shape.__doc__).partition("\n\nAttributes:\n")
    schema["description"] = " ".join(text.split())
    described = {name: " ".join(words.split()) for name, words in _ATTRIBUTE.findall(attributes)}
    for field in dataclasses.fields(shape):
        entry = schema["properties"][yaml_key(field.name)]
        entry.pop("title", None)  # the key again, in capitals
        entry["description"] = described[field.name]
        if field.default_factory is not dataclasses.MISSING:
            entry["default"] = field.default_factory()
