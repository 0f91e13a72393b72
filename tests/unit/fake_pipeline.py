"""Everything that a run asks of Spark and the registry, on lists: the pipeline's own code then runs without them.

What is replaced: opening the outputs, pinning and scoring, and the stage's rows. What runs as it is: `run_interval`,
`resume_run`, `override_held`, `rollback_interval`, the decisions, settlement, the ledger, the protocol, and the fold.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any, Protocol

import rfc8785
from fake_rows import Frame, Rows
from fake_stages import FakeStages
from fake_table import FakeTable

import batchscore.republish
from batchscore import attempts, gating, judging, ledger, outputs, pinning, planning, scans
from batchscore.audit import chain, fold
from batchscore.config import InputConfig, IntervalConfig, Job, JobConfig, ModelConfig, OutputConfig
from batchscore.features.definitions import Definitions
from batchscore.gating import Gating
from batchscore.intervals import Interval, find_interval
from batchscore.judging import Verdict
from batchscore.ledger import Ledger
from batchscore.lineups import Lineup
from batchscore.loading import config_sha256
from batchscore.outputs import Outputs
from batchscore.publish import comparison, protocol
from batchscore.publish.comparison import TableSpec
from batchscore.publish.schema import append_only_spec, ensure_table, scores_spec
from batchscore.records import GateVerdict, PinnedModel, PinnedTable
from batchscore.tables import stage as stage_module
from batchscore.tables.stage import Stage

RETENTION = timedelta(days=7)
DAYS = tuple(find_interval(f"2013-10-0{day}T04:00:00Z", "day", "America/New_York") for day in (1, 2))
INTERVALS = {interval.name: interval for interval in DAYS}
# Model version -> rows scored and set aside. With 4 every row is set aside, with 5 there is none.
SHAPES = {1: (3, 0), 2: (2, 1), 3: (1, 2), 4: (0, 2), 5: (0, 0)}
JOB = Job(
    config=JobConfig(
        job="job",
        interval=IntervalConfig(column="day", grain="day", time_zone="America/New_York"),
        input=InputConfig(table="lake/rows"),
        model=ModelConfig(uri="models:/delay@champion"),
        output=OutputConfig(scores="lake/scores"),
    ),
    folder="lake",
    file="job.yaml",
)
SPARK: Any = SimpleNamespace(
    sparkContext=SimpleNamespace(
        setJobGroup=lambda run_id, text: None,
        statusTracker=lambda: SimpleNamespace(getJobIdsForGroup=lambda group: []),
    )
)
_NO_FIELDS: Any = SimpleNamespace(fields=[])
SPECS = {
    "scores": scores_spec(_NO_FIELDS, "job", "day"),
    "quarantine": append_only_spec("output.quarantine", _NO_FIELDS, "job"),
    "audit": append_only_spec("output.audit", _NO_FIELDS, "job"),
}


class Process(Protocol):
    """What stands for the process that runs at this moment."""

    outputs: FakeOutputs
    stages: FakeStages
    model_version: int
    is_held: bool

    def make_run_id(self) -> str:
        """A fresh id."""

    def now(self) -> datetime:
        """Its clock."""


class FakeOutputs(Outputs):
    """The real outputs, but for what they ask of Spark."""

    def specs(self, prepared: Any) -> dict[str, tuple[Any, TableSpec]]:
        return {name: (getattr(self, name), spec) for name, spec in SPECS.items()}

    def scored_rows(self, rows: Any, record: Any) -> Any:
        label = f"delay/{record.model['version']}"
        return _tag(rows, record, {"_model": label})

    def quarantined_rows(self, rows: Any, source: Any, record: Any) -> Any:
        return _tag(rows, record, {})


def _tag(rows: Frame, record: Any, more: Mapping[str, Any]) -> Frame:
    own = {"_interval": record.interval, "_run_id": record.run_id, "_generation": record.generation}
    return rows.change(lambda row: {**more, **row, **own})


def make_outputs(
    scores: FakeTable,
    quarantine: FakeTable,
    audit: FakeTable,
    stages: FakeStages,
    clock: Callable[[], datetime],
    kind: type[Ledger] = Ledger,
) -> FakeOutputs:
    """Outputs over tables and stages in memory, for one process with its clock."""
    own = kind(
        job=JOB.config.job,
        scores=scores,
        quarantine=quarantine,
        audit=audit,
        stages=stages,
        audit_schema=None,
        create_audit=lambda: ensure_table(audit, SPECS["audit"]),
        stage_retention=RETENTION,
        clock=clock,
    )
    return FakeOutputs(SPARK, JOB, scores, quarantine, audit, stages, own)  # type: ignore[arg-type]


def make_rows(interval: str, version: int) -> tuple[Rows, Rows]:
    """What a model version makes of an interval: rows scored, and rows set aside."""
    scored, aside = SHAPES[version]
    rows = tuple({"id": i, "score": f"{interval}/{version}/{i}"} for i in range(scored))
    return rows, tuple({"id": scored + i, "_row": f"{interval}/{scored + i}"} for i in range(aside))


def make_key(interval: str, version: int) -> str:
    """The content key of an interval under a model version."""
    return f"{interval}/{version}"


@contextmanager
def on_lists(current: Callable[[], Process]) -> Iterator[None]:
    """Run the pipeline on lists; `current` tells the process that runs."""
    prepared = {(name, version): _prepare(INTERVALS[name], version) for name in INTERVALS for version in SHAPES}

    def prepare(spark: Any, job: Job, interval: Interval, *, model: Any = None) -> Any:
        return prepared[interval.name, current().model_version if model is None else model]

    def write_stage(spark: Any, rows: Any, location: str) -> Stage:
        scored, aside = make_rows(*rows)
        files: Mapping[str, Rows] = {"s-0": scored[:1], "s-1": scored[1:], "q-0": aside, "t-0": ()}
        current().stages.put(location.rpartition("/")[2], files)
        names = {"scored": ("s-0", "s-1"), "quarantined": ("q-0",), "tally": ("t-0",)}
        return Stage(location, names, {"scored": len(scored), "quarantined": len(aside)}, "{}")

    def read_stage(spark: Any, stage: Stage, outcome: str) -> Frame:
        return current().stages.open(stage.location.rpartition("/")[2], stage.files[outcome])

    def judge_stage(spark: Any, prepared: Any, stage: Stage) -> Verdict:
        read_stage(spark, stage, "tally").load()
        counts = {name: stage.counts[name] for name in ("scored", "quarantined")}
        return Verdict(counts={"read": sum(counts.values()), **counts}, reasons={}, results=(), runtime={})

    def judge_gates(*args: Any) -> Gating:
        held = GateVerdict(gate="volume", verdict="fail", on_fail="hold", found="too few")
        return Gating(gates=(held,) * current().is_held)

    really_check = comparison.check_table

    def check_table(table: FakeTable, spec: TableSpec) -> None:
        if not table.is_checked:  # its columns and properties stay as they are
            really_check(table, spec)  # type: ignore[arg-type]
            table.is_checked = True

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return current().now()

    digest = config_sha256(JOB.config)
    found = {
        (outputs, "open_outputs"): lambda spark, job: current().outputs,
        (planning, "prepare"): prepare,
        (planning, "code_version"): lambda: "1",
        (batchscore.loading, "config_sha256"): lambda config: digest,
        (pinning, "pin_job_models"): lambda job, recorded: recorded["version"],
        (pinning, "reopen_input"): lambda *args: None,
        (scans, "choose_scan"): lambda spark, prepared: None,
        (scans, "stage_interval"): lambda spark, prepared, scan, place, stamps: (
            write_stage(spark, prepared.rows, place),
            {},
        ),
        (stage_module, "read_stage"): read_stage,
        (judging, "judge_stage"): judge_stage,
        (gating, "judge_gates"): judge_gates,
        (comparison, "check_table"): check_table,
        (attempts, "make_run_id"): lambda now: current().make_run_id(),
        (attempts, "command_line"): lambda: "batchscore run",
        (attempts, "_user"): lambda: "someone",
    }
    single = {
        (outputs, "_check_stores"): lambda *args: None,
        (attempts, "datetime"): Clock,
        (attempts, "socket"): SimpleNamespace(gethostname=lambda: "host"),
        (attempts, "time"): SimpleNamespace(perf_counter=lambda: 0.0),
        (chain, "rfc8785"): SimpleNamespace(dumps=fast_canonical),
        **{
            (module, "json"): SimpleNamespace(loads=fast_loads, dumps=json.dumps) for module in (fold, ledger, protocol)
        },
    }
    undo = [_put(module, name, fake) for (module, name), fake in single.items()]
    undo += [back for (module, name), fake in found.items() for back in _put_everywhere(module, name, fake)]
    try:
        yield
    finally:
        for back in undo:
            back()


def fast_loads(text: str | bytes) -> Any:
    """What `json.loads` gives; the same texts are read many times."""
    found = _loads(text)
    return dict(found) if isinstance(found, dict) else found


@functools.lru_cache(10_000)
def _loads(text: str | bytes) -> Any:
    return json.loads(text)


_JSON = SimpleNamespace(loads=fast_loads, dumps=json.dumps)


def fast_canonical(record: Any) -> bytes:
    """What `rfc8785.dumps` gives for records without floats but 0 and names beyond ASCII, ten times faster."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).replace(":0.0", ":0").encode()


