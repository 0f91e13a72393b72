"""Spark sessions: make one from the engine config, or join the one that is there, with safe settings either way."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscore.config import EngineConfig, JobConfig
from batchscore.errors import SetupError
from batchscore.jvm import cache_folder, check_java, fetch_comet, fetch_jars, find_comet, find_jars, submit_options
from batchscore.redaction import redact

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

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
_BATCH_ROWS = "16384"  # the kernel's cost of a batch hardly grows with its rows
_SMALL_CONF = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": _BATCH_ROWS,
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",  # VACUUM lists in so many tasks, not 10,000
}
_CLASS_PATHS = ("spark.driver.extraClassPath", "spark.executor.extraClassPath")
_DELTA_CLASS = "org.apache.spark.sql.delta.DeltaLog"
_COMET_CLASS = "org.apache.spark.CometPlugin"
_STATIC_CONF = {"spark.hadoop.parquet.page.verify-checksum.enabled": "true"}
_EXTENSIONS = "spark.sql.extensions"
_TOLD = 300  # characters of what Spark says of settings
_REDACTED = "spark.redaction.regex"
_TELLING = "(?i)secret|password|passwd|token|credential|(access|account|api|private)[._-]?key"
_DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_COMET_EXTENSION = "org.apache.comet.CometSparkSessionExtensions"
_DELTA_CONF = {"spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog"}
# Source: https://datafusion.apache.org/comet/user-guide/latest/configs.html
_COMET_CONF = {
    "spark.plugins": "org.apache.spark.CometPlugin",
    "spark.memory.offHeap.enabled": "true",
    "spark.memory.offHeap.size": "2g",
    "spark.comet.enabled": "false",  # each run switches it on for its rows alone
    "spark.comet.shuffle.enabled": "false",  # shuffles stay Spark's own, and so does the shuffle manager
    "spark.comet.exec.pyarrowUDF.enabled": "true",
    "spark.comet.batchSize": _BATCH_ROWS,
}
# Its own functions differ from Java's in the last digit, and the same job would publish other scores. Java's part of it
# computes them where `expressions.keep_exact` says so, else Spark.
_INEXACT = (
    "Exp Expm1 Log Log10 Log2 Logarithm Pow Cbrt Sin Cos Tan Cot Sec Csc Asin Acos Atan Atan2 Sinh Cosh Tanh Asinh "
    "Acosh Atanh"
).split()
_COMET_VALUE_CONF = {
    **{f"spark.comet.expression.{name}.enabled": "false" for name in _INEXACT},
    "spark.comet.explain.codegen.enabled": "true",  # names what Java computes, for the run's record
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
    if engine.accelerator == "comet" and not has_comet(active):
        raise SetupError(
            "engine.accelerator: expected a Spark application with Comet; this one was made without it. Let batchscore "
            "make the application, or set engine.accelerator to auto or none."
        )
    session = active.newSession()
    exact = _COMET_VALUE_CONF if has_comet(active) else {}
    for key, value in {**_VALUE_CONF, **exact, "spark.sql.session.timeZone": time_zone}.items():
        session.conf.set(key, value)
    if _is_small(session):
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


def has_comet(session: SparkSession) -> bool:
    """Whether a session's application was made with Comet."""
    return _COMET_EXTENSION in str(session.conf.get(_EXTENSIONS, "") or "")


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
    comet = engine.accelerator == "comet" or (engine.accelerator == "auto" and bool(find_comet()))
    if comet:
        os.environ.setdefault("COMET_LOG_LEVEL", "error")  # its native part writes to stderr
    extensions = [name for name, wanted in ((_COMET_EXTENSION, comet), (_DELTA_EXTENSION, delta)) if wanted]
    settings = {"spark.app.name": "batchscore", **_STATIC_CONF}
    settings |= {_EXTENSIONS: ",".join(extensions)} if extensions else {}
    settings |= {**(_DELTA_CONF if delta else {}), **(_COMET_CONF if comet else {})}
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # not started by spark-submit
        jars = (find_jars() or fetch_jars()) if delta else []
        # Workers are forked from this interpreter's twin; another python would lack pyarrow.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        comet_jars = (find_comet() or fetch_comet()) if comet else []
        settings |= _own_application(engine, [*jars, *comet_jars])
        if comet_jars:  # its plugin starts before Spark hands jars out
            settings |= dict.fromkeys(_CLASS_PATHS, str(comet_jars[0]))
    else:
        from pyspark import SparkContext  # noqa: PLC0415

        SparkContext._ensure_initialized()
        options = submit_options(delta=delta, comet=comet)
        for class_name, wanted, what in ((_DELTA_CLASS, delta, "Delta jars"), (_COMET_CLASS, comet, "Comet jar")):
            if wanted:
                _require_class(SparkContext._jvm, class_name, what, options)
    settings = {**settings, **conf}
    settings[_REDACTED] = redacted_settings(settings)
    for key, value in settings.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        cause = getattr(error, "java_exception", None)
        if cause is None:
            raise
        told = redact(str(cause.getMessage() or cause.getClass().getSimpleName()).splitlines()[0])[:_TOLD].rstrip(".")
        raise SetupError(
            f"engine: expected settings with which Spark starts; it says: {told}. Correct engine.master or engine.conf."
        ) from error


