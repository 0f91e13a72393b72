"""The house keeps its own rules: names, sizes, imports, and what each way in may load."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from module_map import PACKAGE, PAGE, REPOSITORY, draw_map, first_line, read_map, source_files
from packaging.requirements import Requirement

import batchscore
from batchscore.cli import _COMMANDS
from batchscore.patterns import MODEL_URI

DRIVER = frozenset(
    "click delta great_expectations mlflow onnx pandas pydantic pydantic_core pyspark rich ruamel sklearn".split()
)
HEAVY = frozenset(["great_expectations", "mlflow", "onnxruntime", "pandas", "pyspark"])
PUBLIC = [
    "BatchscoreError",
    "Job",
    "JobConfig",
    "Plan",
    "RunRecord",
    "arrow_feature",
    "backfill",
    "block",
    "check",
    "discard",
    "erase",
    "evaluate",
    "expire",
    "explain_row",
    "feature",
    "fit_encoders",
    "gx_results",
    "list_features",
    "load",
    "log_model",
    "maintain",
    "migrate",
    "plan",
    "preview",
    "publish_held",
    "quarantine",
    "redrive",
    "release",
    "repair",
    "replay",
    "resume",
    "rollback",
    "run",
    "runs",
    "score_udf",
    "scores",
    "show",
    "spark_session",
    "staged",
    "status",
    "suggest",
    "training_set",
    "unblock",
    "verify_audit",
    "waive",
    "write_index",
    "write_report",
]


def loaded_by(code: str) -> frozenset[str]:
    """Top-level modules that a fresh process holds after running some code."""
    tail = "; import json, sys; print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


def written_files() -> Iterator[Path]:
    """Every text file that people wrote."""
    for pattern in ("*", ".ci/*", "configs/**/*", "docs/**/*", "jobs/**/*", "notebooks/**/*", "batchscore/**/*"):
        for path in REPOSITORY.glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".log", ".json"):
                yield path


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        pytest.param("import batchscore", DRIVER | HEAVY, id="the package"),
        pytest.param("import batchscore.scoring.udf, batchscore.kernel.batch", DRIVER, id="an executor"),
        pytest.param("import batchscore.cli", HEAVY | {"pydantic", "ruamel"}, id="the command line"),
        pytest.param("from batchscore.cli import run_cli; assert run_cli(['--help']) == 0", HEAVY, id="--help"),
        pytest.param("from batchscore.cli import run_cli; assert run_cli(['schema']) == 0", HEAVY, id="schema"),
        pytest.param(
            "from batchscore.cli import run_cli; assert run_cli(['validate', 'configs/flights.yaml']) == 0",
            HEAVY,
            id="validate",
        ),
    ],
)
def test_each_way_in_loads_only_what_it_needs(code: str, forbidden: frozenset[str]) -> None:
    assert loaded_by(code) & forbidden == frozenset()


def test_the_probe_of_fresh_processes_sees_what_is_loaded() -> None:
    assert {"batchscore", "click", "pydantic"} <= loaded_by("import batchscore.loading, click")


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from batchscore.cli import run_cli  # noqa: PLC0415

    assert run_cli([name, "--help"]) == 0
    assert "Usage: batchscore" in capsys.readouterr().out


def test_imports_keep_their_contracts() -> None:
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False
    )
    assert "0 broken" in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", source_files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_explains_itself_in_one_sentence(path: Path) -> None:
    assert first_line(path).endswith(".")


def test_the_map_shows_every_module() -> None:
    assert read_map() == draw_map(), "`make map` draws it again"


def test_the_drawn_layers_are_the_contract() -> None:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    layers = [set(re.findall(r"\w+", line)) for line in config["importlinter:contract:layers"]["layers"].split("\n")]
    section = PAGE.read_text(encoding="utf-8").split("## Who may import whom")[1]
    drawn = section.split("```text\n")[1].split("```")[0].splitlines()
    wanted = [layer for layer in layers if layer and layer != {"__main__"}]
    assert [set(line.split("#")[0].split()) for line in drawn] == wanted


def test_files_stay_small() -> None:
    lines = {p.relative_to(PACKAGE).as_posix(): p.read_text(encoding="utf-8").count("\n") for p in source_files()}
    assert {name: count for name, count in lines.items() if count > 350} == {}
    assert statistics.median(lines.values()) < 150


def test_only_the_command_line_prints() -> None:
    printing = [
        path.relative_to(PACKAGE).as_posix()
        for path in source_files()
        if path.relative_to(PACKAGE).parts[0] != "cli"
        and any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert printing == []


def test_public_names() -> None:
    assert batchscore.__all__ == PUBLIC == sorted(PUBLIC)
    assert sorted(batchscore._HOMES) == PUBLIC
    assert all(getattr(batchscore, name) is not None for name in PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'scoer'"):
        batchscore.scoer  # noqa: B018


def test_no_model_version_is_called_latest() -> None:
    assert MODEL_URI.match("models:/flights_delay/latest") is None
    wanted = re.compile(r"models:/[^\s\"'`@]+/latest|latest_version|get_latest")
    assert [str(path) for path in written_files() if wanted.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("name", ["constraints.txt", "setup.cfg", "pyproject.toml", "Makefile", ".ci/run"])
def test_set_up_names_no_package_index(name: str) -> None:
    """Users keep their own mirrors: a package is named, never where it comes from."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert re.findall(r"\w+://|index-url|find-links|trusted-host", text) == []


def test_every_import_is_declared() -> None:
    """What the package imports stands in setup.cfg, and nothing leans on what another package happens to bring."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].split("\n")
    for extra in ("cpu", "demo", "lineage", "metrics"):
        lines += config["options.extras_require"][extra].split("\n")
    declared = {Requirement(line).name.lower().replace("_", "-") for line in lines if line}
    homes = importlib.metadata.packages_distributions()
    ours = {"batchscore", *sys.stdlib_module_names}
    undeclared = {
        name
        for path in source_files()
        for name in _imported(path)
        if name not in ours and not {d.lower().replace("_", "-") for d in homes.get(name, [])} & declared
    }
    # threadpoolctl is scikit-learn's own tool, and py4j Spark's
    assert undeclared <= {"threadpoolctl", "py4j"}


def test_constraints_pin_every_requirement() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"==[0-9][^,*]*", str(pin.specifier)) and pin.url is None for pin in pins)
    versions = {pin.name.lower().replace("_", "-"): str(pin.specifier)[2:] for pin in pins}
    required = [Requirement(text) for text in importlib.metadata.requires("batchscore") or []]
    for requirement in required:
        if 'extra == "gpu"' in str(requirement.marker):
            continue
        assert requirement.specifier.contains(versions[requirement.name.lower().replace("_", "-")]), requirement


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


def test_no_module_hides_a_public_name() -> None:
    """Importing `batchscore.x` sets the package's attribute `x`, whatever public name stood there."""
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert not modules & set(batchscore.__all__)
