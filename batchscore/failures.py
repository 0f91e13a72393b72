"""Failures re-told: what Spark raises becomes one sentence of ours, without cell values."""

from __future__ import annotations

import re

from batchscore import errors
from batchscore.errors import BatchscoreError, InputError, ScoringError, WriteError
from batchscore.redaction import redact

MAX_CAUSES = 10
_RAISED_IN_WORKER = re.compile(r"batchscore\.errors\.(\w+): (.+)")
_FILE = re.compile(r"(?:Encountered error while reading file|path:?|file:?) ?(\S+\.(?:parquet|json))")
_REFUSED = re.compile(
    r"No space left on device|Read-only file system|Permission denied|Disk quota exceeded|Input/output error"
    r"|Mkdirs failed to create"
)
_WRITTEN = re.compile(r"(?:writing rows to|Mkdirs failed to create) (\S+)|(/\S+) \(|'(/[^']+)'")
_MISMATCH = re.compile(r"reading Parquet column (\S+)\. Expected Spark type (.+?), actual Parquet type (.+?)\.(?:\s|$)")
_WORKER_ERROR = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Invalid|Exit))\b", re.MULTILINE)
_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_.]+)\]")

# Spark's error condition, or its beginning, to the part of the job file that it is about, and what to do there.
# Source: Spark's error conditions, https://spark.apache.org/docs/latest/sql-error-conditions.html
_EXPRESSION = (
    "features, checks or --label: ",
    "An expression cannot be computed for a row; guard it, as by try_cast. ",
)
_ADVICE = {
    "ARITHMETIC_OVERFLOW": _EXPRESSION,
    "CAST_": _EXPRESSION,
    "DIVIDE_BY_ZERO": _EXPRESSION,
    "INVALID_ARRAY_INDEX": _EXPRESSION,
    "NUMERIC_VALUE_OUT_OF_RANGE": _EXPRESSION,
    "UNABLE_TO_ACQUIRE_MEMORY": ("engine.driver_memory: ", "Give Spark more memory. "),
    "PATH_NOT_FOUND": ("input.table or lookups: ", "A table went away while it was read; run again. "),
    "DELTA_": ("output: ", "Somebody else changed a table; look at its history, then run again. "),
    "SCALAR_SUBQUERY_TOO_MANY_ROWS": ("checks: ", "Rewrite the query so that it gives one row. "),
}


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
    mismatch = _MISMATCH.search(text)
    if mismatch:
        column, wanted, held = mismatch.groups()
        found = _FILE.search(text)
        return InputError(
            f"input: expected column {column} to have one type in all files; it is {wanted} in some, and {held} in "
            f"{found[1] if found else 'others'}. Rewrite those files upstream; nothing was published."
        )
    if condition and condition[1].startswith(("FAILED_READ_FILE", "CANNOT_READ_FILE")):
        found = _FILE.search(text)
        file = found[1] if found else "a data file"
        if "/_delta_log/" in file:
            return WriteError(
                f"{file}: expected a file of a Delta table's log; it could not be read ({condition[1]}): cut short or "
                "changed. Restore it from a copy; until then nothing is published."
            )
        changed = "the checksum of a page does not fit its data" if "CRC" in text else "cut short, changed, or deleted"
        return InputError(
            f"input: expected {file} to be a whole Parquet file; it could not be read ({condition[1]}): {changed}. "
            "Restore it, or rewrite the interval upstream; nothing was published."
        )
    if _REFUSED.search(_whole_text(error)):
        return refuse(_place_of(error), error)
    if "java.lang.OutOfMemoryError" in text:
        return BatchscoreError(
            "engine.driver_memory: Spark ran out of memory (java.lang.OutOfMemoryError). Give it more there, or under "
            "spark-submit by --driver-memory and --executor-memory."
        )
    if condition:
        where, advice = next((told for start, told in _ADVICE.items() if condition[1].startswith(start)), ("", ""))
        return BatchscoreError(
            f"{where}Spark stopped with {condition[1]}. {advice}Run with --verbose for its own trace."
        )
    worker = _WORKER_ERROR.findall(text) if type(error).__name__ == "PythonException" else []
    if worker:
        return BatchscoreError(f"a Python worker raised {worker[-1]}. Run with --verbose for its trace.")
    if "Python worker exited unexpectedly" in text or "crashed" in text:
        return ScoringError("a Python worker died while scoring. Give workers more memory or lower scoring.batch_rows.")
    return BatchscoreError(f"{type(error).__name__}: {redact(text.splitlines()[0][:300] if text else 'no message')}")


def refuse(place: str, error: BaseException) -> WriteError:
    """The error of a store that did not take what a run had to write.

    Args:
        place: What was to be written.
        error: What the store raised.
    """
    return WriteError(
        f"{place}: expected to write it; the store said: {reason_of(error)}. Mend that and run again; the old scores "
        "stay visible."
    )


def reason_of(error: BaseException) -> str:
    """Why a store refused: the system's own words where they stand anywhere below, else what `retell` says."""
    found = _REFUSED.search(_whole_text(error))
    return found[0] if found else str(retell(error))


def _place_of(error: BaseException) -> str:
    found = _WRITTEN.search(_whole_text(error))
    return next(group for group in found.groups() if group).rstrip(".") if found else "a file of this run"


def _whole_text(error: BaseException) -> str:
    """What an error and its causes say, Java's among them."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(texts) < MAX_CAUSES:
        texts.append(str(cause))
        cause = getattr(cause, "_cause", None) or cause.__cause__
    return "\n".join(texts)
