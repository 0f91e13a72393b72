"""Spark sessions: make one from the engine config, or join the one that is there, with safe settings either way."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscore.config import EngineConfig, JobConfig
from batchscore.errors import SetupError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

DELTA_PACKAGE = "io.delta:delta-spark_4.1_2.13:4.4.0"
JARS_VARIABLE = "BATCHSCORE_JARS"
JAVA_VERSIONS = (17, 21)
_NEEDED_JARS = ("delta-spark_4.1_2.13-4.4.0", "delta-storage-4.4.0", "unitycatalog-client-", "unitycatalog-hadoop-")

# They decide values or guard against silent loss, so no config may change them.
_VALUE_CONF = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    # A failing feature is caught per row; a shared subexpression would be evaluated outside that guard.
    "spark.sql.subexpressionElimination.enabled": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.databricks.delta.commit.idempotencyCheck.enabled": "true",
    # Stage files are split by outcome without sorting the rows first.
    "spark.sql.maxConcurrentOutputFileWriters": "4",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Spark's old default, INT96, has no statistics to skip by, and other readers take it for nanoseconds.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Reaches Parquet's reader through the session too, where the application was made by somebody else.
    "parquet.page.verify-checksum.enabled": "true",
}
_SMALL_CONF = {
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
}
_STATIC_CONF = {"spark.hadoop.parquet.page.verify-checksum.enabled": "true"}
_DELTA_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def open_session(
    engine: EngineConfig, time_zone: str, conf: Mapping[str, str] | None = None, *, delta: bool = True
) -> SparkSession:
    """A session of batchscore's own, over a new or an existing Spark application.

    Inside `spark-submit`, or where a classic session is active, that application is joined: its master and memory
    stay as they are. Value-deciding settings are set on a session of our own, so the caller's stay untouched.

    Args:
        engine: The job's engine section.
        time_zone: IANA zone that SQL features read clocks in.
        conf: Resolved values of `engine.conf`.
        delta: Whether Delta's jars are needed; see `needs_delta`.

    Raises:
        SetupError: Java is missing or wrong, the session is Spark Connect, or the Delta jars are absent.
    """
    from pyspark.sql import SparkSession  # noqa: PLC0415 - seconds of import that `--help` must not pay

    _quiet_pyspark()
    _refuse_connect()
    active = SparkSession.getActiveSession()
    if active is None and _application() is not None:
        active = SparkSession.builder.getOrCreate()  # the application's own: activity is a thread's
    if active is None:
        active = _build_session(engine, conf or {}, delta)
    if delta:
        _require_delta(active)
    session = active.newSession()
    for key, value in {**_VALUE_CONF, "spark.sql.session.timeZone": time_zone}.items():
        session.conf.set(key, value)
    if _is_local(session):
        for key, value in _SMALL_CONF.items():
            session.conf.set(key, value)
    for key, value in (conf or {}).items():
        if session.conf.isModifiable(key):
            session.conf.set(key, value)
    return session


def needs_delta(config: JobConfig) -> bool:
    """Whether a job reads or writes any Delta table."""
    formats = {config.input.format, config.output.format, *(lookup.format for lookup in config.lookups.values())}
    return "delta" in formats


def find_jars() -> list[Path]:
    """The Delta jars of this machine: from `BATCHSCORE_JARS`, or batchscore's cache; empty where there are none."""
    folder = jars_folder()
    if not folder.is_dir():
        return []
    jars = sorted(folder.glob("*.jar"))
    complete = all(any(needed in jar.name for jar in jars) for needed in _NEEDED_JARS)
    return jars if complete else []


def jars_folder() -> Path:
    """Where the Delta jars are kept."""
    named = os.environ.get(JARS_VARIABLE)
    if named:
        return Path(named).expanduser()
    return _cache_folder() / "jars" / "delta-4.4.0"


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "batchscore"


def fetch_jars() -> list[Path]:
    """Fetch the Delta jars once, through Spark's own Ivy, and keep the ones that Spark lacks.

    Raises:
        SetupError: They could not be fetched.
    """
    found = find_jars()
    if found:
        return found
    check_java()
    folder = jars_folder()
    folder.mkdir(parents=True, exist_ok=True)
    ivy = folder / "ivy"
    code = (
        "from pyspark.sql import SparkSession; SparkSession.builder.master('local[1]')"
        f".config('spark.jars.packages', {DELTA_PACKAGE!r}).config('spark.jars.ivy', {str(ivy)!r})"
        ".config('spark.ui.enabled', 'false').getOrCreate().stop()"
    )
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and a fixed text
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(_fetch_message("no answer within 600 s")) from error
    for jar in (ivy / "jars").glob("io.*.jar"):
        if jar.name.startswith(("io.delta_", "io.unitycatalog_")):  # the rest is Spark's own
            shutil.copy2(jar, folder / jar.name)
    shutil.rmtree(ivy, ignore_errors=True)
    found = find_jars()
    if not found:
        tail = [line for line in done.stderr.splitlines() if "::" in line or "Error" in line or "Exception" in line]
        raise SetupError(_fetch_message(tail[-1].strip() if tail else f"exit code {done.returncode}"))
    return found