def redacted_settings(conf: Mapping[str, str]) -> str:
    """Spark's `spark.redaction.regex`: what its own logs and pages leave out of settings.

    Names that mean secrets, or the user's own expression, and each setting whose value came from a reference; Spark
    lists Hadoop's settings by their own names, too.
    Source: https://spark.apache.org/docs/latest/configuration.html#viewing-spark-properties.
    """
    own = [key.removeprefix("spark.hadoop.") for key, value in conf.items() if redact(value) != value]
    return "|".join([conf.get(_REDACTED, _TELLING), *(re.escape(key) for key in own)])


def _own_application(engine: EngineConfig, jars: list[Path]) -> dict[str, str]:
    local = engine.master.startswith("local")
    log_file = resources.files("batchscore") / "log4j2.properties"
    return {
        **_SMALL_CONF,
        "spark.master": engine.master,
        "spark.driver.memory": engine.driver_memory,
        **({"spark.jars": ",".join(str(jar) for jar in jars)} if jars else {}),
        # Spark makes this folder when it starts; nothing is written to it, and the user's own folder stays clean.
        "spark.sql.warehouse.dir": str(cache_folder() / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **({"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"} if local else {}),
        "spark.driver.extraJavaOptions": f"{_collector()}-Dlog4j2.configurationFile={log_file} "
        f"-Dlog4j.configurationFile={log_file}",
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.log.structuredLogging.enabled": "false",
    }


def _collector() -> str:
    """The garbage collector that costs the least in all: no pause matters. Java refuses to be told of two."""
    told = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS")
    return "" if any("-XX:+Use" in os.environ.get(name, "") for name in told) else "-XX:+UseParallelGC "


def _is_small(session: SparkSession) -> bool:
    return str(session.sparkContext.master).startswith("local")


def is_local(session: SparkSession) -> bool:
    """Whether all of an application runs in this very machine's one JVM."""
    master = str(session.sparkContext.master)
    return master == "local" or master.startswith("local[")


def _quiet_pyspark() -> None:
    """PySpark logs every SQL error as JSON, with cell values in it; batchscore re-tells errors without them."""
    from pyspark.logger import PySparkLogger  # noqa: PLC0415

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)


def _require_class(jvm: Any, class_name: str, what: str, options: str) -> None:
    try:
        jvm.java.lang.Thread.currentThread().getContextClassLoader().loadClass(class_name)
    except Exception as error:
        raise SetupError(
            f"Spark: expected the {what} on this application; found none. They must stand on its own command "
            f"line: spark-submit {options} …"
        ) from error


def _require_delta(session: SparkSession) -> None:
    _require_class(session._jvm, _DELTA_CLASS, "Delta jars", submit_options(delta=True, comet=False))
    if _DELTA_EXTENSION not in str(session.conf.get(_EXTENSIONS, "") or ""):
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
