"""The map of modules in docs/architecture.md, drawn from the modules' own first lines; run it to redraw the map."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "batchscore"
PAGE = REPOSITORY / "docs" / "architecture.md"
BEGIN, END = "<!-- map: `make map` draws it -->\n", "<!-- end of map -->\n"


def source_files() -> list[Path]:
    """Every module of the package that holds something."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.stat().st_size)


def first_line(path: Path) -> str:
    """The first line of a module's docstring; empty where there is none."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0]


def draw_map() -> str:
    """One table of modules for the package itself, and one for each package in it."""
    return "\n".join(_draw_folder(folder) for folder in _folders())


def read_map() -> str:
    """The map as the page has it."""
    return PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def _folders() -> Iterator[Path]:
    yield PACKAGE
    yield from sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())


def _draw_folder(folder: Path) -> str:
    lines = [f"| `{path.name}` | {first_line(path)} |" for path in source_files() if path.parent == folder]
    return "\n".join([f"| `{folder.relative_to(REPOSITORY).as_posix()}/` | |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page.replace(BEGIN + read_map() + END, BEGIN + draw_map() + END), encoding="utf-8")
