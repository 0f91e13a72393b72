"""References to the outside, `${env:NAME}` and `${file:PATH}`: checked when a job is loaded, expanded where used."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from batchscore.errors import ConfigError
from batchscore.redaction import redact, register_secret

MAX_FILE_BYTES = 65_536
TABLE_NAME = re.compile(r"^\w{1,255}(\.\w{1,255}){1,2}\Z", re.ASCII)  # SCHEMA.TABLE or CATALOG.SCHEMA.TABLE
_REFERENCE = re.compile(r"\$\{(?:env:(?P<env>[A-Za-z_][A-Za-z0-9_]*)|file:(?P<file>[^{}\x00-\x1f]+))\}")
_PATTERN = "*?[]{}"
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_SQLITE = re.compile(r"^(sqlite(?:\+\w+)?:///)([^/:?][^?]*)(\?.*)?$")


def has_reference(text: str) -> bool:
    """Whether the text holds a reference, rightly written or not."""
    return "${" in text


def find_reference_faults(text: str, folder: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the references in a text, as (code, message); values are never shown.

    Args:
        text: A config value as written.
        folder: The job file's folder, which relative `file:` paths count from.
    """
    if has_reference(_REFERENCE.sub("", text)):
        yield "bad-reference", "expected '${env:NAME}' or '${file:PATH}'; references do not nest"
    for found in _REFERENCE.finditer(text):
        try:
            _expand(found, folder)
        except ConfigError as error:
            yield "reference-missing", str(error)


def find_variables(text: str) -> list[str]:
    """Names of the environment variables that a text refers to, in their order."""
    return [found["env"] for found in _REFERENCE.finditer(text) if found["env"]]


def resolve(text: str, folder: str) -> str:
    """The text with its references expanded. Each expanded value is registered as a secret first.

    Args:
        text: A config value as written, such as `${env:LAKE}/flights`.
        folder: The job file's folder, which relative `file:` paths count from.

    Raises:
        ConfigError: A reference is badly written, or what it names is missing.
    """
    if has_reference(_REFERENCE.sub("", text)):
        raise ConfigError(
            f"reference: expected '${{env:NAME}}' or '${{file:PATH}}'; found '{redact(text)}'. Correct it."
        )

    def expand(found: re.Match[str]) -> str:
        value = _expand(found, folder)
        register_secret(value)
        return value

    return _REFERENCE.sub(expand, text)


def resolve_path(text: str, folder: str) -> str:
    """Where a table lies: references expanded, relative paths made absolute and normalised.

    URIs with a scheme, and catalog names (no `/`), stay as they are.

    Args:
        text: A table as the config names it.
        folder: The job file's folder, which relative paths count from.

    Raises:
        ConfigError: As `resolve`.
    """
    path = resolve(text, folder)
    if _SCHEME.match(path) or "/" not in path:
        return path
    return _join(path, folder)


def resolve_table(text: str, folder: str) -> str:
    """Where a table lies: as `resolve_path`, but a path that Spark would take for a pattern is refused.

    Args:
        text: A table as the config names it.
        folder: The job file's folder, which relative paths count from.

    Raises:
        ConfigError: As `resolve`; or the path has a character of Hadoop's patterns.

    Source: Hadoop, `FileSystem.globStatus`, which every reader of files in Spark asks for them.
    """
    path = resolve_path(text, folder)
    found = sorted(set(path) & set(_PATTERN)) if "/" in path else []
    if found:
        raise ConfigError(
            f"table '{redact(text)}': expected a path without {' '.join(_PATTERN)}, which Spark reads as patterns of "
            f"names; found {' '.join(found)} in '{redact(path)}'. Rename the folder, or move the table to another."
        )
    return path


def resolve_file(text: str, folder: str) -> str:
    """Where a local file lies, such as a suite: as `resolve_path`, but a bare name is a file in the job's folder.

    Args:
        text: A file as the config names it.
        folder: The job file's folder, which relative paths count from.

    Raises:
        ConfigError: As `resolve`.
    """
    return _join(resolve(text, folder), folder)


def resolve_sqlite(uri: str, folder: str) -> str:
    """A registry URI with references expanded; a relative `sqlite:///x.db` or a bare path counts from `folder`.

    Args:
        uri: The registry URI as the config names it.
        folder: The job file's folder.

    Raises:
        ConfigError: As `resolve`.

    Source: SQLAlchemy, "SQLite connect strings": three slashes for a relative path, four for an absolute one.
    """
    uri = resolve(uri, folder)
    found = _SQLITE.match(uri)
    if found:
        return found[1] + _join(found[2], folder) + (found[3] or "")
    return uri if _SCHEME.match(uri) or "/" not in uri else _join(uri, folder)


def _join(path: str, folder: str) -> str:
    # posixpath keeps two leading slashes; they mean nothing here
    return posixpath.normpath("/" + posixpath.join(os.fspath(folder), path).lstrip("/"))


def _expand(found: re.Match[str], folder: str) -> str:
    if found["env"]:
        value = os.environ.get(found["env"], "")
        if not value:
            state = "set but empty" if found["env"] in os.environ else "not set"
            raise ConfigError(f"{found[0]}: expected the environment variable '{found['env']}'; it is {state}. Set it.")
        return value
    path = Path(folder, found["file"])
    try:
        if not path.is_file():
            raise ConfigError(f"{found[0]}: expected a file; there is none. Create it, or correct the path.")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError(f"{found[0]}: expected at most {MAX_FILE_BYTES} bytes; the file is longer.")
        value = content.decode().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{found[0]}: expected a readable text file; found {type(error).__name__}. Check its permissions."
        ) from None
    if not value:
        raise ConfigError(f"{found[0]}: expected a value; the file is empty. Write the value into it.")
    return value
