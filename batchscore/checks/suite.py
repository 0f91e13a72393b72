"""A Great Expectations suite file, read as GX writes it, with every fault at its line."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import rfc8785

from batchscore.checks.catalogue import CORE, ON_ROW_FAIL, REFUSED, SEVERITIES
from batchscore.checks.conditions import find_condition_fault
from batchscore.checks.located_json import LocatedObject, read_object
from batchscore.errors import ConfigError
from batchscore.records import Place, Severity

EXACT_INT = 2**53  # beyond this, canonical JSON has no integers
KNOWN_KEYS = frozenset(
    "type expectation_type kwargs meta notes id ge_cloud_id expectation_context rendered_content description severity "
    "success_on_last_run".split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """One expectation of a suite.

    Attributes:
        rule: Its id within the job: place and position, such as `input[3]`.
        where: File, line and position, for messages.
        type: GX type name.
        kwargs: Its arguments, as written.
        severity: `critical`, `warning` or `info`.
        on_row_fail: As `meta.batchscore.on_row_fail` says; None where it says nothing.
        fingerprint: sha256 of the canonical type and kwargs.
    """

    rule: str
    where: str
    type: str
    kwargs: Mapping[str, Any]
    severity: Severity
    on_row_fail: str | None
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """The expectations of one place.

    Attributes:
        name: The suite's own name.
        file: As the job names it.
        place: `input`, `features` or `output`.
        expectations: In the file's order.
        sha256: Digest over what decides verdicts: types, kwargs, severities and row policies, in order.
    """

    name: str
    file: str
    place: Place
    expectations: tuple[Expectation, ...] = field(default_factory=tuple)
    sha256: str


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
    expectations = tuple(_read_expectation(item, path, place, i) for i, item in enumerate(items))
    decides = [[e.type, dict(e.kwargs), e.severity, e.on_row_fail] for e in expectations]
    return Suite(name=name, file=path, place=place, expectations=expectations, sha256=_digest(decides, path))


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
    _expect_known("an expectation of Great Expectations 1.24's core", kind, CORE, where)
    if kind in REFUSED:
        raise ConfigError(f"{where}: not allowed in a suite file, because {REFUSED[kind]}. Remove it.")
    kwargs = _plain(item.get("kwargs") or {})
    if not isinstance(kwargs, dict):
        raise ConfigError(f"{where}: expected 'kwargs' to be an object; found {type(kwargs).__name__}.")
    severity: Severity = item.get("severity") or "critical"
    _expect_known("a severity", severity, SEVERITIES, where)
    _check_mostly(kwargs.get("mostly"), where)
    _check_condition(kwargs.get("row_condition"), kwargs.get("condition_parser"), where)
    return Expectation(
        rule=f"{place}[{position}]",
        where=where,
        type=kind,
        kwargs=kwargs,
        severity=severity,
        on_row_fail=_read_on_row_fail(item.get("meta"), where),
        fingerprint=_digest({"type": kind, "kwargs": kwargs}, where),
    )


def _expect_known(what: str, found: Any, known: Iterable[str], where: str) -> None:
    if found in list(known):
        return
    close = difflib.get_close_matches(str(found), list(known), n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(sorted(known)[:12])}."
    raise ConfigError(f"{where}: expected {what}; found '{found}'; {hint}")


def _check_mostly(mostly: Any, where: str) -> None:
    if mostly is None or isinstance(mostly, dict):  # a dict is a suite parameter, which GX resolves
        return
    if isinstance(mostly, bool) or not isinstance(mostly, (int, float)) or not 0 <= mostly <= 1:
        raise ConfigError(f"{where}: expected 'mostly' to be a number from 0 to 1; found {mostly!r}.")


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


def _check_condition(condition: Any, parser: Any, where: str) -> None:
    """Refuse SQL that could run code, at any depth of a condition written as objects."""
    if isinstance(condition, str) and parser not in ("great_expectations", "great_expectations__experimental__"):
        fault = find_condition_fault(condition)
        if fault:
            raise ConfigError(
                f"{where}: expected 'row_condition' to compare columns with values by plain functions; it {fault}."
            )
    elif isinstance(condition, dict):
        for value in condition.values():
            _check_condition(value, None, where) if isinstance(value, (dict, list)) else None
        _check_condition(condition.get("pass_through_filter"), None, where)
    elif isinstance(condition, list):
        for value in condition:
            _check_condition(value, None, where) if isinstance(value, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _digest(value: Any, where: str) -> str:
    """sha256 of the canonical JSON (RFC 8785); integers beyond its range stand as tagged text."""
    try:
        return hashlib.sha256(rfc8785.dumps(_exact(value))).hexdigest()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise ConfigError(f"{where}: expected text and numbers that canonical JSON can hold; {error}.") from error


def _exact(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= EXACT_INT:
        return {"$int": str(value)}
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    return [_exact(inner) for inner in value] if isinstance(value, (list, tuple)) else value
