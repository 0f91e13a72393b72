"""Suites: Great Expectations' files read as GX writes them, and expectations that stand in the job file itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from batchscore.checks.located_json import LocatedObject, read_object
from batchscore.config import ExpectationConfig, Job
from batchscore.errors import ConfigError
from batchscore.expectations import (
    ON_ROW_FAIL,
    ROW_SQL,
    SEVERITIES,
    Expectation,
    ExpectationFault,
    Suite,
    check_kwargs,
    check_type,
    digest,
    make_suite,
)
from batchscore.references import resolve_file
from batchscore.results import Place, Severity

PLACES: tuple[Place, ...] = ("input", "features", "output")
KNOWN_KEYS = frozenset(
    "type expectation_type kwargs meta notes id ge_cloud_id expectation_context rendered_content description severity "
    "success_on_last_run".split()
)


def load_suites(job: Job) -> dict[Place, Suite]:
    """The suites of a job, by place; places without one are left out.

    Raises:
        ConfigError: See `load_suite`.
    """
    suites: dict[Place, Suite] = {}
    for place in PLACES:
        written = getattr(job.config.checks, place)
        if isinstance(written, str):
            suites[place] = load_suite(resolve_file(written, job.folder), place)
        elif written:
            suites[place] = _inline_suite(written, place, job)
    return suites


def load_suite(path: str, place: Place) -> Suite:
    """Read a suite file of GX 1.x; the keys of GX 0.x are understood too.

    Raises:
        ConfigError: The file cannot be read, or an expectation is unknown, not allowed or badly written. Names file
            and line.

    Source: great_expectations 1.24, core/expectation_suite.py and expectations/expectation_configuration.py.
    """
    content = read_object(path)
    name = content.get("name", content.get("expectation_suite_name", ""))
    items = content.get("expectations")
    if not isinstance(name, str) or not isinstance(items, list):
        raise ConfigError(
            f"{path}:1: expected a Great Expectations suite with the keys 'name' and 'expectations' (a list); "
            f"found the keys {sorted(content)}."
        )
    expectations = [_read_expectation(item, path, place, i) for i, item in enumerate(items)]
    try:
        return make_suite(name, path, place, expectations)
    except ExpectationFault as fault:
        raise ConfigError(f"{path}: {fault}") from fault


def _inline_suite(items: Sequence[ExpectationConfig], place: Place, job: Job) -> Suite:
    """The loader has checked each of them already."""
    expectations = []
    for position, item in enumerate(items):
        sql = item.expect_row_sql
        kind, kwargs = (ROW_SQL, {"sql": sql}) if sql is not None else (str(item.type), dict(item.kwargs))
        expectations.append(
            Expectation(
                rule=f"{place}[{position}]",
                where=f"{job.file}: checks.{place}.{position} ({item.name or kind})",
                type=kind,
                kwargs=kwargs,
                severity=item.severity,
                on_row_fail=item.on_row_fail,
                name=item.name,
                fingerprint=digest({"type": kind, "kwargs": kwargs}),
            )
        )
    return make_suite(job.config.job, job.file, place, expectations)


def _read_expectation(item: Any, path: str, place: Place, position: int) -> Expectation:
    where = f"{path}: expectation {position}"
    if not isinstance(item, LocatedObject):
        raise ConfigError(f"{where}: expected an object with 'type' and 'kwargs'; found {type(item).__name__}.")
    where = f"{path}:{item.line}: expectation {position}"
    for key in item:
        _expect_known("the keys of an expectation", key, KNOWN_KEYS, where)
    kind = item.get("type", item.get("expectation_type"))
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: expected 'type', the name of an expectation; found none.")
    where = f"{where} ({kind})"
    kwargs = _plain(item.get("kwargs") or {})
    severity: Severity = item.get("severity") or "critical"
    try:
        check_type(kind)
        if not isinstance(kwargs, dict):
            raise ConfigError(f"{where}: expected 'kwargs' to be an object; found {type(kwargs).__name__}.")
        _expect_known("a severity", severity, SEVERITIES, where)
        check_kwargs(kind, kwargs)
        fingerprint = digest({"type": kind, "kwargs": kwargs})
    except ExpectationFault as fault:
        raise ConfigError(f"{where}: {fault}{_hint(fault.found, fault.known)}") from fault
    name = item.get("description")
    return Expectation(
        rule=f"{place}[{position}]",
        where=where,
        type=kind,
        kwargs=kwargs,
        severity=severity,
        on_row_fail=_read_on_row_fail(item.get("meta"), where),
        name=name if isinstance(name, str) else "",
        fingerprint=fingerprint,
    )


def _expect_known(what: str, found: Any, known: Iterable[str], where: str) -> None:
    if found not in list(known):
        raise ConfigError(f"{where}: expected {what}; found '{found}'{_hint(found, known)}")


def _hint(found: Any, known: Iterable[str]) -> str:
    if not known:
        return ""
    close = difflib.get_close_matches(str(found), list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; choose from {', '.join(sorted(known)[:12])}."


def _read_on_row_fail(meta: Any, where: str) -> str | None:
    ours = meta.get("batchscore") if isinstance(meta, dict) else None
    if ours is None:
        return None
    if not isinstance(ours, dict):
        raise ConfigError(f"{where}: expected 'meta.batchscore' to be an object; found {type(ours).__name__}.")
    for key in ours:
        _expect_known("the keys of 'meta.batchscore'", key, ("on_row_fail",), where)
    policy = ours.get("on_row_fail")
    _expect_known("'meta.batchscore.on_row_fail'", policy, ON_ROW_FAIL, where)
    return str(policy)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
