"""What Spark's JVM needs of this machine: Java itself, and the Delta and Comet jars, which are fetched once."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from batchscore.errors import SetupError

DELTA_PACKAGE = "io.delta:delta-spark_4.1_2.13:4.4.0"
COMET_PACKAGE = "org.apache.datafusion:comet-spark-spark4.1_2.13:1.2.0"
JARS_VARIABLE = "BATCHSCORE_JARS"
JAVA_VERSIONS = (17, 21)
_DELTA_JARS = ("delta-spark_4.1_2.13-4.4.0", "delta-storage-4.4.0", "unitycatalog-client-", "unitycatalog-hadoop-")
_COMET_JAR = "comet-spark-spark4.1_2.13-1.2.0"


def find_jars() -> list[Path]:
    """The Delta jars of this machine: from `BATCHSCORE_JARS`, or batchscore's cache; empty where there are none."""
    return _find_all(jars_folder(), _DELTA_JARS)


def find_comet() -> list[Path]:
    """Comet's jar, from `BATCHSCORE_JARS` or batchscore's cache; empty where there is none."""
    return _find_all(comet_folder(), (_COMET_JAR,))


def jars_folder() -> Path:
    """Where the Delta jars are kept."""
    return _folder("delta-4.4.0")


def comet_folder() -> Path:
    """Where Comet's jar is kept."""
    return _folder("comet-1.2.0")


def cache_folder() -> Path:
    """What batchscore keeps on this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "batchscore"


def fetch_jars() -> list[Path]:
    """Fetch the Delta jars once, through Spark's own Ivy, and keep the ones that Spark lacks.

    Raises:
        SetupError: They could not be fetched.
    """
    return find_jars() or _fetch(
        "Delta jars", DELTA_PACKAGE, jars_folder(), find_jars, ("io.delta_", "io.unitycatalog_")
    )


def fetch_comet() -> list[Path]:
    """Fetch Comet's jar once, through Spark's own Ivy.

    Raises:
        SetupError: It could not be fetched.
    """
    return find_comet() or _fetch("Comet jar", COMET_PACKAGE, comet_folder(), find_comet, ("org.apache.datafusion_",))


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


def submit_options(*, delta: bool, comet: bool) -> str:
    """What `spark-submit` must be told of jars: those of this machine, or the packages to fetch."""
    jars, packages = [], []
    for wanted, found, package in ((delta, find_jars, DELTA_PACKAGE), (comet, find_comet, COMET_PACKAGE)):
        if wanted and (paths := found()):
            jars += [str(path) for path in paths]
        elif wanted:
            packages.append(package)
    options = ["--jars", ",".join(jars)] if jars else []
    options += ["--packages", ",".join(packages)] if packages else []
    if comet and (paths := find_comet()):  # its plugin starts before Spark hands jars out
        options += ["--driver-class-path", str(paths[0]), "--conf", f"spark.executor.extraClassPath={paths[0]}"]
    return shlex.join(options)


def _folder(name: str) -> Path:
    named = os.environ.get(JARS_VARIABLE)
    return Path(named).expanduser() if named else cache_folder() / "jars" / name


def _find_all(folder: Path, needed: Sequence[str]) -> list[Path]:
    found = [next(iter(sorted(folder.glob(f"*{name}*.jar"))), None) for name in needed]
    return [] if None in found else sorted(jar for jar in found if jar is not None)


def _fetch(what: str, package: str, folder: Path, find: Callable[[], list[Path]], kept: tuple[str, ...]) -> list[Path]:
    """Have Spark's Ivy fetch a package, and keep its own jars; the rest is Spark's own."""
    check_java()
    folder.mkdir(parents=True, exist_ok=True)
    ivy = folder / "ivy"
    code = (
        "from pyspark.sql import SparkSession; SparkSession.builder.master('local[1]')"
        f".config('spark.jars.packages', {package!r}).config('spark.jars.ivy', {str(ivy)!r})"
        ".config('spark.ui.enabled', 'false').getOrCreate().stop()"
    )
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and a fixed text
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(_fetch_message(what, package, folder, "no answer within 600 s")) from error
    for jar in (ivy / "jars").glob("*.jar"):
        if jar.name.startswith(kept):
            shutil.copy2(jar, folder / jar.name)
    shutil.rmtree(ivy, ignore_errors=True)
    found = find()
    if not found:
        tail = [line for line in done.stderr.splitlines() if "::" in line or "Error" in line or "Exception" in line]
        said = tail[-1].strip() if tail else f"exit code {done.returncode}"
        raise SetupError(_fetch_message(what, package, folder, said))
    return found


def _fetch_message(what: str, package: str, folder: Path, found: str) -> str:
    return (
        f"{what}: expected {package} to be fetched into {folder}; found: {found}. "
        f"On a machine without network, copy the jars there from another one, or set {JARS_VARIABLE}."
    )
