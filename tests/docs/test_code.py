"""Every code block of the documentation is what it claims to be, and does what it is said to do."""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.label_studio.label_xml import parse_label_config
from backends.settings import Settings
from tests.docs.commands import check, make_targets, words_of
from tests.docs.pages import PAGES, ROOT, Block, blocks, inline_code, name

BLOCKS = [block for page in PAGES for block in blocks(page)]
LANGUAGES = {"bash", "python", "xml", "json", "yaml", "text"}
# What settings are called in the environment; the last ones are of tests, and Label Studio's own.
VARIABLES = {f"LABELPILOT_{each.upper()}" for each in Settings.model_fields}


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def test_every_block_says_its_language() -> None:
    assert BLOCKS
    assert [f"{each} {each.language}" for each in BLOCKS if each.language not in LANGUAGES] == []


@pytest.mark.parametrize("block", of("bash"), ids=str)
def test_a_shell_command_can_be_run(block: Block) -> None:
    for words in words_of(block.text):
        check(words)


@pytest.mark.parametrize("block", of("xml"), ids=str)
def test_a_label_config_can_be_read(block: Block) -> None:
    assert parse_label_config(block.text).controls


def test_data_can_be_read() -> None:
    for block in of("json"):
        json.loads(block.text)
    for block in of("yaml"):
        assert list(yaml.safe_load_all(block.text)), block


@pytest.mark.parametrize(
    ("page", "parts"),
    [(page, list(parts)) for page, parts in groupby(of("python"), key=lambda each: each.page)],
    ids=lambda each: name(each) if isinstance(each, Path) else "",
)
def test_the_python_of_a_page_runs(
    page: Path, parts: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in parts:
        # Empty lines before it, so that an error names the line of the page.
        code = compile("\n" * block.line + block.text, name(page), "exec")
        if block.run:
            exec(code, names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_settings_are_those_of_the_program(page: Path) -> None:
    for found in set(re.findall(r"\bLABELPILOT_[A-Z0-9_]*", page.read_text())):
        if found.endswith("_"):
            assert [each for each in VARIABLES if each.startswith(found)], found
        elif found.startswith("LABELPILOT_TEST_"):
            assert [each for each in (ROOT / "tests").rglob("*.py") if found in each.read_text()]
        else:
            assert found in VARIABLES


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_the_text_are_those_of_the_program(page: Path) -> None:
    for code in inline_code(page):
        if re.match(r"(\.venv/bin/)?labelpilot [a-z]", code):
            check(code.split(), whole=False)
        elif match := re.match(r"make ([a-z0-9-]+(?: [a-z0-9-]+)*)$", code):
            assert set(match[1].split()) <= make_targets(), code


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_in_the_text_are_there(page: Path) -> None:
    for code in inline_code(page):
        if re.fullmatch(r"(docs|examples|tests|backends|micro_models|\.ci)/[\w./-]*", code):
            assert (ROOT / code).exists(), code


def test_every_setting_is_described() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert silent == []
