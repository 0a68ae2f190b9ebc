"""The pages that people read, and what is written in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*TOP, *sorted(DOCS.rglob("*.md"))]
NOT_RUN = re.compile(r"<!-- not run: .+ -->")


@dataclass(frozen=True)
class Block:
    """A fenced piece of code; `line` is that of its fence, `run` whether it is to be tried."""

    page: Path
    line: int
    language: str
    text: str
    run: bool

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text().splitlines()
    start: int | None = None
    for at, line in enumerate(lines):
        if not line.strip().startswith("```"):
            continue
        if start is None:
            start = at
            continue
        indent = len(lines[start]) - len(lines[start].lstrip())
        text = "\n".join(each[indent:] for each in lines[start + 1 : at])
        before = next((each for each in reversed(lines[:start]) if each.strip()), "")
        language = lines[start].strip().removeprefix("```")
        yield Block(page, start + 1, language, text, run=not NOT_RUN.fullmatch(before.strip()))
        start = None
    assert start is None, f"{name(page)}:{start}: the code block has no end"


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def inline_code(page: Path) -> list[str]:
    """What stands between backticks in the text, line breaks being spaces."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]
