"""Feature modules: Python files of a job, read once, run on the driver, and known by the code of each feature."""

from __future__ import annotations

import ast
import hashlib
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from batchscore.errors import ConfigError
from batchscore.features.marks import Mark, mark_of

MAX_MODULE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Function:
    """One marked function.

    Attributes:
        name: Its name, and the feature's.
        mark: What it needs and gives.
        file: Its module as the config names it.
        line: Where it begins there.
        code: Its code and that of everything in the module that it uses, without comments and docstrings.
        source: The whole module.
        call: The function itself.
    """

    name: str
    mark: Mark
    file: str
    line: int
    code: str
    source: str
    call: Any

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return f"{self.file}:{self.line}: {self.name}"


def read_modules(files: Mapping[str, str]) -> dict[str, Function]:
    """Every marked function of the files, by name.

    Args:
        files: Path as the config names it to path on this machine.

    Raises:
        ConfigError: A file is missing, does not parse, raises when it is run, or marks a name twice.
    """
    found: dict[str, Function] = {}
    for named, path in files.items():
        source = _read(named, path)
        module = load_source(source, named)
        tree = ast.parse(source)
        for name, value in vars(module).items():
            mark = mark_of(value)
            if mark is None or value.__module__ != module.__name__:  # another module's, imported
                continue
            if name != value.__name__:
                raise ConfigError(f"{named}: expected one name for '{value.__name__}'; found also '{name}'. Keep one.")
            if name in found:
                raise ConfigError(
                    f"{named}: expected feature '{name}' once; {found[name].where} has that name too. Rename one."
                )
            line = value.__code__.co_firstlineno
            found[name] = Function(name, mark, named, line, _used_code(tree, name), source, value)
    return found


def load_source(source: str, named: str) -> ModuleType:
    """A module made of source text, once for each process and text.

    Raises:
        ConfigError: It does not parse, or raises.
    """
    name = f"_batchscore_features_{hashlib.sha256(f'{named}|{source}'.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = named
    sys.modules[name] = module  # as an import does: dataclasses look themselves up here
    try:
        exec(compile(source, named, "exec"), module.__dict__)  # noqa: S102 - the job's own code, named in its file
    except SyntaxError as error:
        del sys.modules[name]
        raise ConfigError(f"{named}:{error.lineno}: expected Python; it does not parse: {error.msg}.") from error
    except ConfigError as error:
        del sys.modules[name]
        raise ConfigError(f"{named}:{line_of(error, named)}: {error}") from error
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            f"{named}:{line_of(error, named)}: expected a module that can be imported; it raises "
            f"{type(error).__name__}: {error}. Mend it."
        ) from error
    return module


def line_of(error: BaseException, named: str) -> int:
    """The last line of a module's own that an exception came through; 0 where there is none."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == named]
    return (lines[-1] or 0) if lines else 0


def _read(named: str, path: str) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"features.modules: expected a Python file at {named}; found: {error.strerror}. Relative paths count from "
            "the job file's folder."
        ) from error
    if len(content) > MAX_MODULE_BYTES:
        raise ConfigError(f"features.modules: expected {named} of at most {MAX_MODULE_BYTES} bytes; it is larger.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{named}: expected UTF-8; found byte 0x{content[error.start]:02x}. Save it so.") from error


def _used_code(tree: ast.Module, name: str) -> str:
    """The code of a top-level name and of all top-level names that it leads to, in the file's order."""
    made = {bound: node for node in tree.body for bound in _bound_by(node)}
    wanted, open_names = set(), [name]
    while open_names:
        one = open_names.pop()
        node = made.get(one)
        if node is None or node in wanted:
            continue
        wanted.add(node)
        open_names += [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    return "\n".join(ast.unparse(_without_docstrings(node)) for node in tree.body if node in wanted)


def _bound_by(node: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement gives a meaning, in whichever branch."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    else:
        stores: Sequence[ast.AST] = list(ast.walk(node))
        yield from (part.id for part in stores if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
        inner = [part for part in stores if isinstance(part, ast.stmt) and part is not node]
        yield from (name for part in inner for name in _bound_by(part))


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    copy = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(copy):
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(part):
            part.body = part.body[1:] or [ast.Pass()]
    return copy
