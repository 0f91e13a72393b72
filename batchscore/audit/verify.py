"""Verification: whether an audit chain is whole, and whether the scores log says the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchscore.audit.chain import COLUMNS, GENESIS, canonical, digest
from batchscore.audit.fold import Head

_CORE = (
    "kind",
    "job",
    "interval",
    "run_id",
    "generation",
    "run_key",
    "content_key",
    "of",
    "config_sha256",
    "started_at",
)
_PUBLISHED = ("run", "force", "rollback", "override", "redrive")
_PLAIN = ("kind", "job", "interval", "run_id", "generation", "run_key", "status")


@dataclass(frozen=True, slots=True)
class Core:
    """What a scores commit says of its run.

    Attributes:
        version: Version of the scores table that it made.
        content: The core of the run's record, with `chain`, the audit's end when it was planned.
    """

    version: int
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChainFault:
    """Something in the audit that cannot have come about by itself.

    Attributes:
        seq: The row that it shows at; one above the last for rows that are gone from the end.
        what: What is wrong.
    """

    seq: int
    what: str


def find_faults(rows: Iterable[Mapping[str, Any]], head: Head, cores: Sequence[Core]) -> Iterator[ChainFault]:
    """Faults of a chain, in its order; none where every row is as it was written.

    Found are rows that were changed, removed, added, doubled or moved: by the rows' own digests, by the end of the
    chain that the audit's newest commit names, and by what the scores log, another store, quotes: the end of the chain
    as each run saw it, and the core of each run's record.

    Args:
        rows: The audit table's rows by rising `seq`, all of `COLUMNS`.
        head: The end of the chain, as the audit table's log has it.
        cores: What the scores log says of each published run, oldest first.
    """
    quoted: dict[int, list[Core]] = {}
    for core in cores:
        chain = core.content.get("chain")
        if isinstance(chain, Mapping) and chain.get("seq"):
            quoted.setdefault(int(chain["seq"]), []).append(core)
    wanted = {str(core.content["run_id"]): core for core in cores if core.version <= head.scores_version}
    seq, previous = 0, GENESIS
    for row in rows:
        seq += 1
        yield from (ChainFault(seq, what) for what in _find_row_faults(row, seq, previous))
        previous = str(row["sha256"])
        for quote in quoted.pop(seq, ()):
            if quote.content["chain"].get("sha256") != previous:
                told = (
                    f"scores version {quote.version} (run {quote.content['run_id']}) quotes another digest of this row"
                )
                yield ChainFault(seq, told)
        if seq == head.seq and previous != head.sha256:
            yield ChainFault(seq, "the audit table's log names another digest as the end of the chain")
        if seq > head.seq:
            yield ChainFault(seq, f"the chain ends with row {head.seq} by the audit table's log; this row was added")
        published = wanted.pop(str(row["run_id"]), None) if row["kind"] in _PUBLISHED else None
        if published is not None:
            yield from (ChainFault(seq, what) for what in _find_differences(row, published))
    if seq < head.seq:
        yield ChainFault(seq + 1, f"the chain goes on to row {head.seq} by the audit table's log; rows are gone")
    for place, several in sorted(quoted.items()):
        yield ChainFault(place, f"scores version {several[0].version} quotes this row; it is gone")
    for run_id, core in wanted.items():
        yield ChainFault(seq, f"scores version {core.version} was published by run {run_id}; its record is gone")


def _find_row_faults(row: Mapping[str, Any], seq: int, previous: str) -> Iterator[str]:
    if row["seq"] != seq:
        yield f"expected sequence number {seq}; found {row['seq']}: a row was removed, doubled, or moved"
    if row["prev_sha256"] != previous:
        yield "it does not follow on the row before: that was changed, removed, or moved"
    try:
        sealed = digest(row)
    except (TypeError, ValueError):
        sealed = ""
    if row["sha256"] != sealed:
        yield "its digest is not that of its content: the row was changed"
        return
    yield from _find_text_faults(row)


def _find_text_faults(row: Mapping[str, Any]) -> Iterator[str]:
    """A row whose digest was made anew must still be one that batchscore writes."""
    try:
        record = json.loads(row["record"])
        same = canonical(record) == row["record"]
    except (TypeError, ValueError):
        yield "its record is no canonical JSON"
        return
    if not same:
        yield "its record is no canonical JSON"
    for name in _PLAIN:
        if record.get(name) != row[name]:
            yield f"its column {name} is not what its record says"


def _find_differences(row: Mapping[str, Any], core: Core) -> Iterator[str]:
    """Where a run's record says another thing than the commit that published it."""
    try:
        record = json.loads(row["record"])
    except ValueError:
        return
    different = [name for name in _CORE if record.get(name) != core.content.get(name)]
    if dict(record.get("counts") or {}) != dict(core.content.get("counts") or {}):
        different.append("counts")
    mine, theirs = (_digests(side.get("model")) for side in (record, core.content))
    if mine != theirs:
        different.append("model")
    if different:
        names = ", ".join(different)
        yield f"run {record.get('run_id')}: scores version {core.version} says another thing of its {names}"


def _digests(model: Any) -> list[str]:
    """Digests of the models in a lineup's summary, in any form of it."""
    if isinstance(model, Mapping):
        own = [str(model["sha256"])] if "sha256" in model else []
        return own + [found for key in sorted(model) for found in _digests(model[key])]
    if isinstance(model, (list, tuple)):
        return [found for one in model for found in _digests(one)]
    return []


def plain_row(row: Any) -> dict[str, Any]:
    """A row of the audit table with the columns that the chain is made of."""
    return {name: row[name] for name, _ in COLUMNS}
