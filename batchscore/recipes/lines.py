"""Command lines: `spark-submit` for this machine, a standalone cluster and YARN."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from batchscore.errors import ConfigError
from batchscore.jvm import submit_options
from batchscore.recipes.submission import Submission
from batchscore.references import has_reference
from batchscore.session import needs_delta


def submit_words(submission: Submission) -> list[str]:
    """The words of a `spark-submit` line up to the script; what Spark must know before it starts.

    Everything else of `engine.conf` is set by the job itself, references resolved, so that no secret stands on a line.

    Raises:
        ConfigError: The target needs a master, or an environment that it cannot take.
    """
    engine = submission.job.config.engine
    words = ["spark-submit", "--master", _master(submission)]
    if submission.target == "yarn":
        words += ["--deploy-mode", "client"]
    words += ["--driver-memory", engine.driver_memory]
    options = submit_options(delta=needs_delta(submission.job.config), comet=engine.accelerator == "comet")
    words += _with_own(shlex.split(options), engine.conf)
    words += _environment_words(submission)
    script = submission.wishes.script
    return [*words, str(Path(script).absolute()) if submission.target == "airflow" else script]


def submit_line(submission: Submission) -> str:
    """The whole line, as a shell takes it."""
    return shlex.join([*submit_words(submission), *submission.arguments()])


def _master(submission: Submission) -> str:
    master = submission.wishes.master or submission.job.config.engine.master
    match submission.target:
        case "yarn":
            return "yarn"
        case "standalone" if not master.startswith("spark://"):
            raise ConfigError(
                "submit-cmd: expected the cluster's master, as --master spark://HOST:7077; found neither that nor "
                "engine.master."
            )
    return master


def _with_own(words: list[str], conf: Mapping[str, str]) -> list[str]:
    """The words with the jars and packages that the job names itself, which Spark must know before it starts, too."""
    for option, key in (("--jars", "spark.jars"), ("--packages", "spark.jars.packages")):
        named = conf.get(key)
        if named is None or has_reference(named):
            continue
        if option in words:
            place = words.index(option) + 1
            words[place] = f"{words[place]},{named}"
        else:
            words += [option, named]
    return words


def _environment_words(submission: Submission) -> list[str]:
    """How executors come by their Python packages.

    Source: https://spark.apache.org/docs/latest/api/python/tutorial/python_packaging.html.
    """
    packed = submission.wishes.environment
    if packed is None:
        return []
    if submission.target == "local":
        raise ConfigError("--env: expected none for --target local: its workers have this machine's own packages.")
    driver = f"spark.pyspark.driver.python={sys.executable}"
    if packed.endswith(".pex"):
        python, sent = f"./{Path(packed).name}", ["--files", packed]
    elif packed.endswith((".tar.gz", ".tgz", ".zip")):
        python, sent = "./environment/bin/python", ["--archives", f"{packed}#environment"]
    else:
        raise ConfigError(f"--env {packed}: expected a .pex, or a .tar.gz that conda-pack or venv-pack made.")
    return [*sent, "--conf", f"spark.pyspark.python={python}", "--conf", driver]
