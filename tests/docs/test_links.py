"""Every link leads somewhere, also where the pages are read as files."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown.extensions.toc import slugify, unique

from tests.docs.pages import DOCS, PAGES, ROOT, name, prose

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Pages that the site makes of the code (docs/site/reference.py); the site's test checks them.
MADE = re.compile(r"reference/(settings|cli|http|changes|python/[\w.]+)\.md")


def links(page: Path) -> list[str]:
    return LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        unique(slugify(re.sub(r"[`*]|\]\([^)]*\)", "", heading), "-"), found)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme in {"http", "https"}, link
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), link
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        assert target.is_relative_to(ROOT), link
        if target.is_relative_to(DOCS) and MADE.fullmatch(str(target.relative_to(DOCS))):
            continue
        assert target.exists(), link
        if parts.fragment:
            assert parts.fragment in anchors(target), link


def test_every_page_of_a_folder_is_found_by_its_links() -> None:
    """The README leads to each how-to, so that nobody needs the site to find it."""
    found = {(ROOT / urlsplit(link).path).resolve() for link in links(ROOT / "README.md")}
    guides = set((DOCS / "how-to").glob("*.md"))
    further = {
        (page.parent / urlsplit(link).path).resolve()
        for page in found & guides
        for link in links(page)
    }
    assert {name(each) for each in guides - found - further} == set()
