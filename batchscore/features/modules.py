"""Feature modules: Python files of a job, read once, run on the driver, and known by the code of each feature."""

from __future__ import annotations

import ast
import hashlib
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from batchscore.errors import ConfigError
from batchscore.features.marks import Mark, mark_of

MAX_MODULE_BYTES = 1_048_576
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_INDIRECT = frozenset({"globals", "locals", "vars", "eval", "exec", "getattr", "setattr"})


@dataclass(frozen=True, slots=True)
class Function:
    """One marked function.

    Attributes:
        name: Its name, and the feature's.
        mark: What it needs and gives.
        file: Its module as the config names it.
        line: Where it begins there.
        code: Its code and that of everything in the module that may touch it, without comments and docstrings.
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
        _refuse_neighbours(tree, named, path)
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
    except (Exception, SystemExit) as error:
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


def _refuse_neighbours(tree: ast.Module, named: str, path: str) -> None:
    """Refuse imports of files beside a module: they would not travel to the workers, nor count for its hash.

    Raises:
        ConfigError: There is one.
    """
    folder = Path(path).resolve().parent
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "."] if not node.level else ["."]
        for name in names:
            file = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
            place = Path(file).resolve() if file else None
            if name == "." or (place and place.is_relative_to(folder) and "site-packages" not in place.parts):
                raise ConfigError(
                    f"{named}:{node.lineno}: expected imports of installed packages alone; found {name}, a file "  # type: ignore[attr-defined]
                    "beside it, which workers do not get. Move its code into the module, or install it as a package."
                )


def _used_code(tree: ast.Module, name: str) -> str:
    """The code of a function and of all at the module's top level that may touch it, in the file's order.

    That is every statement but functions and classes that it does not lead to, and constants that nothing but their
    own line and functions left out speak of.
    """
    defined = {node.name: node for node in tree.body if isinstance(node, _DEFINITIONS)}
    counts = Counter(bound for node in tree.body for bound in _stored(node))
    plain = {
        node.targets[0].id: node
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and counts[node.targets[0].id] == 1
    }
    names = {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)}
    optional: dict[str, ast.stmt] = {**defined, **({} if names & _INDIRECT else plain)}
    left_out = set(optional.values())
    kept = [node for node in tree.body if node not in left_out]
    open_names = [name, *(word for node in kept for word in _words_of(node))]
    seen: set[str] = set()
    while open_names:
        one = open_names.pop()
        if one in seen or one not in optional:
            continue
        seen.add(one)
        left_out.discard(optional[one])
        open_names += _words_of(optional[one])
    return "\n".join(ast.unparse(_without_docstrings(node)) for node in tree.body if node not in left_out)


def _words_of(node: ast.AST) -> Iterator[str]:
    """Names that a piece of code speaks of, also as text."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isidentifier():
            yield part.value


def _stored(node: ast.stmt) -> Iterator[str]:
    """Names that a top-level statement may give a meaning, `global` ones of functions included."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, (ast.Store, ast.Del)):
            yield part.id
        elif isinstance(part, ast.Global):
            yield from part.names
        elif isinstance(part, _DEFINITIONS):
            yield part.name
        elif isinstance(part, ast.alias):
            yield part.asname or part.name


def _without_docstrings(node: ast.stmt) -> ast.AST:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return ast.Pass()  # the module's own docstring
    copy = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(copy):
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(part):
            part.body = part.body[1:] or [ast.Pass()]
    return copy
