"""Rules across fields that types alone cannot see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from batchscore.config import InputConfig, IntervalConfig, JobConfig, LookupConfig
from batchscore.errors import ConfigError
from batchscore.intervals import Interval, parse_unit
from batchscore.loading.expectations import find_expectation_faults
from batchscore.loading.faults import Finding, Path, find_doubled
from batchscore.loading.feature_rules import find_feature_faults
from batchscore.loading.gate_rules import find_gate_faults
from batchscore.loading.model_rules import find_model_faults
from batchscore.loading.signal_rules import find_signal_faults
from batchscore.patterns import DURATION, NAME, RESERVED_PREFIX, URI_PASSWORD
from batchscore.references import TABLE_NAME, has_reference

# Settings that decide values or safety; batchscore sets them itself on its own session.
PROTECTED_CONF = frozenset(
    {
        "spark.sql.ansi.enabled",
        "spark.sql.session.timeZone",
        "spark.sql.caseSensitive",
        "spark.sql.extensions",
        "spark.sql.catalog.spark_catalog",
        "spark.sql.subexpressionElimination.enabled",
        "spark.sql.files.ignoreCorruptFiles",
        "spark.sql.files.ignoreMissingFiles",
        "spark.hadoop.parquet.page.verify-checksum.enabled",
        "parquet.page.verify-checksum.enabled",
        "spark.comet.enabled",
        "spark.comet.scan.enabled",
        "spark.comet.convert.parquet.enabled",
        "spark.comet.shuffle.enabled",
        "spark.databricks.delta.commit.idempotencyCheck.enabled",
        "spark.databricks.delta.checksum.enabled",
        "spark.comet.exec.scalaUDF.codegen.enabled",
        "spark.comet.exec.enabled",
        "spark.comet.exec.pyarrowUDF.enabled",
        "spark.sql.sources.partitionColumnTypeInference.enabled",
        "spark.sql.parquet.binaryAsString",
        "spark.sql.parquet.int96AsTimestamp",
        "spark.sql.parquet.int96TimestampConversion",
        "spark.sql.parquet.outputTimestampType",
        "spark.sql.parquet.inferTimestampNTZ.enabled",
        "spark.sql.parquet.fieldId.read.enabled",
        "spark.sql.storeAssignmentPolicy",
        "spark.sql.decimalOperations.allowPrecisionLoss",
        "spark.sql.timestampType",
        "spark.sql.mapKeyDedupPolicy",
        "spark.sql.optimizer.excludedRules",
        "spark.master",
        "spark.driver.memory",
    }
)
# Families of settings that decide what is read, and so the scores; each has a safe value where batchscore needs one.
_PROTECTED = re.compile(
    r"spark\.sql\.legacy\.|spark\.sql\.parquet\.\w*RebaseMode|spark\.sql\.ansi\.|spark\.comet\.expression\.|"
    r".*comet.*incompatible",
    re.IGNORECASE,
)
MAX_BATCH_ROWS = 10_000_000
MAX_THREADS = 256
MAX_SESSIONS = 1000
_MEMORY = re.compile(r"[1-9][0-9]{0,8}[kmgt]b?", re.IGNORECASE)
_COUNT = re.compile(r"[1-9][0-9]{0,3}")
_SECRET_KEY = re.compile(
    r"(password|passwd|secret|token|(access|secret)[._-]?key|account\.key(\..+)?)\Z", re.IGNORECASE
)
_BAD_NAME = "expected letters, digits and underscores, starting with a letter"


def find_faults(job: JobConfig) -> Iterator[Finding]:
    """Yield every broken rule of a job whose types are right."""
    for check in _CHECKS:
        yield from check(job)


def _check_job(job: JobConfig) -> Iterator[Finding]:
    if not NAME.match(job.job):
        yield Finding(("job",), "bad-name", _BAD_NAME)
    yield from _check_interval(job.interval)


def _check_interval(interval: IntervalConfig) -> Iterator[Finding]:
    if interval.grain == "snapshot":
        if interval.column is not None:
            yield Finding(("interval", "column"), "not-used", "a snapshot takes the whole table; remove `column`")
    elif interval.column is None:
        needs = f"grain '{interval.grain}' needs `column`, the date or timestamp to cut by; or set `grain: snapshot`"
        yield Finding(("interval",), "missing-key", needs)
    elif not interval.column.strip():
        yield Finding(("interval", "column"), "empty", "expected a column's name")
    try:
        ZoneInfo(interval.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        expected = "expected an IANA time zone such as 'UTC' or 'America/New_York'"
        yield Finding(("interval", "time_zone"), "unknown-zone", expected, tuple(sorted(available_timezones())))
    else:
        yield from _check_calendar(interval)


def _check_calendar(interval: IntervalConfig) -> Iterator[Finding]:
    """`start` and `end` name intervals of the grain, one after the other."""
    reads: tuple[Path, ...] = (("interval", "grain"), ("interval", "time_zone"))
    units: dict[str, Interval] = {}
    for key, text in (("start", interval.start), ("end", interval.end)):
        where: Path = ("interval", key)
        if text is not None and interval.grain == "snapshot":
            what = f"a snapshot takes the whole table at any time; remove `{key}`"
            yield Finding(where, "not-used", what, reads=reads)
        elif text is not None:
            try:
                units[key] = parse_unit(text, interval.grain, interval.time_zone, "")
            except ConfigError as error:
                yield Finding(where, "bad-interval", str(error), reads=reads)
    if len(units) == 2 and units["end"].name <= units["start"].name:
        what = f"expected one {interval.grain} after `start`, {units['start'].label}; the job would never be due"
        yield Finding(("interval", "end"), "out-of-range", what, reads=(*reads, ("interval", "start")))


def _check_columns(job: JobConfig) -> Iterator[Finding]:
    """Columns of the output tables: Spark and Delta hold two names that differ only in case for one."""
    seen: set[str] = set()
    carried = [(("input", "key"), job.input.key), (("output", "passthrough"), job.output.passthrough)]
    for where, names in carried:
        for position, name in enumerate(names):
            if not name.strip():
                yield Finding((*where, position), "empty", "expected a column's name")
            elif name.startswith(RESERVED_PREFIX):
                yield Finding((*where, position), "reserved", "output columns that start with '_' are batchscore's own")
            elif name.lower() in seen:
                yield Finding((*where, position), "doubled", f"column '{name}' is already in the output; remove it")
            seen.add(name.lower())
    if not job.input.key and job.input.on_duplicate_key == "quarantine":
        needs = "`on_duplicate_key: quarantine` needs `input.key`"
        yield Finding(("input", "on_duplicate_key"), "needs-key", needs, reads=(("input",),))
    made: list[tuple[Path, str]] = [(("model", "outputs", name), name) for name in job.model.outputs]
    made += [(("model", "postprocess", i, "name"), step.name) for i, step in enumerate(job.model.postprocess)]
    for place, name in made:
        if name.lower() in seen:
            what = f"output column '{name}' collides with a key, passthrough or other output column; rename it"
            yield Finding(place, "collision", what)
        seen.add(name.lower())


def _check_lookups(job: JobConfig) -> Iterator[Finding]:
    for name, lookup in job.lookups.items():
        where: Path = ("lookups", name)
        if not NAME.match(name):
            yield Finding(where, "bad-name", _BAD_NAME)
        for key, names in (("on", lookup.on), ("columns", lookup.columns)):
            if not names and not (key == "columns" and lookup.windows):
                yield Finding((*where, key), "empty", "expected at least one column")
            for position in find_doubled(names):
                yield Finding((*where, key, position), "doubled", f"column '{names[position]}' stands twice")
        yield from _check_lookup_times(where, lookup)


def _check_lookup_times(where: Path, lookup: LookupConfig) -> Iterator[Finding]:
    timed = [lookup.at, lookup.known_at, lookup.max_age]
    if lookup.windows:
        yield from _check_windows(where, lookup)
    elif any(timed) and not all(timed):
        yield Finding(where, "half-given", "a point-in-time lookup needs `at`, `known_at` and `max_age` together")
    if lookup.max_age is not None and not DURATION.match(lookup.max_age):
        yield Finding((*where, "max_age"), "bad-duration", "expected a duration such as '90s', '15m', '6h' or '7d'")


def _check_windows(where: Path, lookup: LookupConfig) -> Iterator[Finding]:
    if not (lookup.at and lookup.known_at):
        yield Finding(where, "half-given", "windows need `at` and `known_at`")
    for key in ("columns", "max_age"):
        if getattr(lookup, key):
            what = f"a lookup with `windows` has no `{key}`; write a second lookup of the same table"
            yield Finding((*where, key), "not-used", what, reads=((*where, "windows"),))
    for name, window in lookup.windows.items():
        place: Path = (*where, "windows", name)
        if not NAME.match(name):
            yield Finding(place, "bad-name", _BAD_NAME)
        if not DURATION.match(window.over):
            yield Finding((*place, "over"), "bad-duration", "expected a duration such as '90s', '15m', '6h' or '7d'")
        if window.of is None and window.do != "count":
            yield Finding(place, "missing-key", f"`do: {window.do}` needs `of`, the column that it is computed from")


def _check_limits(job: JobConfig) -> Iterator[Finding]:
    if not 0 <= job.checks.max_quarantine_pct <= 100:
        yield Finding(("checks", "max_quarantine_pct"), "out-of-range", "expected a percentage from 0 to 100")
    if job.checks.max_quarantine_rows is not None and job.checks.max_quarantine_rows < 0:
        yield Finding(("checks", "max_quarantine_rows"), "out-of-range", "expected 0 or more rows")
    if job.scoring.batch_rows != "auto" and not 1 <= job.scoring.batch_rows <= MAX_BATCH_ROWS:
        yield Finding(("scoring", "batch_rows"), "out-of-range", f"expected 'auto' or 1 to {MAX_BATCH_ROWS} rows")
    if job.scoring.max_failed_rows < 0:
        yield Finding(("scoring", "max_failed_rows"), "out-of-range", "expected 0 or more rows")
    if job.scoring.threads != "auto" and not 1 <= job.scoring.threads <= MAX_THREADS:
        yield Finding(("scoring", "threads"), "out-of-range", f"expected 'auto' or 1 to {MAX_THREADS}")
    if not 1 <= job.scoring.max_sessions <= MAX_SESSIONS:
        yield Finding(("scoring", "max_sessions"), "out-of-range", f"expected 1 to {MAX_SESSIONS}")
    if job.output.stage_retention_d < 1:
        yield Finding(("output", "stage_retention_d"), "out-of-range", "expected 1 or more days")


def _check_gpu(job: JobConfig) -> Iterator[Finding]:
    gpu, where = job.scoring.gpu, ("scoring", "gpu")
    if not (0 < gpu.per_task <= 0.5 or (gpu.per_task >= 1 and gpu.per_task == int(gpu.per_task))):  # Spark's own rule
        yield Finding((*where, "per_task"), "out-of-range", "expected a share up to 0.5, or a whole number of GPUs")
    if not 1 <= gpu.sessions_per_device <= MAX_SESSIONS:
        yield Finding((*where, "sessions_per_device"), "out-of-range", f"expected 1 to {MAX_SESSIONS}")
    if gpu.memory_limit is not None and not _MEMORY.fullmatch(gpu.memory_limit):
        yield Finding((*where, "memory_limit"), "bad-size", "expected a size such as '512m' or '8g'")
    if gpu.engine_cache is not None and not gpu.engine_cache.startswith("/"):
        expected = "expected an absolute path: the folder lies on the workers, not beside the job file"
        yield Finding((*where, "engine_cache"), "bad-path", expected)


def _check_engine(job: JobConfig) -> Iterator[Finding]:
    if not job.engine.master.strip():
        yield Finding(("engine", "master"), "empty", "expected a Spark master such as 'local[*]'")
    if not _MEMORY.fullmatch(job.engine.driver_memory):
        yield Finding(("engine", "driver_memory"), "bad-size", "expected a size such as '512m' or '4g'")
    for name, value in job.engine.conf.items():
        where: Path = ("engine", "conf", name)
        if name in PROTECTED_CONF or _PROTECTED.match(name):
            what = f"'{name}' decides values or safety, which batchscore sees to itself; remove it"
            yield Finding(where, "protected", what)
        if name == "spark.task.cpus" and not has_reference(value) and not _COUNT.fullmatch(value):
            yield Finding(where, "out-of-range", "expected a whole number of cores from 1, such as '2'")
        if _SECRET_KEY.search(name) and not has_reference(value) and value.lower() not in ("", "true", "false"):
            yield Finding(where, "secret-in-file", "a secret may not stand in the job file; write '${env:NAME}'")


def _check_places(job: JobConfig) -> Iterator[Finding]:
    """Tables and files: paths or names where one is needed, no two outputs in one place, no output over an input."""
    taken = {job.input.table: "input.table"} | {t.table: f"lookups.{n}.table" for n, t in job.lookups.items()}
    taken = {_trim(place): key for place, key in taken.items()}
    reads: dict[Path, InputConfig | LookupConfig] = {("input",): job.input}
    reads |= {("lookups", name): lookup for name, lookup in job.lookups.items()}
    for where, read in reads.items():
        if read.format == "parquet" and "/" not in read.table and not has_reference(read.table) and read.table.strip():
            what = f"expected a path with a '/', as './{read.table}'; a Parquet table has no catalog name"
            yield Finding((*where, "table"), "not-a-path", what, reads=((*where, "format"),))
    for key in ("scores", "quarantine", "audit", "challenger", "differences"):
        place: str | None = getattr(job.output, key)
        if place is None:
            continue
        if key in ("challenger", "differences") and job.model.challenger is None:
            what = "only a job with `model.challenger` writes it; remove it"
            yield Finding(("output", key), "not-used", what, reads=(("model",),))
        named = "/" not in place and not has_reference(place)
        if named and job.output.format == "parquet":
            what = f"expected a path with a '/', as './{place}'; Parquet output has no catalog name"
            yield Finding(("output", key), "not-a-path", what, reads=(("output", "format"),))
        elif named and not TABLE_NAME.match(place):
            what = f"expected a path with a '/', as './{place}', or a catalog name, as SCHEMA.TABLE"
            yield Finding(("output", key), "not-a-path", what)
        elif _trim(place) in taken:
            what = f"this is also `{taken[_trim(place)]}`; every output needs a place of its own"
            yield Finding(("output", key), "collision", what)
        taken.setdefault(_trim(place), f"output.{key}")


def _check_texts(job: JobConfig) -> Iterator[Finding]:
    """Texts that may not be empty, and URIs that may not hold a password."""
    texts: list[tuple[Path, str | None]] = [(("input", "table"), job.input.table)]
    texts += [(("lookups", name, "table"), lookup.table) for name, lookup in job.lookups.items()]
    suites = [(("checks", key), getattr(job.checks, key)) for key in ("input", "features", "output")]
    texts += [(path, suite) for path, suite in suites if isinstance(suite, str)]
    texts += [(("registry", "uri"), job.registry.uri)]
    for path, text in texts:
        if text is not None and not text.strip():
            yield Finding(path, "empty", "expected a name or path; leave the key out if there is none")
    outputs: list[tuple[Path, str | None]] = [(("output", "scores"), job.output.scores)]
    for path, text in [*texts, *outputs, (("engine", "master"), job.engine.master)]:
        if text is not None and URI_PASSWORD.search(text):
            what = "a password may not stand in the job file; write '${env:NAME}' in its place"
            yield Finding(path, "secret-in-file", what)


def _trim(place: str) -> str:
    """A place without what does not tell it from another; catalogs do not tell letters' cases apart."""
    return place.rstrip("/").removeprefix("./") if "/" in place else place.lower()


_CHECKS: tuple[Callable[[JobConfig], Iterator[Finding]], ...] = (
    _check_job,
    _check_columns,
    _check_lookups,
    find_feature_faults,
    find_model_faults,
    find_expectation_faults,
    _check_limits,
    _check_gpu,
    find_gate_faults,
    find_signal_faults,
    _check_engine,
    _check_places,
    _check_texts,
)
