"""What the site has beyond the written pages: a reference out of the code, and linked files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference import PAGES, python_pages

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# A link that leaves the documentation: to an example, a manifest, a file of the source.
_LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in what the navigation leaves open: `folder/*` stands for all pages of a folder."""
    generated = python_pages()
    pages = {
        "decisions/*": sorted(str(each.relative_to(DOCS)) for each in DOCS.glob("decisions/*.md")),
        "reference/python/*": list(generated),
    }
    config.nav = _expanded(config.nav, pages)
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code, and the list of changes."""
    made = {name: make() for name, make in PAGES.items()} | python_pages()
    made["reference/changes.md"] = (ROOT / "CHANGELOG.md").read_text().replace("](docs/", "](../")
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Bring files of the repository that a page links to into the site, under `files/`."""

    def brought(match: re.Match[str]) -> str:
        here = DOCS / page.file.src_uri
        target = Path(os.path.normpath(here.parent / match[1]))
        if target.is_relative_to(DOCS) or not target.is_relative_to(ROOT) or not target.is_file():
            return match[0]
        inside = f"files/{target.relative_to(ROOT)}"
        if inside.endswith(".md"):
            inside += ".txt"  # to be read as it is; a page of its own it is not
        if files.get_file_from_path(inside) is None:
            files.append(File.generated(config, inside, abs_src_path=str(target)))
        return f"]({os.path.relpath(DOCS / inside, here.parent)})"

    return _LINK.sub(brought, markdown)


def _expanded(nav: Any, pages: dict[str, list[str]]) -> Any:
    if isinstance(nav, list):
        return [_expanded(each, pages) for each in nav]
    if isinstance(nav, dict):
        return {title: _expanded(each, pages) for title, each in nav.items()}
    return pages.get(nav, nav)
