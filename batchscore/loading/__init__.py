"""The loader: a YAML job file to a validated Job, or one error that shows every fault at its place."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from batchscore.config import Job, JobConfig
from batchscore.errors import ConfigError
from batchscore.loading.canonical import canonical_config, config_sha256, dump_yaml
from batchscore.loading.faults import WHOLE_FILE, Fault, Mark, raise_faults
from batchscore.loading.faults import Path as KeyPath
from batchscore.loading.overrides import apply_overrides
from batchscore.loading.rules import find_faults
from batchscore.loading.schema import job_schema
from batchscore.loading.validation import find_node, validate
from batchscore.loading.yaml import Node, compose

__all__ = ["canonical_config", "config_sha256", "dump_yaml", "find_faults", "job_schema", "load_job"]

MAX_FILE_BYTES = 1_048_576


def load_job(path: str | os.PathLike[str], sets: Sequence[str] = ()) -> Job:
    """Read a job file.

    Args:
        path: The YAML file.
        sets: Overrides, each `path.to.key=value`, put in before validation.

    Returns:
        The job; references such as `${env:NAME}` still stand in it as written.

    Raises:
        ConfigError: The file cannot be read, or has faults; the message shows all of them.
    """
    file = os.fspath(path)
    text = _read_text(file)
    folder = str(Path(file).absolute().parent)
    root, faults = compose(text)
    if root is None and not faults:
        faults = [Fault(WHOLE_FILE, "empty", "expected a job; the file holds no value")]
    elif root is not None and not isinstance(root.value, dict):
        faults.append(Fault(root.mark, "wrong-type", "expected a mapping of sections, such as `job: NAME`"))
    elif root is not None:
        faults += apply_overrides(root, sets)
        config, found = validate(root, folder)
        reported = {fault.mark for fault in faults}  # a number that JSON cannot carry stands as 0 in the document
        faults += [fault for fault in found if fault.mark not in reported]
        if config is not None and not faults:
            return Job(config=config, folder=folder, file=file, places=_find_places(root, file, config))
    raise_faults(faults, file, text)
    raise AssertionError("a job file gave neither a config nor a fault")


def _find_places(root: Node, file: str, config: JobConfig) -> dict[str, str]:
    """Where what is checked against tables, later, stands."""
    paths: list[KeyPath] = [("features",), ("features", "constants")]
    paths += [("features", "modules", position) for position in range(len(config.features.modules))]
    paths += [("features", "columns", position) for position in range(len(config.features.columns))]
    paths += [("lookups", name) for name in config.lookups]
    found = {}
    for path in paths:
        mark = find_node(root, path)[1]
        if not mark.origin and mark.line:
            found[".".join(str(part) for part in path)] = f"{file}:{mark.line}"
    return found


def _read_text(file: str) -> str:
    try:
        # asked before opening: opening a pipe would wait for a writer
        if not stat.S_ISREG(os.stat(file).st_mode):  # noqa: PTH116 - a str may hold what Path refuses
            raise ConfigError(f"{file}: expected a YAML file; found something else. Name the file itself.")
        with Path(file).open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{file}: expected a job file; there is none. Check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(f"{file!r}: expected a readable job file; found: {reason}. Check path and rights.") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: too-large: expected at most {MAX_FILE_BYTES} bytes; the file is larger.")
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        what = f"expected UTF-8; found byte 0x{content[error.start]:02x}. Save the file as UTF-8"
        raise_faults([Fault(Mark(line, column), "not-utf8", what)], file, content.decode(errors="replace"))
        raise
