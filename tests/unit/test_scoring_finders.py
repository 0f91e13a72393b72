"""Which import finders a worker forgets, and that imports still work."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path

import pytest

from batchscore.scoring.finders import drop_spark_finders


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("pyspark.zip", False),
        ("py4j-0.10.9.9-src.zip", False),
        ("spark-core_2.13-4.1.4.jar", False),
        ("features.zip", True),
        ("my-pyspark.zip", True),
    ],
)
def test_finders_of_sparks_own_files_go_and_imports_still_work(
    name: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / name
    with zipfile.ZipFile(archive, "w") as file:
        for module in ("first", "second"):
            file.writestr(f"zipped_package/{module}.py", "")
        file.writestr("zipped_package/__init__.py", "")
    monkeypatch.syspath_prepend(str(archive))
    importlib.import_module("zipped_package.first")
    places = {str(archive), str(archive / "zipped_package")}
    assert places <= set(sys.path_importer_cache)

    drop_spark_finders()

    assert places & set(sys.path_importer_cache) == (places if kept else set())
    importlib.import_module("zipped_package.second")
    for module in [m for m in sys.modules if m.startswith("zipped_package")]:
        del sys.modules[module]
