"""Plain files of a downloaded model: no links, no devices, no traversal, never larger than asked for."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from batchscore.errors import ModelError

MAX_MODEL_BYTES = 2**31 - 1  # what one protobuf message can hold

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 _.+-]{0,254}")
_CHUNK_BYTES = 1 << 20


def shown(value: object) -> str:
    """A name out of an untrusted file, quoted, in ASCII and shortened, so that a message stays one line."""
    text = ascii(value)
    return text if len(text) <= 82 else f"{text[:78]}...{text[-1]}"  # 80 and the quotes


def check_plain_name(name: object, where: str) -> str:
    """The name itself, if it is that of a file directly inside the model's folder.

    Raises:
        ModelError: It is a path, hidden, empty, too long, or has characters that a file name need not have.
    """
    if isinstance(name, str) and _PLAIN_NAME.fullmatch(name):
        return name
    raise ModelError(
        f"{where}: expected a plain file name beside MLmodel (letters, digits, spaces, and _ . + -); "
        f"found {shown(name)}. Log the model again; a path out of its folder is never followed."
    )


@contextmanager
def open_regular(folder: Path, name: str, max_bytes: int, where: str) -> Iterator[BinaryIO]:
    """A regular file with one name, open for reading, its size already checked.

    Raises:
        ModelError: It is missing, a symbolic or hard link, a device, a folder, or larger than `max_bytes`.
    """
    try:
        # O_NONBLOCK: a pipe must not make the driver wait for a writer.
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ModelError(f"{where}: expected the file {shown(name)} in its artifacts; found none.") from error
    except OSError as error:
        found = "a symbolic link" if (folder / name).is_symlink() else error.strerror
        raise ModelError(f"{where}: expected {shown(name)} to be a readable plain file; found {found}.") from error
    try:
        _check_status(os.fstat(handle), name, max_bytes, where)
    except ModelError:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as file:
        yield file


def _check_status(status: os.stat_result, name: str, max_bytes: int, where: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{where}: expected {shown(name)} to be a plain file; found a folder, pipe or device.")
    if status.st_nlink != 1:
        raise ModelError(
            f"{where}: expected {shown(name)} to have one name; found {status.st_nlink} hard links to it. "
            "Copy the file, so that nothing else can change it."
        )
    if status.st_size > max_bytes:
        raise ModelError(f"{where}: expected {shown(name)} of at most {max_bytes} bytes; found {status.st_size}.")


def read_regular(folder: Path, name: str, max_bytes: int, where: str) -> bytes:
    """The content of a file that `open_regular` accepts, also if it grows meanwhile."""
    with open_regular(folder, name, max_bytes, where) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ModelError(f"{where}: expected {shown(name)} of at most {max_bytes} bytes; it grew while it was read.")
    return content


def copy_regular(source: Path, target: Path, name: str, max_bytes: int, where: str) -> None:
    """Copy a file that `open_regular` accepts from one folder to another.

    Raises:
        ModelError: As `open_regular`.
    """
    with open_regular(source, name, max_bytes, where) as file, (target / name).open("xb") as copy:
        left = max_bytes
        while chunk := file.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise ModelError(f"{where}: expected {shown(name)} of at most {max_bytes} bytes; it grew meanwhile.")
            copy.write(chunk)
