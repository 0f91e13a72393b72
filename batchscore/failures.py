"""Failures re-told: what Spark raises becomes one sentence of ours, without cell values."""

from __future__ import annotations

import re

from batchscore import errors
from batchscore.errors import BatchscoreError, InputError, ScoringError
from batchscore.redaction import redact

_RAISED_IN_WORKER = re.compile(r"batchscore\.errors\.(\w+): (.+)")
_FILE = re.compile(r"(?:Encountered error while reading file|path:?|file:?) ?(\S+\.parquet)")
_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_.]+)\]")


def retell(error: BaseException) -> BatchscoreError:
    """The error of ours that stands for whatever was raised.

    Spark's own texts may quote cell values, so only their error condition and file names are kept.
    """
    if isinstance(error, BatchscoreError):
        return error
    text = str(error)
    raised = _RAISED_IN_WORKER.findall(text)
    if raised:
        name, message = raised[-1]
        kind = getattr(errors, name, BatchscoreError)
        return kind(redact(message.strip())) if issubclass(kind, BatchscoreError) else BatchscoreError(redact(message))
    condition = _CONDITION.search(text)
    if condition and condition[1].startswith(("FAILED_READ_FILE", "CANNOT_READ_FILE")):
        found = _FILE.search(text)
        file = found[1] if found else "a data file"
        return InputError(
            f"input: expected {file} to be a whole Parquet file; it could not be read ({condition[1]}): cut short, "
            "changed, or deleted. Restore it, or rewrite the interval upstream; nothing was published."
        )
    if condition:
        return BatchscoreError(f"Spark stopped with {condition[1]}. Run with --verbose for its own trace.")
    if "Python worker exited unexpectedly" in text or "crashed" in text:
        return ScoringError("a Python worker died while scoring. Give workers more memory or lower scoring.batch_rows.")
    return BatchscoreError(f"{type(error).__name__}: {redact(text.splitlines()[0][:300] if text else 'no message')}")
