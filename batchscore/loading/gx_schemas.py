"""Great Expectations' own JSON Schemas, merged into that of job files, so that editors complete its arguments."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from batchscore.expectations import CORE, REFUSED

FOLDER = "expectations/core/schemas"
# What stands beside the arguments in a suite file, or belongs to GX's own house.
NO_ARGUMENTS = frozenset(
    "id meta notes result_format description catch_exceptions rendered_content severity windows batch_id "
    "metadata".split()
)
PREFIX = "Gx"


def add_expectations(schema: dict[str, Any]) -> None:
    """Let the schema of a job file know each expectation's name and arguments.

    The installed package's files are read without importing it, which would take seconds; without them the names
    alone are known.
    """
    definitions: dict[str, Any] = schema["$defs"]
    item = definitions["ExpectationConfig"]
    item["properties"]["type"] = {
        **{key: value for key, value in item["properties"]["type"].items() if key != "anyOf"},
        "enum": [*(kind for kind in CORE if kind not in REFUSED), None],
    }
    rules = []
    for kind, arguments, shared in _read_schemas():
        definitions.update(shared)
        definitions[f"{PREFIX}_{kind}"] = arguments
        condition = {"properties": {"type": {"const": kind}}, "required": ["type"]}
        rules.append({"if": condition, "then": {"properties": {"kwargs": {"$ref": f"#/$defs/{PREFIX}_{kind}"}}}})
    if rules:
        item["allOf"] = rules


@cache
def _read_schemas() -> tuple[tuple[str, dict[str, Any], dict[str, Any]], ...]:
    """(type, the schema of its arguments, the definitions that they refer to) of each expectation that is allowed."""
    found = importlib.util.find_spec("great_expectations")
    places = list(found.submodule_search_locations or ()) if found else []
    files = [file for place in places for file in sorted((Path(place) / FOLDER).glob("*Expect*.json"))]
    read = []
    for file in files:
        schema = _rename(json.loads(file.read_text(encoding="utf-8")))
        kind = schema["properties"]["metadata"]["properties"]["expectation_type"]["const"]
        if kind not in CORE or kind in REFUSED:
            continue
        arguments = {
            "title": schema["title"],
            "description": schema["description"].split("\n", 1)[0],
            "type": "object",
            "properties": {name: value for name, value in schema["properties"].items() if name not in NO_ARGUMENTS},
            "required": [name for name in schema.get("required", []) if name not in NO_ARGUMENTS],
            "additionalProperties": False,
        }
        shared = {f"{PREFIX}{name}": value for name, value in schema.get("definitions", {}).items()}
        read.append((kind, arguments, {name: shared[name] for name in _referred(arguments, shared)}))
    return tuple(read)


def _rename(value: Any) -> Any:
    """References to a file's own definitions as references to the merged ones; tuples as draft 2020-12 writes them."""
    if isinstance(value, dict):
        tuples = isinstance(value.get("items"), list)
        return {"prefixItems" if tuples and key == "items" else key: _rename(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rename(inner) for inner in value]
    return value.replace("#/definitions/", f"#/$defs/{PREFIX}") if isinstance(value, str) else value


def _referred(value: Any, definitions: dict[str, Any]) -> set[str]:
    """Names of the definitions that a schema refers to, however deep."""
    text = json.dumps(value)
    names = {name for name in definitions if f'"#/$defs/{name}"' in text}
    rest = {name: inner for name, inner in definitions.items() if name not in names}
    return names | {deeper for name in names for deeper in _referred(definitions[name], rest)}
