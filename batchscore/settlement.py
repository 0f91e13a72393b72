"""Settlement: how an attempt ends, published and audited, held, or failed with a record of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from batchscore.attempts import RunAttempt, core_of
from batchscore.audit.chain import canonical
from batchscore.errors import ConfigError, RunSuperseded
from batchscore.failures import retell
from batchscore.hooks import reached
from batchscore.interrupts import shielded, stop_requested
from batchscore.outputs import Outputs
from batchscore.publish.protocol import METADATA_KEY, Attempt, Published, publish
from batchscore.records import RunRecord, to_dict
from batchscore.signalling import tell_of
from batchscore.tables.adoption import OwnFiles
from batchscore.tables.stage import Stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(slots=True)
class Settlement:
    """One attempt on its way to its end.

    Attributes:
        target: The job's outputs.
        attempt: The attempt.
        planned_version: Version of the scores table before the plan looked at what is published.
        stage_run: The run whose stage holds the rows, claimed until the end; None before there is one.
        stage: That stage, once it is whole.
        material: What decides its values, for `resume`.
        claims: What is released at the end.
    """

    target: Outputs
    attempt: RunAttempt
    planned_version: int = -1
    stage_run: str | None = None
    stage: Stage | None = None
    material: Mapping[str, Any] = field(default_factory=dict)
    claims: ExitStack = field(default_factory=ExitStack)

    def claim(self, run_id: str) -> None:
        """Claim the stage of a run until the end."""
        self.claims.enter_context(self.target.stages.claim(run_id))
        self.stage_run = run_id
        reached("stage.claimed")

    def note(self, state: str, record: Mapping[str, Any] | None = None) -> None:
        """Leave beside the stage what is known, for one that finds it: `started`, `staged`, `held`, `failed`."""
        if self.stage_run is not None:
            stage = None if self.stage is None else self.stage.to_dict()
            known = record or to_dict(self.attempt.record)
            note = {"state": state, "record": known, "stage": stage, "material": dict(self.material)}
            self.target.stages.write_note(self.stage_run, note)

    def publish(self, scored: DataFrame | OwnFiles, quarantined: DataFrame | None) -> RunRecord:
        """Publish rows under this attempt's record, and audit it; from here on a stop comes too late."""
        with shielded():
            with self.attempt.step("publish"):
                published = self._commit(scored, quarantined)
            record = self._audit(published)
            tell_of(self.target, record, self.attempt.progress)
        return record

    def hold(self, reason: str) -> RunRecord:
        """Leave the scores as they are, keep the stage, and record that a gate holds the run."""
        self.attempt.learn(kind="held", reason=reason)
        record = self.attempt.ended("held")
        with shielded(), self.attempt.step("audit"):
            self.note("held", to_dict(record))
            self.target.ledger.repair(events=[to_dict(record)])
        with shielded():
            tell_of(self.target, record, self.attempt.progress)
        return record

    def drop_stage(self) -> None:
        """Remove the stage of a run that is published; one that stays is the next repair's."""
        if self.stage_run is not None:
            with suppress(Exception):
                self.target.stages.remove(self.stage_run)
                reached("stage.removed")

    def fail(self, error: BaseException) -> None:
        """Leave a record of a failed or cancelled attempt; a store that cannot take it must not hide the first error.

        A run that was stopped behind its commit is published, and the fold records it as such.
        """
        cancelled = isinstance(error, (KeyboardInterrupt, SystemExit))
        told = "cancelled" if cancelled else str(error)
        self.attempt.learn(kind="failed", error=told, error_type=type(error).__name__)
        record = self.attempt.ended("cancelled" if cancelled else "failed")
        event = to_dict(record)
        try:
            ledger = self.target.ledger
            published = ledger.is_published(self.attempt.run_id)
            ledger.fold(events=[] if published else [event])
            if self.stage_run == self.attempt.run_id:
                overtaken = isinstance(error, RunSuperseded)  # its rows will never be published
                if self.stage is not None and not published and not overtaken:
                    self.note("failed", event)
                else:
                    self.target.stages.remove(self.attempt.run_id)
        except Exception as second:
            self.attempt.progress(f"warning: the audit could not take the record of this failure: {retell(second)}")
        else:
            if not published:
                tell_of(self.target, record, self.attempt.progress)

    def _commit(self, scored: DataFrame | OwnFiles, quarantined: DataFrame | None) -> Published:
        target, attempt = self.target, self.attempt
        record = attempt.ended("published")
        detail = canonical(to_dict(record)).encode()
        digest = sha256(detail).hexdigest()
        target.write_detail(digest, detail)
        reached("publish.detailed")
        wish = Attempt(
            job=record.job,
            interval=record.interval,
            run_id=record.run_id,
            run_key=record.run_key,
            generation=record.generation,
            planned_version=self.planned_version,
            metadata=canonical({METADATA_KEY: core_of(record, digest, target.ledger.chain_head())}),
        )
        return publish(target.scores, target.quarantine, wish, scored, quarantined, attempt.progress)

    def _audit(self, published: Published) -> RunRecord:
        attempt = self.attempt
        commits = {"scores": published.scores_version}
        if published.quarantine_version is not None:
            commits["quarantine"] = published.quarantine_version
        attempt.learn(commits={**attempt.record.commits, **commits})
        with attempt.step("audit"):
            additions = {"commits": commits, "timings_s": {"publish": attempt.timings_s["publish"]}}
            try:
                self.target.ledger.repair(additions={attempt.run_id: additions})
            except Exception as error:  # the scores are published; the next run, or `runs`, writes what is missing
                attempt.progress(
                    f"warning: the scores are published; their audit record is not written yet: {retell(error)}"
                )
        self.drop_stage()
        return attempt.ended(published.outcome)


@contextmanager
def settle(target: Outputs, attempt: RunAttempt) -> Iterator[Settlement]:
    """An attempt that ends published, held or unchanged, or else leaves a record of its failure.

    Anything but an error or a stop, such as a crash that a test raises, passes untouched: a crash cleans up nothing.

    Raises:
        BatchscoreError: What ended it, in our words.
    """
    settlement = Settlement(target, attempt)
    group = f"batchscore {attempt.record.job} {attempt.record.interval_label}"
    target.spark.sparkContext.setJobGroup(attempt.run_id, group)
    reached("run.begun")
    with settlement.claims:
        try:
            yield settlement
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            told = stop_requested() or (error if isinstance(error, (KeyboardInterrupt, SystemExit)) else retell(error))
            if not isinstance(told, ConfigError):
                settlement.fail(told)
            if told is error:
                raise
            raise told from error
    reached("run.ended")
