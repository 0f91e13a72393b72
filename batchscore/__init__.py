"""batchscore: batch scoring on Spark that validates, scores, publishes and audits in one pass.

Executors import this package, so it imports nothing itself: public names load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchscore.api import (
        backfill,
        block,
        check,
        discard,
        gx_results,
        load,
        migrate,
        plan,
        preview,
        publish_held,
        quarantine,
        release,
        repair,
        resume,
        rollback,
        run,
        runs,
        scores,
        show,
        spark_session,
        status,
        suggest,
        unblock,
    )
    from batchscore.config import Job, JobConfig
    from batchscore.errors import BatchscoreError
    from batchscore.features.marks import arrow_feature, feature
    from batchscore.mending import erase, expire, maintain, redrive, waive
    from batchscore.plans import Plan
    from batchscore.records import RunRecord
    from batchscore.training import fit_encoders, list_features, log_model, training_set
    from batchscore.udfs import score_udf
    from batchscore.watching import (
        evaluate,
        explain_row,
        replay,
        staged,
        verify_audit,
        write_index,
        write_report,
    )

_HOMES = {
    "BatchscoreError": "errors",
    "Job": "config",
    "JobConfig": "config",
    "Plan": "plans",
    "RunRecord": "records",
    "arrow_feature": "features.marks",
    "backfill": "api",
    "block": "api",
    "check": "api",
    "discard": "api",
    "erase": "mending",
    "evaluate": "watching",
    "expire": "mending",
    "explain_row": "watching",
    "feature": "features.marks",
    "fit_encoders": "training",
    "gx_results": "api",
    "list_features": "training",
    "load": "api",
    "log_model": "training",
    "maintain": "mending",
    "migrate": "api",
    "plan": "api",
    "preview": "api",
    "publish_held": "api",
    "quarantine": "api",
    "redrive": "mending",
    "release": "api",
    "repair": "api",
    "replay": "watching",
    "resume": "api",
    "rollback": "api",
    "run": "api",
    "runs": "api",
    "score_udf": "udfs",
    "scores": "api",
    "show": "api",
    "spark_session": "api",
    "staged": "watching",
    "status": "api",
    "suggest": "api",
    "training_set": "training",
    "unblock": "api",
    "verify_audit": "watching",
    "waive": "mending",
    "write_index": "watching",
    "write_report": "watching",
}

__all__ = [
    "BatchscoreError",
    "Job",
    "JobConfig",
    "Plan",
    "RunRecord",
    "arrow_feature",
    "backfill",
    "block",
    "check",
    "discard",
    "erase",
    "evaluate",
    "expire",
    "explain_row",
    "feature",
    "fit_encoders",
    "gx_results",
    "list_features",
    "load",
    "log_model",
    "maintain",
    "migrate",
    "plan",
    "preview",
    "publish_held",
    "quarantine",
    "redrive",
    "release",
    "repair",
    "replay",
    "resume",
    "rollback",
    "run",
    "runs",
    "score_udf",
    "scores",
    "show",
    "spark_session",
    "staged",
    "status",
    "suggest",
    "training_set",
    "unblock",
    "verify_audit",
    "waive",
    "write_index",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"batchscore.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'batchscore' has no attribute '{name}'")
