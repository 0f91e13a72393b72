"""Check results: the verdict on each expectation, and those of one interval together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from batchscore.rendering import Sheet, Shown

Severity = Literal["critical", "warning", "info"]
Place = Literal["input", "features", "output"]
LONGEST_LIST = 4  # of observed names in a line
CHECK_COLUMNS = ("rule", "verdict", "expectation", "columns", "severity", "failed rows", "%", "observed", "by")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectationResult:
    """The verdict on one expectation.

    Attributes:
        rule: Its id within the job, such as `input[3]`.
        expectation: GX type name, such as `expect_column_values_to_be_between`.
        columns: Columns that it looks at.
        place: Which suite it stands in.
        severity: `critical`, `warning` or `info`.
        engine: What evaluated it: `kernel`, `tally`, `schema`, `column`, `query` or `gx`.
        on_row_fail: `quarantine` or `keep` for row rules; None for the rest.
        success: The verdict, as GX would give it.
        evaluated: Rows with a value (nulls left out), for row rules.
        unexpected: Rows that failed, for row rules.
        observed: Observed value, for table-level expectations; never a cell value of a row rule.
        stops: Whether this verdict keeps the run from publishing.
        error: Why it could not be evaluated, if so.
        fingerprint: sha256 of the canonical expectation.
        mostly: Share of evaluated rows that must pass; None where all must, or where no rows are counted.
        name: What people call it; may be empty.
    """

    rule: str
    expectation: str
    columns: tuple[str, ...]
    place: Place
    severity: Severity
    engine: str
    on_row_fail: str | None
    success: bool
    evaluated: int | None = None
    unexpected: int | None = None
    observed: Any = None
    stops: bool = False
    error: str | None = None
    fingerprint: str = ""
    mostly: float | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport(Shown):
    """What the checks of one interval say, without a run.

    Attributes:
        job: Job name.
        interval: The interval's name: its start in UTC.
        interval_label: The interval as people write it.
        counts: `read`: rows looked at; `set_aside`: of these, rows that a run would quarantine by row rules.
        checks: The verdicts, as plain values.
        left_out: Places whose checks could not be asked, and why.
        stopped: Why a run would not publish; None if it would, as far as the checks go.
        spark_jobs: Spark jobs that it took.
        seconds: Wall time, without the start of Spark.
    """

    job: str
    interval: str
    interval_label: str
    counts: Mapping[str, int]
    checks: tuple[Mapping[str, Any], ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    stopped: str | None = None
    spark_jobs: int = 0
    seconds: float = 0.0

    @property
    def success(self) -> bool:
        """Whether a run would publish, as far as the checks go."""
        return self.stopped is None

    def sheet(self) -> Sheet:
        """The report laid out."""
        words = [verdict_word(check) for check in self.checks]
        tally = {word: words.count(word) for word in ("PASS", "INFO", "WARN", "FAIL") if word in words}
        facts: list[tuple[str, Any]] = [
            ("verdicts", tally),
            ("rows", self.counts),
            ("left out", "; ".join(f"{place}: {why}" for place, why in self.left_out.items())),
            ("a run would stop", self.stopped),
            ("spark jobs", self.spark_jobs),
            ("seconds", self.seconds),
        ]
        return Sheet(
            f"check {self.job} · {self.interval_label}",
            [(name, value) for name, value in facts if value not in (None, "", {})],
            (("checks", CHECK_COLUMNS, check_lines(self.checks)),),
        )


def check_lines(checks: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """One line for each verdict, under `CHECK_COLUMNS`."""
    return [
        [
            check["rule"],
            verdict_word(check),
            check.get("name") or shorten(check["expectation"]),
            ", ".join(check["columns"]),
            check["severity"],
            *_failed(check),
            _observed(check["observed"]) if check["error"] is None else check["error"],
            check["engine"],
        ]
        for check in checks
    ]


def verdict_word(check: Mapping[str, Any]) -> str:
    """PASS; FAIL where it stops a run; WARN where it failed otherwise, INFO where it is of that severity."""
    if check["success"]:
        return "PASS"
    return "FAIL" if check["stops"] else "INFO" if check["severity"] == "info" else "WARN"


def _observed(value: Any) -> Any:
    """An observed value short enough for a line; records hold it whole."""
    return f"{len(value)} names" if isinstance(value, (list, tuple)) and len(value) > LONGEST_LIST else value


def shorten(expectation: str) -> str:
    """An expectation's name without the words that nearly all of them begin with, so that a line holds it."""
    name = expectation.removeprefix("expect_")
    return name if name.startswith("column_to_") else name.removeprefix("column_")


def _failed(check: Mapping[str, Any]) -> list[Any]:
    """Failed rows, and their percentage with what may fail at most, where the suite says so."""
    failed, evaluated = check["unexpected"], check["evaluated"]
    if failed is None:
        return [None, None]
    share = f"{100 * failed / evaluated:.2f}" if evaluated else "0.00"
    mostly = check.get("mostly")
    limit = f" (limit {100 * (1 - mostly):g})" if isinstance(mostly, (int, float)) else ""
    return [f"{failed} of {evaluated}", share + limit]