def check_java() -> int:
    """The major version of the Java that Spark will start.

    Raises:
        SetupError: There is none, or it is not 17 or 21.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    advice = "Install a JDK 17 or 21 (for example Debian's openjdk-17-jre-headless) and set JAVA_HOME to it."
    if not java or not Path(java).exists():
        raise SetupError(f"Java: expected version 17 or 21; found none. {advice}")
    done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    found = re.search(r'version "(\d+)', done.stderr + done.stdout)
    major = int(found[1]) if found else 0
    if major not in JAVA_VERSIONS:
        raise SetupError(f"Java: expected version 17 or 21; found {major or 'an unknown one'} at {java}. {advice}")
    return major


def submit_jars() -> str:
    """The `--jars` argument for `spark-submit`: the jars of this machine, or the package to fetch."""
    jars = find_jars()
    return f"--jars {','.join(str(jar) for jar in jars)}" if jars else f"--packages {DELTA_PACKAGE}"


def close_session() -> None:
    """End the Spark application of this process, if there is one, so that a cluster sees it end in order."""
    context = _application()
    if context is not None:
        context.stop()


def cancel_jobs() -> None:
    """End the Spark jobs that run in this process's application, if there is one."""
    context = _application()
    if context is not None:
        context.cancelAllJobs()


def _application() -> SparkContext | None:
    """This process's Spark application; imports nothing where there can be none."""
    if "pyspark" not in sys.modules:
        return None
    from pyspark import SparkContext  # noqa: PLC0415

    return SparkContext._active_spark_context


def _build_session(engine: EngineConfig, conf: Mapping[str, str], delta: bool) -> SparkSession:
    from pyspark.sql import SparkSession  # noqa: PLC0415

    check_java()
    builder = SparkSession.builder
    settings = {"spark.app.name": "batchscore", **_STATIC_CONF, **(_DELTA_CONF if delta else {})}
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # not started by spark-submit
        jars = (find_jars() or fetch_jars()) if delta else []
        # Workers are forked from this interpreter's twin; another python would lack pyarrow.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        settings |= _own_application(engine, jars)
    elif delta:
        from pyspark import SparkContext  # noqa: PLC0415

        SparkContext._ensure_initialized()
        _require_jars(SparkContext._jvm)
    for key, value in {**settings, **conf}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _own_application(engine: EngineConfig, jars: list[Path]) -> dict[str, str]:
    local = engine.master.startswith("local")
    log_file = resources.files("batchscore") / "log4j2.properties"
    return {
        **_SMALL_CONF,
        "spark.master": engine.master,
        "spark.driver.memory": engine.driver_memory,
        **({"spark.jars": ",".join(str(jar) for jar in jars)} if jars else {}),
        # Spark makes this folder when it starts; nothing is written to it, and the user's own folder stays clean.
        "spark.sql.warehouse.dir": str(_cache_folder() / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **({"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"} if local else {}),
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log_file} -Dlog4j.configurationFile={log_file}",
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.log.structuredLogging.enabled": "false",
    }


def _is_local(session: SparkSession) -> bool:
    return str(session.sparkContext.master).startswith("local")


def _quiet_pyspark() -> None:
    """PySpark logs every SQL error as JSON, with cell values in it; batchscore re-tells errors without them."""
    from pyspark.logger import PySparkLogger  # noqa: PLC0415

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)


def _require_jars(jvm: Any) -> None:
    try:
        jvm.java.lang.Thread.currentThread().getContextClassLoader().loadClass("org.apache.spark.sql.delta.DeltaLog")
    except Exception as error:
        raise SetupError(
            "Spark: expected the Delta jars on this application; found none. They must stand on its own command "
            f"line: spark-submit {submit_jars()} …"
        ) from error


def _require_delta(session: SparkSession) -> None:
    _require_jars(session._jvm)
    extensions = str(session.conf.get("spark.sql.extensions", "") or "")
    if "DeltaSparkSessionExtension" not in extensions:
        raise SetupError(
            "Spark: the active session was made without Delta's extension. Make it with "
            "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension and "
            "spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog, "
            "or let batchscore make the session."
        )


def _refuse_connect() -> None:
    remote = os.environ.get("SPARK_REMOTE") or os.environ.get("SPARK_CONNECT_MODE_ENABLED")
    connected = False
    if "pyspark.sql.connect.session" in sys.modules:
        from pyspark.sql.connect.session import SparkSession as ConnectSession  # noqa: PLC0415

        connected = ConnectSession.getActiveSession() is not None
    if remote or connected:
        raise SetupError(
            "Spark: a Spark Connect session has no broadcast variables, which batchscore needs; "
            "use a classic session (unset SPARK_REMOTE, or run with spark-submit)."
        )


def _fetch_message(found: str) -> str:
    return (
        f"Delta jars: expected {DELTA_PACKAGE} to be fetched into {jars_folder()}; found: {found}. "
        f"On a machine without network, copy the jars there from another one, or set {JARS_VARIABLE}."
    )
