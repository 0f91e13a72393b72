"""Patterns: the forms that names, durations and addresses have in a job file."""

from __future__ import annotations

import re

NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]{0,99}\Z")
DURATION = re.compile(r"^([1-9][0-9]{0,5})(s|m|h|d)\Z")
MODEL_URI = re.compile(r"^models:/([A-Za-z0-9_. -]{1,200})(?:@([A-Za-z0-9_-]{1,100})|/([1-9][0-9]{0,8}))\Z")
URI_PASSWORD = re.compile(r"://[^/@:\s]*:((?!\$\{)[^/@\s]+)@")
RESERVED_PREFIX = "_"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> int:
    """Seconds in a duration such as `90s`, `15m`, `6h`, `7d`; 0 for `0s`."""
    found = DURATION.match(text)
    return int(found[1]) * SECONDS[found[2]] if found else 0
