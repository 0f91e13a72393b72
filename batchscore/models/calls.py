"""Calls into MLflow that end: few retries, a deadline, no chatter, and one sentence for whatever goes wrong."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import requests
import tenacity

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read by mlflow when it is imported

from mlflow.exceptions import MlflowException, RestException
from mlflow.utils.logging_utils import MLFLOW_LOGGING_STREAM

from batchscore.errors import BatchscoreError, RegistryError
from batchscore.models.deadline import Deadline
from batchscore.redaction import redact

T = TypeVar("T")

_STATUS = re.compile(r"too many (\d{3}) error responses|error code (\d{3}) !=")
_UNREACHABLE = re.compile(r"API request to .* failed with (timeout )?exception", re.DOTALL)
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
_ATTEMPTS = 3
_REASON_CHARACTERS = 200


def ask(action: Callable[[], T], registry: str, deadline: Deadline, received: Callable[[], int] | None = None) -> T:
    """What `action` returns, after a few attempts where the fault may pass, within the deadline.

    Args:
        action: A read from the registry or its artifact store; it may run several times.
        registry: URI of what is asked, for messages.
        deadline: The time that is left.
        received: Bytes that have arrived; see `Deadline.call`.

    Raises:
        RegistryError: No usable answer.
        BatchscoreError: Whatever `action` raised of our own.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_when_event_set(deadline.over),
        wait=tenacity.wait_exponential(multiplier=0.25, max=1.0),
        reraise=True,
    )
    try:
        return deadline.call(lambda: retrying(action), received)
    except BatchscoreError:
        raise
    except Exception as error:
        raise _explain(error, registry) from error


def is_absent(error: BaseException) -> bool:
    """Whether the answer was that there is no such thing, rather than a failure to answer."""
    if isinstance(error, requests.HTTPError):
        return _status(error) == 404
    return isinstance(error, MlflowException) and error.error_code in _ABSENT


@contextmanager
def mlflow_settings(timeout_s: float) -> Iterator[None]:
    """While it lasts, MLflow neither retries for minutes nor writes to stderr; its settings are put back after."""
    wanted = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # `ask` retries
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, math.ceil(timeout_s))),
        "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    }
    before = {name: os.environ.get(name) for name in wanted}
    chatty, alembic = MLFLOW_LOGGING_STREAM.enabled, logging.getLogger("alembic")
    level = alembic.level
    os.environ.update(wanted)
    MLFLOW_LOGGING_STREAM.enabled = False  # its error logs show database URIs with passwords
    alembic.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        MLFLOW_LOGGING_STREAM.enabled = chatty
        alembic.setLevel(level)


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error; None where there was none, or MLflow lost it."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return int(error.response.status_code)
    if found := _STATUS.search(str(error)):
        return int(found[1] or found[2])
    if isinstance(error, MlflowException) and not _UNREACHABLE.match(str(error)) and not _is_foreign(error):
        return int(error.get_http_status_code())
    return None


def _is_foreign(error: BaseException) -> bool:
    """Whether something answered that does not speak as an MLflow server: a proxy, a login page."""
    if isinstance(error, RestException):
        return "error_code" not in error.json
    return isinstance(error, MlflowException) and "not in a valid JSON format" in str(error)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, BatchscoreError) or _is_foreign(error):
        return False
    status = _status(error)
    if status is None:
        return isinstance(error, MlflowException | requests.RequestException) and "timed out" not in str(error)
    return status in _TRANSIENT


def _explain(error: Exception, registry: str) -> BatchscoreError:
    where, status, reason = f"registry {redact(registry)}", _status(error), _reason(error)
    if status == 401:
        found = (
            "refuses the credentials (401). Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN."
        )
    elif status == 403:
        found = "does not let these credentials read the model (403). Ask its owner for the right to."
    elif _is_foreign(error) or (status == 404 and not isinstance(error, RestException)):
        found = f"answers, but not as an MLflow server does: {reason}. Check registry.uri, and the proxies before it."
    elif status is not None:
        found = f"answers with an error ({status}): {reason}. Look at the server's log."
    elif isinstance(error, MlflowException | OSError):  # a deadline, and all that requests raises, are OSErrors
        found = f"cannot be reached: {reason}. Check registry.uri, the network, and that the server runs."
    else:
        found = f"gives an answer that cannot be used ({type(error).__name__}: {reason}). Check registry.uri."
    return RegistryError(f"{where}: {found}")


def _reason(error: BaseException) -> str:
    """The root of a chain of errors: the layers above it only repeat it, with addresses."""
    root: BaseException = error
    while (below := root.__cause__ or root.__context__) is not None:
        root = below
    text = redact(" ".join(str(root).split()))[:_REASON_CHARACTERS]
    return text.partition(">: ")[2] or text or type(root).__name__  # urllib3 begins with an object's address
