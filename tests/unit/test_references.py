from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchscore.errors import ConfigError
from batchscore.redaction import redact
from batchscore.references import (
    MAX_FILE_BYTES,
    find_reference_faults,
    resolve,
    resolve_file,
    resolve_path,
    resolve_sqlite,
    resolve_table,
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BS_LAKE", "/data/lake-47")
    monkeypatch.setenv("BS_RELATIVE", "lake-48/here")
    monkeypatch.setenv("BS_BUCKET", "s3://bucket-49/x")
    monkeypatch.setenv("BS_EMPTY", "")
    monkeypatch.setenv("BS_LIKE_A_REFERENCE", "${env:BS_LAKE}")
    monkeypatch.delenv("BS_MISSING", raising=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${env:BS_LAKE}", "/data/lake-47"),
        ("${env:BS_LAKE}/a/${env:BS_RELATIVE}", "/data/lake-47/a/lake-48/here"),
        ("cost in $ and {braces}", "cost in $ and {braces}"),
        ("${env:BS_LIKE_A_REFERENCE}", "${env:BS_LAKE}"),  # what comes in is never expanded again
        ("", ""),
    ],
)
def test_resolve(text: str, value: str) -> None:
    assert resolve(text, "/jobs") == value


def test_resolve_reads_files_beside_the_job_and_strips_them(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pw").write_text("  s3cr3t-71\n\n")
    assert resolve("u:${file:secrets/pw}@h", str(tmp_path)) == "u:s3cr3t-71@h"
    assert resolve(f"${{file:{tmp_path}/secrets/pw}}", "/elsewhere") == "s3cr3t-71"


def test_resolved_values_are_redacted_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BS_SECRET", "canary-value-61")
    assert redact("canary-value-61") == "canary-value-61"
    resolve("${env:BS_SECRET}", "/jobs")
    assert redact("before canary-value-61 after") == "before *** after"


BAD = [
    ("${env:BS_MISSING}", "reference-missing", "environment variable 'BS_MISSING'; it is not set"),
    ("${env:BS_EMPTY}", "reference-missing", "environment variable 'BS_EMPTY'; it is set but empty"),
    ("${file:none}", "reference-missing", "${file:none}: expected a file; there is none"),
    ("${file:.}", "reference-missing", "expected a file; there is none"),
    ("${BS_LAKE}", "bad-reference", "expected '${env:NAME}' or '${file:PATH}'"),
    ("${env:}", "bad-reference", "expected '${env:NAME}'"),
    ("${env:1A}", "bad-reference", "expected '${env:NAME}'"),
    ("${env:A-B}", "bad-reference", "expected '${env:NAME}'"),
    ("${ENV:BS_LAKE}", "bad-reference", "expected '${env:NAME}'"),
    ("${env:BS_LAKE", "bad-reference", "expected '${env:NAME}'"),
    ("${env: BS_LAKE}", "bad-reference", "expected '${env:NAME}'"),
    ("${env:${env:BS_LAKE}}", "bad-reference", "expected '${env:NAME}'"),
    ("${exec:ls}", "bad-reference", "expected '${env:NAME}'"),
    ("${env:BS_LAKE}${", "bad-reference", "expected '${env:NAME}'"),
]


@pytest.mark.parametrize(("text", "code", "message"), BAD)
def test_bad_references(tmp_path: Path, text: str, code: str, message: str) -> None:
    faults = list(find_reference_faults(text, str(tmp_path)))
    assert [fault[0] for fault in faults] == [code]
    assert message in faults[0][1]
    with pytest.raises(ConfigError) as caught:
        resolve(text, str(tmp_path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"x" * (MAX_FILE_BYTES + 1), f"expected at most {MAX_FILE_BYTES} bytes"),
        (b"canary\xff", "expected a readable text file; found UnicodeDecodeError"),
    ],
)
def test_bad_secret_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "pw").write_bytes(content)
    ((code, text),) = find_reference_faults("${file:pw}", str(tmp_path))
    assert code == "reference-missing"
    assert message in text
    assert "canary" not in text


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="expected a file"):
        resolve("${file:pipe}", str(tmp_path))


