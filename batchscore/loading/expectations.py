"""Expectations that stand in the job file: each one's faults, at its key."""

from __future__ import annotations

from collections.abc import Iterator

from batchscore.config import ExpectationConfig, JobConfig
from batchscore.expectations import ROW_SQL, ExpectationFault, check_kwargs, check_type, digest
from batchscore.loading.faults import Finding, Path


def find_expectation_faults(job: JobConfig) -> Iterator[Finding]:
    """Yield what is wrong with the expectations that a job lists itself."""
    for place in ("input", "features", "output"):
        listed = getattr(job.checks, place)
        for position, item in enumerate(listed if isinstance(listed, tuple) else ()):
            yield from _check_item(("checks", place, position), item)


def _check_item(where: Path, item: ExpectationConfig) -> Iterator[Finding]:
    if (item.type is None) == (item.expect_row_sql is None):
        yield Finding(where, "not-one-of", f"expected either `type` or `{ROW_SQL}`, and not both")
        return
    if item.expect_row_sql is not None:
        if not item.expect_row_sql.strip():
            yield Finding((*where, ROW_SQL), "empty", "expected a SQL expression that must not be false for a row")
        if not item.name.strip():
            yield Finding(where, "missing-key", f"`{ROW_SQL}` needs a `name`, by which reports call it")
        if item.kwargs:
            yield Finding((*where, "kwargs"), "not-used", f"`{ROW_SQL}` takes no arguments; remove `kwargs`")
        return
    try:
        check_type(item.type)
        check_kwargs(str(item.type), item.kwargs)
        digest(item.kwargs)
    except ExpectationFault as fault:
        yield Finding((*where, *fault.path), "bad-expectation", str(fault), fault.known)
