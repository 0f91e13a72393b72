"""Scans: who reads an interval's rows for the kernel: the Python workers themselves, Comet, or Spark."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from batchscore.kernel.scan import Piece, ScanSpec
from batchscore.kernel.staging import StagePlace
from batchscore.planning import Prepared, arrow_schema
from batchscore.scoring.acceleration import accelerated, describe_native
from batchscore.scoring.udf import score_files, score_rows
from batchscore.session import has_comet
from batchscore.tables.direct import find_pieces, is_modern, share_out
from batchscore.tables.stage import Stage, find_stage, local_folder, write_stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """Who reads the rows.

    Attributes:
        by: Who.
        why: Why not the workers; empty where they do.
        verified: Whether the checksums of Parquet pages are verified.
        shares: What each task reads, where workers read.
        spec: Which columns, where workers read.
    """

    by: Literal["workers", "comet", "spark"]
    why: str
    verified: bool
    shares: tuple[tuple[Piece, ...], ...] = ()
    spec: ScanSpec | None = None

    def summary(self) -> dict[str, Any]:
        """What the audit keeps of it."""
        tasks = {"tasks": len(self.shares)} if self.shares else {}
        return {"by": self.by, "why": self.why, "pages_verified": self.verified, **tasks}


def choose_scan(spark: SparkSession, prepared: Prepared) -> Scan:
    """Decide who reads; looks at the footers of local files, and at no row.

    Raises:
        InputError: A file is damaged or gone.
    """
    engine = prepared.job.config.engine
    found = _find_shares(spark, prepared)
    if not isinstance(found, str):
        shares, spec = found
        return Scan(by="workers", why="", verified=engine.verify_pages, shares=shares, spec=spec)
    if engine.accelerator != "none" and has_comet(spark):
        # Comet's own scan verifies no pages, and reads dates of old calendars as they stand.
        native = not engine.verify_pages and not prepared.lookups and is_modern(prepared.input)
        return Scan(by="comet", why=found, verified=not native)
    return Scan(by="spark", why=found, verified=True)


def stage_interval(
    spark: SparkSession, prepared: Prepared, scan: Scan, location: str, stamps: Mapping[str, Any] | None = None
) -> tuple[Stage, dict[str, Any]]:
    """Read, check and score an interval's rows into a stage.

    Args:
        spark: The session.
        prepared: What to do.
        scan: Who reads.
        location: Where the stage goes.
        stamps: What workers that write scored rows themselves put into every one of them; see `StagePlace`.

    Returns:
        The stage, and what the audit keeps of the scan.
    """
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - keeps `validate` free of Spark

    comet = scan.by == "comet"
    schema = from_arrow_schema(pa.ipc.read_schema(pa.py_buffer(prepared.spec.schema)))
    folder = local_folder(spark, location, schema)
    place = None if folder is None else StagePlace(folder, stamps or {})
    with accelerated(spark, verify=scan.verified) if comet else nullcontext():
        if scan.spec is not None:
            scored = score_files(spark, scan.shares, scan.spec, prepared.spec, prepared.contents, place)
        else:
            scored = score_rows(spark, prepared.rows, prepared.spec, prepared.contents, place)
        if folder is None:
            stage = write_stage(spark, scored, location)
        else:
            found = [(row["_file"], row["_outcome"]) for row in scored.collect()]
            stage = find_stage(found, location, schema, stamps or {})
        native = describe_native(scored) if comet else None
    return stage, scan.summary() if native is None else {**scan.summary(), **_as_it_was(scan, native), "comet": native}


def _as_it_was(scan: Scan, native: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan for Comet came to: who really computed, and whether pages were verified."""
    operators = native["operators"]
    by_comet = any(name.startswith("Comet") and name != "CometColumnarToRow" for name in operators)
    verified = scan.verified or not any(name.startswith("Comet") and name.endswith("Scan") for name in operators)
    if by_comet:
        return {"pages_verified": verified}
    reasons = "; ".join(dict.fromkeys(native["fallback"].values())) or "it gives no reason"
    return {"by": "spark", "why": f"Comet left all of it to Spark: {reasons}", "pages_verified": verified}


def _find_shares(spark: SparkSession, prepared: Prepared) -> tuple[tuple[tuple[Piece, ...], ...], ScanSpec] | str:
    """What each task reads, and which columns; or why Spark must read."""
    engine = prepared.job.config.engine
    if engine.scan != "auto":
        return f"engine.scan is {engine.scan}"
    if not prepared.features.plain:
        return "Spark computes features, lookups or flags"
    columns = arrow_schema(prepared.rows)
    pieces = find_pieces(spark, prepared.input, prepared.source.schema, columns)
    if isinstance(pieces, str):
        return pieces
    if not pieces:
        return "there are no rows"
    spec = ScanSpec(schema=columns.serialize().to_pybytes(), verify=engine.verify_pages)
    return tuple(share_out(pieces, spark.sparkContext.defaultParallelism)), spec
