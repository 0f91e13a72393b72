"""Comet around one piece of work: switched on for it, off after it, and what of it ran natively."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SWITCH = "spark.comet.enabled"
_OPERATOR = re.compile(r"^[\s:+|*-]*(?:\(\d+\) )?(\w+)")
_BY_JAVA = re.compile(r"\[COMET-INFO: JVM codegen dispatcher: ([^\]]+)\]")
_REASON = re.compile(r"^[\s:+|*-]*(?:\(\d+\) )?(\w+)(?: .*?)?\[COMET: (.+)\]")
# What Comet says of operators that it replaces later, or that batchscore keeps away from it.
_EXPECTED = ("MapInArrow is not supported", "Comet Scan is not enabled")
_turn = threading.Condition()
_users: dict[int, tuple[int, bool]] = {}  # of a session: how many blocks are open, and whether they verify pages


@contextmanager
def accelerated(spark: SparkSession, *, verify: bool) -> Iterator[None]:
    """Let Comet take part in what is planned within the block.

    Intervals that run side by side share a session: a block waits for open ones that read the other way.

    Args:
        spark: A session whose application was made with Comet.
        verify: Whether page checksums are verified. Comet's own scan verifies none, so Spark's scan reads then, and
            hands its column batches over. Source: `spark.comet.convert.parquet.enabled`,
            https://datafusion.apache.org/comet/user-guide/latest/configs.html.
    """
    with _turn:
        _turn.wait_for(lambda: _users.get(id(spark), (0, verify))[1] == verify)
        _users[id(spark)] = (_users.get(id(spark), (0, verify))[0] + 1, verify)
        spark.conf.set("spark.comet.scan.enabled", str(not verify).lower())
        spark.conf.set("spark.comet.convert.parquet.enabled", str(verify).lower())
        spark.conf.set(_SWITCH, "true")
    try:
        yield
    finally:
        with _turn:
            open_blocks = _users.pop(id(spark))[0] - 1
            if open_blocks:
                _users[id(spark)] = (open_blocks, verify)
            else:
                spark.conf.set(_SWITCH, "false")
                _turn.notify_all()


def describe_native(frame: DataFrame) -> dict[str, Any]:
    """What of a frame's plan runs natively, and what does not and why; to be asked while Comet is switched on.

    Returns:
        `operators`: names, from the Python call down to the scans; `fallback`: operator to reason; `java`: functions
        that Comet hands to Java, value by value.
    """
    plan: Any = frame._jdf.queryExecution().executedPlan()
    jvm: Any = frame.sparkSession._jvm
    told = str(jvm.org.apache.comet.ExtendedExplainInfo().generateExtendedInfo(plan))
    lines = [found[1] for line in str(plan.treeString()).splitlines() if (found := _OPERATOR.match(line))]
    reasons = [found.groups() for line in told.splitlines() if (found := _REASON.match(line))]
    return {
        "operators": lines,
        "fallback": {name: reason for name, reason in reasons if not reason.startswith(_EXPECTED)},
        "java": sorted({name for found in _BY_JAVA.findall(told) for name in found.split(", ")}),
    }
