"""Hostile job files: refused within a second, with a place where there is one, and never by a traceback.

FUZZ_EXAMPLES in the environment sets how many examples each fuzz test tries (default 150).
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_in_yaml import FULL, load_text, make_text

from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.loading import load_job

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)
GOOD = make_text()

CORPUS: dict[str, tuple[bytes | str, str]] = {
    "alias bomb": (BOMB, "job.yaml:1:5: anchor: anchors are not allowed; found '&a0'"),
    "alias bomb, aliases": (BOMB, "job.yaml:2:10: alias: aliases are not allowed; found '*a0'"),
    "anchor of itself": (GOOD + "checks: &a {input: *a}\n", "job.yaml:6:20: alias"),
    "unknown alias": (GOOD + "checks: *nothing\n", "job.yaml:6:9: alias"),
    "alias as key": (GOOD + "*a : 1\n", "job.yaml:6:1: alias"),
    "anchor on a key": (GOOD + "&a checks: {}\n", "job.yaml:6:1: anchor"),
    "nested lists": ("[" * 20_000, "job.yaml:1:16385: long-line: expected at most 16384 characters"),
    "nested lists, many lines": ("[\n" * 20_000, "job.yaml:33:1: too-deep: expected at most 32 levels"),
    "nested lists, closed": ("x: " + "[" * 8_000 + "]" * 8_000, "job.yaml:1:35: too-deep"),
    "nested mappings": ("{a: " * 4_000, "job.yaml:1:129: too-deep"),
    "nested block lists": ("- " * 8_000, "job.yaml:1:65: too-deep"),
    "nested block lists, many lines": ("".join(f"{' ' * n}-\n" for n in range(900)), "job.yaml:33:33: too-deep"),
    "nested block mappings": ("".join(f"{' ' * n}a:\n" for n in range(900)), "job.yaml:33:33: too-deep"),
    "nested complex keys": ("? " * 8_000, "job.yaml:1:65: too-deep"),
    "one very long tag": ("!" + "a" * 900_000, "job.yaml:1:16385: long-line"),
    "python object": (GOOD + "checks: !!python/object/apply:os.system [touch marker]\n", "job.yaml:6:9: tag: tags are"),
    "python name": (GOOD + "checks: !!python/name:os.system\n", "job.yaml:6:9: tag"),
    "python tag, whole": (GOOD + "checks: !<tag:yaml.org,2002:python/object:os.system> {}\n", "job.yaml:6:9: tag"),
    "local tag": (GOOD.replace("flights", "!secret flights", 1), "job.yaml:1:6: tag: tags are not allowed"),
    "core tag": (GOOD.replace("flights", "!!str flights", 1), "job.yaml:1:6: tag"),
    "bare tag": (GOOD.replace("flights", "! flights", 1), "job.yaml:1:6: tag"),
    "tag on a key": (GOOD + "!!str checks: {}\n", "job.yaml:6:1: tag"),
    "binary": (GOOD + "checks: !!binary aGVsbG8=\n", "job.yaml:6:9: tag"),
    "set": (GOOD + "checks: !!set {a, b}\n", "job.yaml:6:9: tag"),
    "tag directive": ("%TAG ! tag:evil.example,2000:\n---\n" + GOOD, "tag: %TAG directives are not allowed"),
    "version directive": ("%YAML 1.1\n---\n" + GOOD, "yaml-version: expected YAML 1.2"),
    "merge key": (GOOD + "checks: {<<: {input: a}}\n", "job.yaml:6:10: merge-key: merge keys are not allowed"),
    "merge of an alias": (GOOD + "<<: *defaults\n", "job.yaml:6:1: merge-key"),
    "two documents": (GOOD + "---\n" + GOOD, "job.yaml:6:1: many-documents: expected one document"),
    "many documents": ("---\n" * 200_000, "job.yaml:2:1: many-documents"),
    "doubled at every depth": (
        GOOD + "job: x\nengine: {conf: {a: b, a: c}}\nlookups: {w: {on: [a], on: [b]}, w: {}}\n",
        "job.yaml:8:24: doubled-key: 'on' is given twice",
    ),
    "too large": (GOOD + "# padding\n" * 110_000, "job.yaml: too-large: expected at most 1048576 bytes"),
    "too many values": (GOOD + "checks: [" + "\n" + "a,\n" * 50_001 + "]\n", "too-long: expected at most 50000"),
    "Latin-1": ("job: flights # é\n".encode("latin-1"), "job.yaml:1:16: not-utf8: expected UTF-8; found byte 0xe9"),
    "UTF-16": (GOOD.encode("utf-16"), "job.yaml:1:1: not-utf8: expected UTF-8; found byte 0xff"),
    "UTF-32": (GOOD.encode("utf-32-le"), "job.yaml:1:2: bad-character: U+0000"),
    "surrogates in UTF-8": (b"job: \xed\xa0\x80\n", "job.yaml:1:6: not-utf8"),
    "overlong UTF-8": (b"job: \xc0\xaf\n", "job.yaml:1:6: not-utf8"),
    "NUL": ("job: fl\0ights\n", "job.yaml:1:8: bad-character: U+0000 may not stand in a job file"),
    "bell": ("job: fl\aights\n", "job.yaml:1:8: bad-character: U+0007"),
    "ANSI escape": ("job: \x1b[31mflights\n", "job.yaml:1:6: bad-character: U+001B"),
    "text that runs backwards": ("job: \u202eflights\n", "job.yaml:1:6: bad-character: U+202E"),
    "byte order mark inside": ("job: \ufeffflights\n", "job.yaml:1:6: bad-character: U+FEFF"),
    "escaped NUL": (GOOD.replace("flights", '"a\\0"', 1), "job.yaml:1:6: bad-character: the escape gives U+0000"),
    "escaped surrogate": (
        GOOD.replace("flights", '"\\ud800"', 1),
        "job.yaml:1:6: bad-character: the escape gives U+D800",
    ),
    "escape beyond Unicode": (GOOD.replace("flights", '"\\UFFFFFFFF"', 1), "yaml-syntax"),
    "escape in a key": (GOOD + '"ch\\x07ecks": {}\n', "job.yaml:6:1: bad-character"),
    "tab for indentation": (GOOD + "checks:\n\tinput: a\n", "job.yaml:7:1: tab: expected spaces; found a tab"),
    "tab after spaces": (GOOD + "checks:\n  \tinput: a\n", "job.yaml:7:3: tab"),
    "open quote": (GOOD + 'checks: {input: "a\n', "yaml-syntax: cannot be read as YAML"),
    "open bracket": (GOOD + "checks: {input: [a\n", "yaml-syntax"),
    "wrong indentation": (GOOD + "checks:\n   input: a\n  output: b\n", "job.yaml:8:3: yaml-syntax"),
    "colon in a text": (GOOD + "checks: a: b\n", "job.yaml:6:10: yaml-syntax: cannot be read as YAML: mapping values"),
    "unquoted at sign": (GOOD.replace("flights", "@flights", 1), "job.yaml:1:6: yaml-syntax"),
    "unquoted percent": (GOOD.replace("flights", "%flights", 1), "yaml-syntax"),
    "huge number": (GOOD + f"scoring: {{batch_rows: 0x{'f' * 10_000}}}\n", "job.yaml:6:23: out-of-range"),
    "date": (GOOD.replace("flights", "2013-10-01", 1), "job.yaml:1:6: bad-name"),
}


@pytest.mark.parametrize(("text", "message"), CORPUS.values(), ids=CORPUS.keys())
def test_hostile_file_is_refused(tmp_path: Path, text: bytes | str, message: str) -> None:
    load_text(tmp_path, GOOD)  # imports and the validator are built before the clock runs
    start = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    spent_s = time.process_time() - start
    assert message in str(caught.value)
    assert len(str(caught.value)) < 50_000
    # far above what it takes, and far below what a loader would that looks at every pair of entries
    assert spent_s < (20.0 if "too-long" in message else 5.0)
    assert not (tmp_path / "marker").exists()


def test_alias_bomb_reports_every_alias_but_expands_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"91 faults in ") as caught:
        load_text(tmp_path, BOMB)
    assert str(caught.value).count(": alias: ") == 81


def test_byte_order_mark_at_the_start_is_accepted(tmp_path: Path) -> None:
    assert load_text(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()).config.job == "flights"


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_other_line_ends_are_accepted_and_counted(tmp_path: Path, newline: str) -> None:
    assert load_text(tmp_path, GOOD.replace("\n", newline)).config.job == "flights"
    with pytest.raises(ConfigError, match=r"job\.yaml:6:1: unknown-key"):
        load_text(tmp_path, (GOOD + "x: 1\n").replace("\n", newline))


def test_tabs_in_comments_are_accepted(tmp_path: Path) -> None:
    assert load_text(tmp_path, GOOD.replace("job: flights", "job: flights # a\tcomment")).config.job == "flights"


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match=r"^nowhere/job\.yaml: expected a job file; there is none"):
        load_job("nowhere/job.yaml")


@pytest.mark.parametrize("name", ["a\0b.yaml", "x" * 5000, "\ud800"], ids=["NUL", "long", "surrogate"])
def test_impossible_file_name(name: str) -> None:
    with pytest.raises(ConfigError, match="job file"):
        load_job(name)


def test_folder_and_pipe_are_refused_without_opening_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe"):
        with pytest.raises(ConfigError, match="expected a YAML file; found something else"):
            load_job(tmp_path / name)


def outcome(folder: Path, text: str | bytes, *sets: str) -> None:
    """Load a text: a Job or a ConfigError with its count line; anything else fails the test."""
    start = time.process_time()
    try:
        assert isinstance(load_text(folder, text, *sets), Job)
    except ConfigError as error:
        assert "job.yaml" in str(error).splitlines()[-1]
    assert time.process_time() - start < 1.0


SIGNS = [": ", ":\n", "- ", "? ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", "#", " #", "'", '"', "|\n", ">-\n"]
WORDS = [
    "job",
    "input",
    "table",
    "a/b",
    "features",
    "columns",
    "name",
    "on_null",
    "impute",
    "engine",
    "no",
    "010",
    "1e3",
]
TRICKS = [
    "&a ",
    "*a ",
    "!t ",
    "!!str ",
    "<<",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "\t",
    "\\",
    "@",
    "`",
    "~",
    ".nan",
    "0x1F",
]
PIECES = st.sampled_from([*SIGNS, *WORDS, *TRICKS, "${env:HOME}", "${"])
FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join))
def test_fuzz_yaml_like_text(tmp_path: Path, text: str) -> None:
    outcome(tmp_path, text.encode(errors="surrogatepass"))


@FUZZ
@given(st.binary(max_size=200))
def test_fuzz_bytes(tmp_path: Path, content: bytes) -> None:
    outcome(tmp_path, content)


@FUZZ
@given(st.data())
def test_fuzz_mutations_of_a_good_file(tmp_path: Path, data: st.DataObject) -> None:
    text = FULL
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(PIECES | st.text(max_size=4) | st.just("")) + text[end:]
    outcome(tmp_path, text.encode(errors="surrogatepass"))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "nan", "day"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "sql", "from", "impute", "table", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = """
    job interval interval.grain input.key input.key.0 lookups lookups.weather lookups.weather.on checks.input
    features.columns features.columns.1 features.columns.1.on_null features.columns.1.on_null.impute
    model.inputs.features model.outputs scoring.batch_rows engine.conf engine.conf.a.b
"""
PATHS = st.sampled_from(PLACES.split())


@FUZZ
@given(st.dictionaries(PATHS, VALUES, min_size=1, max_size=4))
def test_fuzz_values_of_wrong_types(tmp_path: Path, values: dict[str, object]) -> None:
    """Any value in any place: the repair that lets the rules run must cope with all of them."""
    outcome(tmp_path, FULL, *(f"{path}={write_flow(value)}" for path, value in values.items()))


def write_flow(value: object) -> str:
    """A value in YAML's flow style; JSON but for the numbers that JSON lacks."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write_flow(key)}: {write_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(write_flow(item) for item in value) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf"
    return "null" if value is None else str(value).lower()
