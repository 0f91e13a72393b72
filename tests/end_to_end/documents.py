"""Code blocks and tables of the documents, found for the tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: File name of its page.
        line: Where it begins.
        language: What stands behind the fence.
        text: What stands in it.
    """

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A shell command of a page, with the output that the page shows for it."""

    block: Block
    line: str
    output: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.block} {self.line[:60]}"


def find_blocks(*languages: str) -> list[Block]:
    """Every block in one of these languages; all of them where none is named."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page.relative_to(REPOSITORY).as_posix(), line, match[1], match[2]))
    return [block for block in found if not languages or block.language in languages]


def find_commands() -> list[Command]:
    """Every line of `bash` blocks, and every `$` line of `console` blocks with what stands under it, in their order."""
    return [command for block in find_blocks("bash", "console") for command in _commands(block)]


def find_rows(text: str) -> list[list[str]]:
    """The cells of every table row in a text."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in _ROW.findall(text)]


def _commands(block: Block) -> Iterator[Command]:
    if block.language == "bash":
        yield from (Command(block, line) for line in block.text.splitlines() if line)
        return
    for part in block.text.split("$ ")[1:]:
        first, *output = part.splitlines()
        yield Command(block, first, tuple(line for line in output if line.strip()))
