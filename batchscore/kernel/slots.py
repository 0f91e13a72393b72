"""Places on GPUs where Spark does not hand devices out: a worker process takes one and keeps it until it ends."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from batchscore.kernel.devices import make_private

_TAKEN: dict[str, tuple[int, IO[str]]] = {}  # by folder; the open file is the lock


def take_slot(devices: int, per_device: int, folder: Path | None = None) -> int | None:
    """The device on which this process may have sessions; None where all places are taken.

    Places are locked files: the lock goes with the process, however it ends.

    Args:
        devices: GPUs that the process sees.
        per_device: Processes that may share one.
        folder: Where the files lie; None for a private one of the user.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"batchscore-gpu-{os.getuid()}"
    held = _TAKEN.get(str(folder))
    if held is not None:
        return held[0]
    make_private(folder, f"the GPU places in {folder.parent}")
    for place in range(per_device):  # one on each device, before a second on any
        for device in range(devices):
            file = (folder / f"{device}-{place}.lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            _TAKEN[str(folder)] = (device, file)
            return device
    return None
