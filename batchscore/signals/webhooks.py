"""Webhooks: people are told that a run failed, is held, or has drifted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import requests
import tenacity

from batchscore.config import WebhookConfig
from batchscore.redaction import redact

ATTEMPTS = 4
_LONGEST = 2_000  # characters of a text
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class _PassingError(Exception):
    """An answer, or its absence, that another attempt may change."""


def find_occasions(record: Mapping[str, Any]) -> list[str]:
    """What a run is an occasion of: `failed`, `held`, `drift`, `published`."""
    status = record["status"]
    drift = any(gate["gate"] == "drift" and gate["verdict"] == "fail" for gate in record.get("gates") or ())
    found = {"failed": status in ("failed", "cancelled"), "held": status == "held", "drift": drift}
    return [name for name, holds in {**found, "published": status == "published"}.items() if holds]


def call_webhook(config: WebhookConfig, url: str, record: Mapping[str, Any], timeout_s: float) -> bool:
    """Tell one address of a run, if it asked for such.

    Args:
        config: What it wants to be told, and in which form.
        url: Its address, references expanded.
        record: The run's record.
        timeout_s: Seconds that all attempts may take together.

    Returns:
        Whether it was told.

    Raises:
        OSError: It could not be told in that time.
    """
    occasions = [name for name in find_occasions(record) if name in config.on]
    if not occasions:
        return False
    message = make_message(record, occasions[0])
    body = {"text": slack_text(message)} if config.form == "slack" else message
    ends = time.monotonic() + timeout_s
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_PassingError),
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(timeout_s),
        wait=tenacity.wait_exponential(multiplier=0.25, max=5.0),
        reraise=True,
    )
    try:
        retrying(_post, url, body, ends)
    except _PassingError as error:
        raise OSError(str(error)) from error
    return True


def make_message(record: Mapping[str, Any], event: str) -> dict[str, Any]:
    """The message in its plain form: figures and verdicts, no cell values."""
    drifted = [one["column"] for one in (record.get("distributions") or {}).get("columns") or () if one.get("over")]
    return {
        "event": event,
        "job": record["job"],
        "interval": record.get("interval"),
        "interval_label": record.get("interval_label"),
        "run_id": record.get("run_id"),
        "status": record["status"],
        "reason": _shorten(record.get("reason")),
        "error_type": record.get("error_type"),
        "error": _shorten(record.get("error")),
        "counts": dict(record.get("counts") or {}),
        "gates": [
            {"gate": gate["gate"], "verdict": gate["verdict"], "found": _shorten(gate["found"])}
            for gate in record.get("gates") or ()
            if gate["verdict"] == "fail"
        ],
        "drifted": drifted,
        "host": record.get("host"),
        "ended_at": record.get("ended_at"),
    }


def slack_text(message: Mapping[str, Any]) -> str:
    """The message as one text in Slack's mark-up."""
    counts = ", ".join(f"{count:,} {name}" for name, count in message["counts"].items())
    lines = [f"*batchscore {message['job']} · {message['interval_label']}*: {message['event']}"]
    lines += [f"{gate['gate']}: {gate['found']}" for gate in message["gates"]]
    if not message["gates"]:
        lines += [text for text in (message["reason"], message["error"]) if text]
    lines += [f"rows: {counts}"] if counts else []
    lines.append(f"run `{message['run_id']}` on {message['host']}")
    return "\n".join(_escape(line) for line in lines)


def _escape(text: str) -> str:
    """Slack's three reserved characters. Source: Slack's documentation, "Formatting text for app surfaces"."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shorten(text: str | None) -> str | None:
    return None if text is None else redact(text)[:_LONGEST]


def _post(url: str, body: Mapping[str, Any], ends: float) -> None:
    left = ends - time.monotonic()
    if left <= 0:
        raise _PassingError("no answer in time")
    try:
        answer = requests.post(url, json=body, timeout=left, allow_redirects=False, stream=True)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _PassingError(f"no answer ({type(error).__name__})") from error
    except requests.RequestException as error:
        raise OSError(f"{type(error).__name__}") from error
    answer.close()  # nobody reads what it says
    if answer.status_code in _TRANSIENT:
        raise _PassingError(f"HTTP {answer.status_code}")
    if not 200 <= answer.status_code < 300:  # a redirect is not followed: it may lead anywhere
        raise OSError(f"HTTP {answer.status_code}")
