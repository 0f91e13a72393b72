"""A crash that nothing catches."""

from __future__ import annotations


class Crash(BaseException):
    """What no code of ours catches."""
