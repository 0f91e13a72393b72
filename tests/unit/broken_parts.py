"""Stores and ledgers that are broken on purpose, each in one way, to show that the simulation would see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from fake_rows import load_rows
from fake_stages import FakeStages
from fake_table import FakeTable

from batchscore.ledger import PUBLISHING, Account, Ledger
from batchscore.ports import Commit


class Unlocked(FakeTable):
    """A local disk without a file lock."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield


class WithoutTransactions(FakeTable):
    """Writes carry no transaction id."""

    def _is_skipped(self, app_id: str, txn_version: int) -> bool:
        return False

    def _refuse_conflict(self, others: Sequence[Any], interval: str | None, app_id: str) -> None:
        super()._refuse_conflict(others, interval, "none")


class KeyedBySequence(FakeTable):
    """The chain's transaction version is the sequence number of its last row, and not the table's version."""

    def append(self, rows: Any, *, app_id: str, txn_version: int, metadata: str | None = None) -> None:
        super().append(rows, app_id=app_id, txn_version=load_rows(rows)[-1]["seq"], metadata=metadata)


class KeyedByVersion(FakeTable):
    """The chain's transaction version is the table's next version, which others raise as well."""

    def append(self, rows: Any, *, app_id: str, txn_version: int, metadata: str | None = None) -> None:
        super().append(rows, app_id=app_id, txn_version=len(self.log), metadata=metadata)


class TrustingExceptions(FakeTable):
    """Who was told of a failure sees the log as it was before it: its exception is believed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.blind: dict[Any, int] = {}

    def replace(self, rows: Any, **options: Any) -> None:
        before = len(self.log)
        try:
            super().replace(rows, **options)
        except Exception:
            self.blind[self._world.driver] = before  # type: ignore[attr-defined]
            raise

    def commits(self, after: int) -> list[Commit]:
        found = super().commits(after)
        limit = self.blind.get(self._world.driver, 1 << 30)  # type: ignore[attr-defined]
        return [commit for commit in found if commit.version < limit]


class TrustingSuccess(FakeTable):
    """Who was told of a success finds its commit in the log, whatever the log says."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: dict[Any, str] = {}

    def replace(self, rows: Any, **options: Any) -> None:
        super().replace(rows, **options)
        self.told[self._world.driver] = options["metadata"]  # type: ignore[attr-defined]

    def commits(self, after: int) -> list[Commit]:
        found = super().commits(after)
        told = self.told.pop(self._world.driver, None)  # type: ignore[attr-defined]
        return found if told is None else [*found, Commit(len(self.log), "WRITE", told, 0)]


class LateQuarantine(FakeTable):
    """Rows are said to be there, and land when the table is next looked at: most often after the scores."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.late: list[tuple[Any, dict[str, Any]]] = []

    def append(self, rows: Any, **options: Any) -> None:
        self.late.append((load_rows(rows), options))

    def txn_version(self, app_id: str) -> int:
        return 1

    def exists(self) -> bool:
        while self.late:
            rows, options = self.late.pop()
            super().append(rows, **options)
        return super().exists()

    def commits(self, after: int) -> list[Commit]:
        metadata = self.late[-1][1]["metadata"] if self.late else None
        return [*super().commits(after), Commit(len(self.log), "WRITE", metadata, 0)]


class ForgettingAudit(FakeTable):
    """Whoever adds an event that anybody may see does not look whether it is there."""

    def scan(self, columns: Sequence[str], where: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        return [] if "kind" in where else super().scan(columns, where)


class Unclaimed(FakeStages):
    """Claims that nobody sees."""

    @contextmanager
    def claim(self, run_id: str) -> Iterator[None]:
        yield

    def is_claimed(self, run_id: str) -> bool:
        return False


class OldNotes(FakeStages):
    """Notes that are replaced in place, so that one which dies while it writes leaves none."""

    def _notes(self, run_id: str) -> dict[int, dict[str, Any] | None]:
        notes = super()._notes(run_id)
        return {number: note for number, note in notes.items() if number == max(notes)}


class AccountFirst(Ledger):
    """The account is read before the generation, so a commit between the two makes it stale."""

    def generation(self, interval: str) -> int:
        account = super().account(interval)
        _STALE[id(self)] = account
        return super().generation(interval)

    def account(self, interval: str) -> Account:
        return _STALE.pop(id(self), None) or super().account(interval)


_STALE: dict[int, Account] = {}


class NewestKeyOnly(Ledger):
    """Only the newest run's key counts as published."""

    def account(self, interval: str) -> Account:
        found = super().account(interval)
        return replace(found, runs=found.runs[-1:])


class OvertakenHolds(Ledger):
    """A hold that was told after a newer run still stands."""

    def account(self, interval: str) -> Account:
        found = super().account(interval)
        last = next(
            (r for r in reversed(self.history(interval)) if r["kind"] in ("held", "discard", *PUBLISHING)), None
        )
        return replace(found, held=last) if last is not None and last["kind"] == "held" else found


class UnclaimedRepair(Ledger):
    """Repair settles stages that somebody may have taken up since it looked."""

    def _claim_dead(self, run_id: str, claims: ExitStack) -> list[Mapping[str, Any] | None]:
        return [] if self.stages.is_claimed(run_id) else self._find_dead(run_id)


def instead_of(place: str, broken: type[FakeTable], *, atomic: bool | None = None) -> Callable[..., FakeTable]:
    """A maker of tables of which one, or with `*` each, is broken."""

    def make(name: str, world: Any, **options: Any) -> FakeTable:
        if atomic is not None:
            options["atomic"] = atomic
        return (broken if place in (name, "*") else FakeTable)(name, world, **options)

    return make


BROKEN: dict[str, dict[str, Any]] = {
    "no lock on a local disk": {"table": instead_of("*", Unlocked, atomic=False)},
    "scores without transaction ids": {"table": instead_of("scores", WithoutTransactions)},
    "quarantine without transaction ids": {"table": instead_of("quarantine", WithoutTransactions)},
    "audit without compare-and-set": {"table": instead_of("audit", WithoutTransactions)},
    "audit keyed by its own sequence": {"table": instead_of("audit", KeyedBySequence)},
    "audit keyed by its own version": {"table": instead_of("audit", KeyedByVersion)},
    "exceptions believed": {"table": instead_of("scores", TrustingExceptions)},
    "successes believed": {"table": instead_of("scores", TrustingSuccess)},
    "quarantine after scores": {"table": instead_of("quarantine", LateQuarantine)},
    "events added unseen": {"table": instead_of("audit", ForgettingAudit)},
    "claims that nobody sees": {"stages": Unclaimed},
    "notes written in place": {"stages": OldNotes},
    "account read before generation": {"ledger": AccountFirst},
    "only the newest key counts": {"ledger": NewestKeyOnly},
    "holds outlast newer runs": {"ledger": OvertakenHolds},
    "repair without claims": {"ledger": UnclaimedRepair},
}
