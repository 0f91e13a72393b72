"""The audit's hash chain: canonical JSON records, each sealed with the digest of the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

GENESIS = "0" * 64
COLUMNS = (
    ("seq", "bigint"),
    ("kind", "string"),
    ("job", "string"),
    ("interval", "string"),
    ("run_id", "string"),
    ("generation", "bigint"),
    ("run_key", "string"),
    ("status", "string"),
    ("record", "string"),
    ("prev_sha256", "string"),
    ("sha256", "string"),
)
SCHEMA_DDL = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)


def canonical(record: Mapping[str, Any]) -> str:
    """A record as canonical JSON. Source: RFC 8785, https://www.rfc-editor.org/rfc/rfc8785."""
    return rfc8785.dumps(dict(record)).decode()


def seal(record: Mapping[str, Any], seq: int, prev_sha256: str) -> dict[str, Any]:
    """The audit row of a record: its text, its place in the chain, and a digest over both.

    Args:
        record: The record; its own keys fill the row's plain columns.
        seq: One above the row before.
        prev_sha256: Digest of the row before; 64 zeros for the first.

    Returns:
        One value for each of `COLUMNS`.
    """
    row: dict[str, Any] = {
        "seq": seq,
        "kind": record["kind"],
        "job": record.get("job"),
        "interval": record.get("interval"),
        "run_id": record.get("run_id"),
        "generation": record.get("generation"),
        "run_key": record.get("run_key"),
        "status": record.get("status"),
        "record": canonical(record),
        "prev_sha256": prev_sha256,
    }
    row["sha256"] = digest(row)
    return row


def digest(row: Mapping[str, Any]) -> str:
    """sha256 over every column of an audit row but the digest itself."""
    sealed = {name: row[name] for name, _ in COLUMNS if name != "sha256"}
    return hashlib.sha256(rfc8785.dumps(sealed)).hexdigest()
