"""The documents are true: their commands run, their jobs load, their queries answer, their tables are complete."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from config_keys import Key, list_keys
from documents import PAGES, REPOSITORY, Block, Command, find_blocks, find_commands, find_rows
from ruamel.yaml import YAML

from batchscore.checks.suite import load_suite
from batchscore.cli import _COMMANDS, run_cli
from batchscore.errors import EXIT_CODES
from batchscore.jvm import DELTA_PACKAGE, JARS_VARIABLE
from batchscore.loading import load_job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CHECKED = frozenset("bash console json python sh sql text yaml".split())
MINIMAL = {
    "job": "documented",
    "interval": {"grain": "snapshot"},
    "input": {"table": "lake/rows"},
    "model": {"uri": "models:/documented@champion"},
    "output": {"scores": "lake/scores"},
}
COMMANDS = find_commands()
MAKE = [c for c in COMMANDS if c.line.startswith("make ")]
OURS = [c for c in COMMANDS if c.line.startswith(("batchscore ", "spark-submit "))]
SHELL = [c for c in COMMANDS if c not in MAKE and c not in OURS]


@pytest.fixture(scope="module")
def copied(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the demo that the documents' commands may change."""
    folder = tmp_path_factory.mktemp("documents")
    shutil.copytree(demo_folder, folder / "demo")
    return folder


@pytest.fixture
def here(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, as the current one."""
    monkeypatch.chdir(copied)
    return copied


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert {str(b): b.language for b in find_blocks() if b.language not in CHECKED} == {}


@pytest.mark.parametrize("command", MAKE, ids=str)
def test_make_knows_its_targets(command: Command) -> None:
    words = shlex.split(command.line)
    done = subprocess.run(["make", "-n", *words[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", OURS, ids=str)
def test_commands_succeed_and_print_what_is_shown(
    command: Command, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command.line)
    if words[0] == "spark-submit":  # the program that it starts; that Spark finds the jars is proved elsewhere
        program = words.index("jobs/score.py")
        assert (REPOSITORY / words[program]).is_file()
        assert words[1:program] == ["--packages", DELTA_PACKAGE]
        words = words[program:]
    code = run_cli(words[1:])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    if "--json" in words:
        json.loads(printed.out)
    assert _missing(command.output, printed.out) == [], printed.out


@pytest.mark.parametrize("command", SHELL, ids=str)
def test_other_shell_lines(command: Command) -> None:
    known = {
        ". .venv/bin/activate": "VENV := .venv" in (REPOSITORY / "Makefile").read_text(encoding="utf-8"),
        f"export {JARS_VARIABLE}=/opt/batchscore/jars": True,
    }
    assert known.get(command.line), f"{command}: nothing checks this line"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_targets_named_in_running_text_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`batchscore ([a-z-]+)", text)) <= set(_COMMANDS)
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= set(targets)
    for options in re.findall(r"`batchscore ([a-z-]+ .*?)`", text):
        _check_options(shlex.split(options))


@pytest.mark.parametrize("block", find_blocks("yaml"), ids=str)
def test_jobs_load(block: Block, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\$\{env:(\w+)\}", block.text):
        monkeypatch.setenv(name, "/documented")
    shown = YAML(typ="safe").load(block.text) or {}
    text = block.text
    if "job" not in shown:
        sections = {**MINIMAL, **{key: _merge(MINIMAL.get(key), value) for key, value in shown.items()}}
        if {"ensemble", "segments"} & set(sections["model"]):
            del sections["model"]["uri"]
        text = json.dumps(sections)  # YAML 1.2 takes JSON as it is
    (here / "demo" / "documented.yaml").write_text(text, encoding="utf-8")
    job = load_job("demo/documented.yaml")
    assert job.config.job == shown.get("job", "documented")


@pytest.mark.parametrize("block", find_blocks("json"), ids=str)
def test_suites_load(block: Block, tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text(block.text, encoding="utf-8")
    assert load_suite(str(tmp_path / "suite.json"), "input").expectations


@pytest.mark.parametrize("block", find_blocks("python"), ids=str)
def test_python_runs(block: Block, here: Path, spark: SparkSession) -> None:
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)
    frames = [value for value in names.values() if hasattr(value, "collect")]
    assert all(frame.collect() for frame in frames)


@pytest.mark.parametrize("block", find_blocks("sql"), ids=str)
def test_queries_answer(block: Block, here: Path, spark: SparkSession) -> None:
    """Spark counts relative paths from where its process began."""
    query = block.text.replace("`demo/", f"`{here}/demo/")
    assert query != block.text
    assert spark.sql(query).limit(1).collect()


def test_exit_codes_are_all_listed() -> None:
    rows = find_rows((REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8"))
    assert [(int(row[0]), row[1]) for row in rows if row[0].isdigit()] == list(EXIT_CODES)


def test_every_key_is_described() -> None:
    rows = _key_rows()
    assert sorted(rows) == sorted(key.path for key in list_keys())


@pytest.mark.parametrize("key", [*list_keys()], ids=lambda key: key.path)
def test_keys_are_described_with_default_and_choices(key: Key) -> None:
    default, meaning = _key_rows()[key.path]
    assert default == key.default
    assert [choice for choice in key.choices if f"`{choice}`" not in f"{default} {meaning}"] == []
    assert meaning.endswith(".")


def test_links_lead_somewhere() -> None:
    broken = [f"{page.name}: {link}" for page in PAGES for link in _links(page) if not _leads(page, link)]
    assert broken == []


def _missing(shown: tuple[str, ...], printed: str) -> list[str]:
    """Shown lines that were not printed in this order, numbers and ids aside; `…` stands for lines left out."""
    rest = iter([_mask(line) for line in printed.splitlines()])
    return [line for line in shown if line.strip() != "…" and _mask(line) not in rest]


def _mask(line: str) -> str:
    line = re.sub(r"\d{8}T\d{6}-[0-9a-f]{8}|\b[0-9a-f]{16,}\b|\d[\d,.]*", "#", line)
    return " ".join(line.split())


def _check_options(words: list[str]) -> None:
    """Options named in running text are options of that command."""
    command = importlib.import_module(f"batchscore.cli.{words[0]}").command
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= options


def _merge(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merge(below.get(key), value) for key, value in above.items()}
    return above


def _key_rows() -> dict[str, tuple[str, str]]:
    rows = find_rows((REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8"))
    return {row[0].strip("`"): (row[1], row[2]) for row in rows if row[0].startswith("`")}


def _links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            yield link


def _leads(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists() or not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
