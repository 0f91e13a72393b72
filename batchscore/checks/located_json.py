"""JSON whose objects know the line on which they begin, so that a fault in a suite file has an address."""

from __future__ import annotations

import json
from bisect import bisect_left
from json import decoder, scanner  # the pure Python scanner tells where each object begins
from pathlib import Path
from typing import Any

from batchscore.errors import ConfigError

MAX_BYTES = 1 << 20


class LocatedObject(dict[str, Any]):
    """A JSON object.

    Attributes:
        line: Line of its opening brace, counted from 1.
    """

    line: int = 0


class _FaultError(ValueError):
    """A fault that JSON's own grammar lets pass."""


def read_object(path: str) -> LocatedObject:
    """Read a JSON file that holds one object.

    Raises:
        ConfigError: The file is missing, too large, not UTF-8 or not JSON; a key is given twice; a number is NaN or
            infinite. Names file and line.

    Source: RFC 8259.
    """
    try:
        text = _read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path}: expected a readable JSON file; {reason or type(error).__name__}.") from error
    try:
        value = _Decoder(text).decode(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: expected JSON; {error.msg}.") from error
    except _FaultError as error:
        raise ConfigError(f"{path}:{error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: expected a suite; found values nested too deeply.") from error
    except ValueError as error:  # an integer of thousands of digits
        raise ConfigError(f"{path}: expected JSON; found a number that is too long.") from error
    if not isinstance(value, LocatedObject):
        raise ConfigError(f"{path}:1: expected a JSON object; found {type(value).__name__}.")
    return value


def _read_text(path: str) -> str:
    file = Path(path)
    if file.exists() and not file.is_file():
        raise ConfigError(f"{path}: expected a JSON file; found something that is not a plain file.")
    with file.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: expected at most {MAX_BYTES} bytes (1 MiB); found more.")
    return content.decode("utf-8-sig")


class _Decoder(json.JSONDecoder):
    def __init__(self, text: str) -> None:
        super().__init__(parse_constant=self._refuse_constant)
        self._breaks = [i for i, char in enumerate(text) if char == "\n"]
        self.parse_object = self._parse_object
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    def _parse_object(self, at: tuple[str, int], strict: bool, scan_once: Any, *_: Any) -> tuple[LocatedObject, int]:
        line = bisect_left(self._breaks, at[1]) + 1
        pairs, end = decoder.JSONObject(at, strict, scan_once, None, list)  # type: ignore[attr-defined]
        found = LocatedObject()
        for key, value in pairs:
            if key in found:
                raise _FaultError(
                    f"{line}: expected each key once; found '{key}' twice in the object that begins here."
                )
            found[key] = value
        found.line = line
        return found, end

    def _refuse_constant(self, name: str) -> Any:
        raise _FaultError(f" expected JSON; found {name}, which JSON does not have.")
