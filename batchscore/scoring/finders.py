"""Import finders of a worker: Spark has each task read its zipped Python again, which costs more than a small task."""

from __future__ import annotations

import re
import sys
from zipimport import zipimporter

_SPARKS_OWN = re.compile(r".*[/\\](pyspark\.zip|py4j-[0-9.]+-src\.zip|spark-core_[^/\\]+\.jar)")  # Spark's PYTHONPATH


def drop_spark_finders() -> None:
    """Forget this process's finders for Spark's own zip files; an import that needs one makes it anew, from a cache.

    Before each task PySpark calls `importlib.invalidate_caches`, upon which every finder of a zip file reads the
    file's whole directory in pure Python, and there is one finder for each package in it: 0.2 s a task, seen with
    Python 3.11 and pyspark 4.1. Those files do not change; zip files that users bring are left as they are.

    Source: pyspark 4.1, worker_util.py, setup_spark_files; CPython, Lib/zipimport.py.
    """
    for path, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimporter) and _SPARKS_OWN.fullmatch(finder.archive):
            del sys.path_importer_cache[path]
