"""Secrets leave no trace: every text that is logged, raised or stored passes through `redact`."""

from __future__ import annotations

import json
import logging
import re
import traceback
from urllib.parse import quote

MASK = "***"
SHORTEST_SECRET = 4  # shorter values would blank out ordinary words

_secrets: set[str] = set()

# a key whose last words name a secret, also `fs.azure.account.key.HOST`
_KEY = (
    r"(?:password|passwd|secret|token|api[_-]?key|(?:access|account|secret|private)[._-]?key(?:[._-]?id)?"
    r"|(?<![A-Za-z])(?:sig|pwd))(?:\.[\w.-]+)?"
)
_KEY_VALUE = re.compile(
    rf"({_KEY})([\"']?)(\s*(?:=|:(?=\s|[\"']))\s*)(?!\$\{{|\.\.\.)(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"'{{}}\[\]]+)",
    re.IGNORECASE,
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ in a URI; the user stays, the password goes (RFC 3986, 3.2.1)
    (re.compile(r"(?<=://)([^\s/:@'\"]*):(?!\$\{)[^\s/@'\"]+@"), rf"\1:{MASK}@"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    # AWS access key ids stand out by their form (AWS IAM user guide, "Understanding unique ID prefixes")
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
)


def register_secret(value: str) -> None:
    """Remember a value that must never be shown, with the forms it takes in URIs, in JSON and line by line."""
    for part in {value, value.strip(), *value.splitlines()}:
        for form in (part, quote(part, safe=""), json.dumps(part)[1:-1]):
            if len(form) >= SHORTEST_SECRET:
                _secrets.add(form)


def redact(text: str) -> str:
    """The text with every registered secret, and everything that looks like one, replaced by `***`.

    Args:
        text: Any text on its way to a log, an error message, a report or the audit.
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return _KEY_VALUE.sub(_mask_value, text)


def _mask_value(found: re.Match[str]) -> str:
    key, closing, equals, value = found.groups()
    quotes = value[0] if value[0] in "\"'" else closing  # JSON and YAML stay well formed
    return f"{key}{closing}{equals}{quotes}{MASK}{quotes}"


class RedactingFilter(logging.Filter):
    """Redacts a log record's message, arguments, exception and stack before any handler formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place; always lets it pass."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # a wrong format string must not send the arguments unredacted to logging's own error report
            message = f"{record.msg} {record.args}"
        record.msg, record.args = redact(message), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True
