"""Freshness: the run key that each interval would have now, from metadata alone and without preparing a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from batchscore.assembly import choose_features
from batchscore.checks.suite import load_suites
from batchscore.config import Job
from batchscore.features.definitions import define_features, read_sources
from batchscore.intervals import Interval
from batchscore.keys import digest_key, key_material
from batchscore.ledger import Account
from batchscore.lineups import Lineup, core_of_lineup
from batchscore.pinning import ModelBytes, narrow_lookups, pin_inputs, pin_job_models, pin_whole_lookups

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class ModelChoice:
    """Which model each interval is scored with; every version is fetched and proved once.

    Args:
        job: The job.
        as_of: Whether an interval takes the version that the job's audit shows for it, and not today's.
    """

    def __init__(self, job: Job, *, as_of: bool = False) -> None:
        self._job = job
        self._as_of = as_of
        self.today = lru_cache(maxsize=1)(lambda: pin_job_models(job))
        self._version = lru_cache(maxsize=8)(self._pin)

    def model_of(self, interval: Interval, accounts: Mapping[str, Account]) -> ModelBytes | None:
        """The model of one interval: a rollback's pin, else as chosen; None where the audit shows none for it."""
        account = accounts.get(interval.name, Account())
        shown = account.pinned or (find_model_as_of(interval, accounts) if self._as_of else None)
        if shown is not None:
            found: ModelBytes = self._version(json.dumps(core_of_lineup(shown), sort_keys=True))
            return found
        return None if self._as_of else self.today()

    def _pin(self, shown: str) -> ModelBytes:
        return pin_job_models(self._job, json.loads(shown))


def find_model_as_of(interval: Interval, accounts: Mapping[str, Account]) -> Mapping[str, Any] | None:
    """The model that scored an interval, or else the last interval before it that is published."""
    names = sorted(name for name, account in accounts.items() if account.current is not None and name <= interval.name)
    if not names:
        return None
    current = accounts[names[-1]].current
    model: Mapping[str, Any] | None = current["model"] if current is not None else None
    return model


def current_keys(
    spark: SparkSession, job: Job, intervals: Sequence[Interval], models: Mapping[str, Lineup]
) -> dict[str, str]:
    """The run key that each interval would have if it ran now.

    Args:
        spark: The session.
        job: The job.
        intervals: The intervals.
        models: The models of each, by the interval's name.

    Returns:
        Interval name to run key.
    """
    if not intervals:
        return {}
    config = job.config
    lookups = pin_whole_lookups(spark, job)
    inputs = pin_inputs(spark, job, intervals)
    sources = read_sources(job)
    suites = {place: suite.sha256 for place, suite in load_suites(job).items()}
    found = {}
    for interval in intervals:
        source = inputs[interval.name]
        known = narrow_lookups(spark, job, lookups, source)
        lineup = models[interval.name]
        keyed = define_features(job, sources, choose_features(config, lineup)).keyed
        material = key_material(config, interval, source, known, lineup, suites, keyed)
        found[interval.name] = digest_key(material)
    return found
