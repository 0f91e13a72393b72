"""Run batchscore on a Databricks driver, with open-source Spark and Delta of its own.

Databricks' runtime brings another build of Delta, whose log batchscore cannot read through. So this makes a virtual
environment on the node's disk, and starts the command line there, without what the runtime tells Spark and Python.
It takes what pip is to install, then batchscore's own arguments.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path("/local_disk0/batchscore")
TAKEN = ("SPARK_", "PYSPARK_", "PYTHON", "CLASSPATH", "VIRTUAL_ENV", "MLFLOW_TRACKING_URI")


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to the runtime's own Spark and Python."""
    return {name: value for name, value in environment.items() if not name.startswith(TAKEN)}


def main(arguments: list[str]) -> int:
    """Install once, run, and give batchscore's own exit code."""
    package, *words = arguments
    python = FOLDER / "venv" / "bin" / "python"
    environment = own_environment(os.environ)
    if not python.exists():
        venv.create(FOLDER / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", package], env=environment, check=True)
    return subprocess.run([python, "-m", "batchscore", *words], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