def test_no_fault_where_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("x")
    assert list(find_reference_faults("${env:BS_LAKE}/${file:pw}", str(tmp_path))) == []


@pytest.mark.parametrize(
    ("text", "folder", "found"),
    [
        ("lake/[a]", "/jobs", r"found \[ \] in '/jobs/lake/\[a\]'"),
        ("./flights", "/jobs {old}", r"found \{ \} in '/jobs \{old\}/flights'"),
        ("s3://bucket/day=*", "/jobs", r"found \* in 's3://bucket/day=\*'"),
        ("/lake/what?", "/jobs", r"found \? in"),
    ],
)
def test_a_table_path_is_no_pattern(text: str, folder: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"expected a path without .*{found}.* Rename the folder"):
        resolve_table(text, folder)


@pytest.mark.parametrize("text", ["lake/a (old), b=1", "flights", "catalog.schema.flights", "s3://bucket/x"])
def test_other_table_paths_are_as_any_path(text: str) -> None:
    assert resolve_table(text, "/jobs") == resolve_path(text, "/jobs")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("lake/flights", "/jobs/a/lake/flights"),
        ("./lake/flights/", "/jobs/a/lake/flights"),
        ("../lake//flights", "/jobs/lake/flights"),
        ("../../../../x/y", "/x/y"),
        ("/abs/./flights", "/abs/flights"),
        ("//abs/flights", "/abs/flights"),
        ("s3://bucket/a/../b", "s3://bucket/a/../b"),
        ("file:///abs/x", "file:///abs/x"),
        ("dbfs:/x", "dbfs:/x"),
        ("abfss://c@acc.dfs.core.windows.net/x", "abfss://c@acc.dfs.core.windows.net/x"),
        ("flights", "flights"),
        ("catalog.schema.flights", "catalog.schema.flights"),
        ("${env:BS_LAKE}/flights", "/data/lake-47/flights"),
        ("${env:BS_RELATIVE}/flights", "/jobs/a/lake-48/here/flights"),
        ("${env:BS_BUCKET}/flights", "s3://bucket-49/x/flights"),
    ],
)
def test_resolve_path(text: str, path: str) -> None:
    assert resolve_path(text, "/jobs/a") == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("suite.json", "/jobs/a/suite.json"),
        ("e/../suite.json", "/jobs/a/suite.json"),
        ("/abs/suite.json", "/abs/suite.json"),
        ("${env:BS_RELATIVE}.json", "/jobs/a/lake-48/here.json"),
    ],
)
def test_resolve_file(text: str, path: str) -> None:
    assert resolve_file(text, "/jobs/a") == path


@pytest.mark.parametrize(
    ("uri", "resolved"),
    [
        ("sqlite:///mlflow.db", "sqlite:////jobs/a/mlflow.db"),
        ("sqlite:///./demo/../mlflow.db", "sqlite:////jobs/a/mlflow.db"),
        ("sqlite:////abs/mlflow.db", "sqlite:////abs/mlflow.db"),
        ("sqlite:///mlflow.db?timeout=5", "sqlite:////jobs/a/mlflow.db?timeout=5"),
        ("sqlite+pysqlite:///mlflow.db", "sqlite+pysqlite:////jobs/a/mlflow.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
        ("http://host:5000", "http://host:5000"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("databricks", "databricks"),
        ("./mlruns", "/jobs/a/mlruns"),
        ("/abs/mlruns", "/abs/mlruns"),
        ("sqlite:///${env:BS_RELATIVE}/m.db", "sqlite:////jobs/a/lake-48/here/m.db"),
        ("sqlite:///${env:BS_LAKE}/m.db", "sqlite:////data/lake-47/m.db"),
    ],
)
def test_resolve_sqlite(uri: str, resolved: str) -> None:
    assert resolve_sqlite(uri, "/jobs/a") == resolved
