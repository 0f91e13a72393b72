"""Spark's errors re-told: one sentence of ours, no cell values."""

from __future__ import annotations

import pytest

from batchscore.errors import BatchscoreError, InputError, ModelError, ScoringError
from batchscore.failures import retell

CASES = [
    (
        "[UDF_ERROR] Traceback ...\nbatchscore.errors.ModelError: model: expected bytes; found others.\n\tat org.x",
        ModelError,
        "model: expected bytes; found others.",
    ),
    (
        "batchscore.errors.ScoringError: first\nbatchscore.errors.InputError: lookups.x: last one counts",
        InputError,
        "lookups.x: last one counts",
    ),
    (
        "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:///t/day=1/part-0.snappy.parquet. KD001",
        InputError,
        r"input: expected file:///t/day=1/part-0.snappy.parquet to be a whole Parquet file",
    ),
    (
        "[FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH] Encountered error while reading file "
        "file:///t/p1.parquet. "
        "Data type mismatches when reading Parquet column `[x]`. Expected Spark type int, actual Parquet type INT64. ",
        InputError,
        r"expected column `\[x\]` to have one type in all files; it is int in some, and INT64 in file:///t/p1.parquet",
    ),
    (
        "[CAST_INVALID_INPUT] The value 'secret-cell' of the type ...",
        BatchscoreError,
        r"^features, checks or --label: Spark stopped with CAST_INVALID_INPUT\. An expression .* try_cast",
    ),
    ("[DELTA_CONCURRENT_APPEND] x", BatchscoreError, "^output: Spark stopped with DELTA_CONCURRENT_APPEND. Somebody"),
    ("[SOME_OTHER.KIND] x", BatchscoreError, r"^Spark stopped with SOME_OTHER\.KIND\. Run with --verbose"),
    ("java.lang.OutOfMemoryError: Java heap space", BatchscoreError, r"^engine\.driver_memory: Spark ran out of"),
    ("Python worker exited unexpectedly (crashed)", ScoringError, "a Python worker died while scoring"),
    ("plain trouble\nsecond line", BatchscoreError, "^RuntimeError: plain trouble$"),
    ("", BatchscoreError, "^RuntimeError: no message$"),
]


@pytest.mark.parametrize(("text", "kind", "message"), CASES)
def test_errors_are_retold(text: str, kind: type[BatchscoreError], message: str) -> None:
    told = retell(RuntimeError(text))
    assert type(told) is kind
    with pytest.raises(kind, match=message):
        raise told
    assert "secret-cell" not in str(told)


def test_our_own_errors_stay_as_they_are() -> None:
    error = InputError("x")
    assert retell(error) is error