def check_fast_canonical(record: Any) -> bool:
    """Whether that holds for a record."""
    return fast_canonical(record) == rfc8785.dumps(record)


def _prepare(interval: Interval, version: int) -> Any:
    pinned = PinnedTable(
        table="lake/rows", format="delta", location="lake/rows", table_id="t", version=7, fingerprint="f", files=1
    )
    model = PinnedModel(
        uri="models:/delay@champion",
        name="delay",
        version=version,
        alias="champion",
        sha256=f"{version}" * 64,
        size_bytes=1,
        inputs=(),
        outputs=(),
    )
    return SimpleNamespace(
        job=JOB,
        interval=interval,
        input=pinned,
        lookups={},
        models=Lineup(models=(model,)),
        contents={},
        source=None,
        definitions=Definitions({}, {}),
        skew=(),
        rows=(interval.name, version),
        spec=None,
        fields=(),
        key_fields=(),
        key_material={"model": version},
        content_key=make_key(interval.name, version),
    )


def _put(module: Any, name: str, fake: Any) -> Callable[[], None]:
    kept = getattr(module, name)
    setattr(module, name, fake)
    return lambda: setattr(module, name, kept)


def _put_everywhere(module: Any, name: str, fake: Any) -> list[Callable[[], None]]:
    """Put a fake in place of a function in every module that has imported it."""
    real = getattr(module, name)
    ours = [m for key, m in list(sys.modules.items()) if key.startswith("batchscore") and vars(m).get(name) is real]
    return [_put(m, name, fake) for m in ours]
