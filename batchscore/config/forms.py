"""What every section of a job file shares: YAML's key names, and what pydantic reads off a class."""

from __future__ import annotations

from typing import Any, Literal

Format = Literal["delta", "parquet"]


def yaml_key(field_name: str) -> str:
    """The YAML key of a dataclass field: its name, without the underscore that keeps a Python keyword legal."""
    return field_name.rstrip("_")


# Read by pydantic in the loader; nothing to import here. Unknown keys are faults.
FORBID: dict[str, Any] = {"extra": "forbid", "alias_generator": yaml_key}
