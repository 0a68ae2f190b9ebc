"""The site builds without a warning and without a network, and holds the whole reference."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from backends.cli import app
from backends.serving.app import OWN_PATHS, create_app
from backends.settings import Settings
from tests.docs.pages import DOCS, ROOT

# mkdocs, in a process that refuses to connect to anything.
BUILD = """
import socket, sys
def refuse(*_): raise AssertionError("the documentation is to be built without a network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(["build", "--strict", "--config-file", sys.argv[1], "--site-dir", sys.argv[2]])
"""


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BUILD, root / "docs/site/mkdocs.yml", site],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    said = [each for each in (done.stdout + done.stderr).splitlines() if each]
    assert done.returncode == 0, said
    assert [each for each in said if not each.startswith("INFO ")] == []
    return folder


class Loaded(HTMLParser):
    """Addresses of what a browser loads by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in {"canonical", "prev", "next"}:
            return
        name = "href" if tag == "link" else "src"
        self.found += [given[name] or ""] if name in given and tag != "a" else []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert loaded.found
        for address in loaded.found:
            assert not re.match(r"(\w+:)?//", address), f"{page.name}: {address}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", style.read_text()), style.name


def test_every_page_is_in_the_navigation(site: Path) -> None:
    index = (site / "index.html").read_text()
    for page in DOCS.rglob("*.md"):
        assert f'href="{page.relative_to(DOCS).with_suffix(".html")}"' in index or (
            page == DOCS / "index.md"
        ), page


def test_the_reference_is_whole(site: Path) -> None:
    pages = {name: (site / f"reference/{name}.html").read_text() for name in ("settings", "cli")}
    for field in Settings.model_fields:
        wanted = f"LABELPILOT_{field.upper()}"
        if field.startswith("label_studio_"):
            wanted = field.upper()
        assert f"<code>{wanted}</code>" in pages["settings"]
    commands = get_command(app).commands
    for name, command in commands.items():
        for inner in getattr(command, "commands", {"": None}):
            assert f"<code>{f'labelpilot {name} {inner}'.strip()}</code>" in pages["cli"]
    http = (site / "reference/http.html").read_text()
    for path, operations in create_app(Settings()).openapi()["paths"].items():
        if path.split("/")[1] not in OWN_PATHS:
            for method in operations:
                assert f"{method.upper()} {path}" in http


@pytest.mark.parametrize(
    "package", ["", "label_errors", "consensus", "certificates", "learning_curves", "impact"]
)
def test_the_reference_has_whatever_a_package_exports(site: Path, package: str) -> None:
    name = f"micro_models.{package}".rstrip(".")
    page = (site / f"reference/python/{name if package else 'index'}.html").read_text()
    headings = set(re.findall(r'id="[\w.]*\.(\w+)" class="doc doc-heading"', page))
    assert set(import_module(name).__all__) <= headings
    assert '<span class="gp">&gt;&gt;&gt; </span>' in page  # a doctest, as code


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "README.md", "compose.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("backends", "micro_models"):
        (tmp_path / name).symlink_to(ROOT / name)
    with (tmp_path / "docs/index.md").open("a") as page:
        page.write("\n[gone](nowhere.md) [lost](tutorial.md#nowhere)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "nowhere.md" in done.stderr
    assert "tutorial.md#nowhere" in done.stderr
