"""What a plain YAML scalar means: YAML 1.2's core schema, held to what JSON can carry exactly."""

from __future__ import annotations

import math
import re

MAX_WHOLE = 2**53 - 1  # beyond it JSON numbers are not exact (RFC 8259, section 6)

# YAML 1.2.2, section 10.3.2
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

Scalar = bool | int | float | str | None


def resolve_scalar(text: str) -> tuple[Scalar, str]:
    """The value of a plain scalar, and what is wrong with it if JSON cannot carry it; then the value is 0.

    So `no`, `12:30` and `2013-10-01` are text, `010` is ten, `1e3` is a number.
    """
    if _NULL.fullmatch(text):
        return None, ""
    if _BOOL.fullmatch(text):
        return text.lower() == "true", ""
    if _INT.fullmatch(text):
        return _whole(text)
    if _FLOAT.fullmatch(text):
        real = float(text)
        return (real, "") if math.isfinite(real) else (0, "expected a number that a 64-bit float can hold")
    if _NO_NUMBER.fullmatch(text):
        return 0, "expected a finite number. Put it in quotes if text is meant"
    return text, ""


def _whole(text: str) -> tuple[Scalar, str]:
    sign, digits = ("-" if text[0] == "-" else ""), text.lstrip("+-")
    base = {"0o": 8, "0x": 16}.get(digits[:2], 10)
    digits = digits[2:] if base != 10 else digits
    digits = digits.lstrip("0") or "0"
    number = int(sign + digits, base) if len(digits) < 30 else MAX_WHOLE + 1  # int() refuses thousands of digits
    if abs(number) > MAX_WHOLE:
        return 0, f"expected a whole number within ±{MAX_WHOLE}, which JSON holds exactly"
    return number, ""
