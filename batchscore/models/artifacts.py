"""Brings single named files of a registered model into a private folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from batchscore.errors import ModelError
from batchscore.models.calls import ask, is_absent
from batchscore.models.deadline import Deadline
from batchscore.models.files import check_plain_name, copy_regular, shown
from batchscore.models.registry import RegisteredVersion, open_repository

Fetch = Callable[[str, int], None]


def open_artifacts(found: RegisteredVersion, folder: Path, deadline: Deadline) -> Fetch:
    """A function that fetches one file, by its plain name and the most bytes it may have, into `folder`.

    Nothing is listed: a store's answer can never name a file to write.

    Args:
        found: The version whose files are wanted.
        folder: An empty folder that only this user can open.
        deadline: The time left for talking to the store; bytes that arrive earn more.

    Raises:
        ModelError: (by the function) The file is missing, no plain file, or too large.
        RegistryError: (by the function) The store cannot be reached.
    """
    source = _local_folder(found.artifacts)
    if source is not None:
        return lambda name, max_bytes: copy_regular(source, folder, name, max_bytes, found.where)
    repository = ask(lambda: open_repository(found), found.registry, deadline)

    def fetch(name: str, max_bytes: int) -> None:
        check_plain_name(name, found.where)

        def received() -> int:
            sizes = [file.stat() for file in folder.iterdir() if file.name.startswith((name, "."))]
            if any(size.st_size > max_bytes for size in sizes):
                deadline.over.set()
                raise ModelError(f"{found.where}: expected {shown(name)} of at most {max_bytes} bytes; found more.")
            return sum(size.st_blocks * 512 for size in sizes)  # some stores reserve the whole length first

        ask(lambda: _download(repository, name, folder, found.where), found.registry, deadline, received)

    return fetch


def _local_folder(uri: str) -> Path | None:
    parts = urlsplit(uri)
    if not parts.scheme:
        return Path(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None


def _download(repository: Any, name: str, folder: Path, where: str) -> None:
    try:
        repository._download_file(name, str(folder / name))  # one file into one place, nothing listed
    except Exception as error:
        if is_absent(error):
            raise ModelError(f"{where}: expected the file {shown(name)} in its artifacts; found none.") from error
        raise
