"""Small disks for fault tests: a tmpfs that can be filled, freed and made read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BLOCK = b"\0" * 4096


@dataclass(frozen=True)
class Disk:
    """A small file system.

    Attributes:
        place: Where it is mounted.
    """

    place: Path

    def fill(self) -> None:
        """Leave not a byte free."""
        with (self.place / "filler").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(BLOCK)
            except OSError:
                return

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.place / "filler").unlink(missing_ok=True)

    def allow_writes(self, allowed: bool) -> None:
        """Make it writable or read-only."""
        _call("mount", "-o", f"remount,{'rw' if allowed else 'ro'}", str(self.place))


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Disk]:
    """A new file system of a size such as `8m`; the test is skipped where none may be mounted."""
    place.mkdir(parents=True)
    done = _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    if done is not None:
        pytest.skip(f"needs the right to mount a tmpfs: {done}")
    try:
        yield Disk(place)
    finally:
        _call("umount", "--lazy", str(place))


def _call(*command: str) -> str | None:
    """Run a command; None where it did what it should, else what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
