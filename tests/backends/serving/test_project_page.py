"""A project's page: a section for each tool, whatever becomes of the others."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException

from backends.autoaccept.nouns import Issued
from backends.autoaccept.page import AutoacceptPage
from backends.errors import StateError
from backends.serving.project_page import Tool, project_page
from micro_models.certificates import Certificate

KEY = "7.1700000000"


def fail(error: Exception) -> object:
    raise error


def test_what_is_not_there_yet_names_the_command_that_makes_it(client: TestClient) -> None:
    page = client.get(f"/projects/{KEY}")
    assert page.status_code == 200
    for command in ("review", "consensus", "autoaccept", "advise", "impact"):
        assert f"labelpilot {command} --project 7" in page.text


@pytest.mark.parametrize("key", ["x", "7.", "<script>", "-7", "7.1.2", "1" * 40])
def test_what_is_no_projects_key_is_not_found(client: TestClient, key: str) -> None:
    page = client.get(f"/projects/{key}")
    assert page.status_code == 404
    assert "script" not in page.text
    with pytest.raises(HTTPException):
        project_page([], key)


def test_a_tool_that_cannot_be_read_costs_only_its_own_section() -> None:
    broken = Tool("review", "One", lambda _: fail(StateError("the database is <gone>")))
    faulty = Tool("advise", "Two", lambda _: fail(ZeroDivisionError("a secret")))
    empty = Tool("impact", "Three", lambda _: None)
    page = project_page([broken, faulty, empty], KEY)
    assert "the database is &lt;gone&gt;" in page
    assert "it cannot be shown (ZeroDivisionError)" in page
    assert "a secret" not in page
    assert "labelpilot impact --project 7" in page


@pytest.mark.parametrize("groups", [{}, {"Käse": 0.8, "": None}])
def test_a_certificate_is_told_with_its_classes(groups: dict[str, float | None]) -> None:
    made = Certificate(0.02, 0.9, 0.75, 200, 150, 1, 0.019, 700, 0.7, 0, "")
    parts = {name: replace(made, threshold=threshold) for name, threshold in groups.items()}
    issued = Issued("c0ffee", KEY, "micro-1", replace(made, groups=parts))
    found = AutoacceptPage(issued, "", "", "", 200, 0, 0, 0, 0, 700, 0, 0, ())
    page = project_page([Tool("autoaccept", "Accepted", lambda _: found)], KEY)
    assert "at most 2.00% of what is accepted is wrong" in page
    assert ("a score of 0.750" in page) == (not groups)
    assert ("Käse: 700 tasks, from 0.800 on; 1 of 150 audits wrong" in page) == bool(groups)
    assert ("all others: nothing is accepted" in page) == bool(groups)


@pytest.mark.parametrize("path", ["/", f"/projects/{KEY}"])
def test_pages_run_only_what_this_server_sends(client: TestClient, path: str) -> None:
    page = client.get(path)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<style|<script>|\sstyle=|\son[a-z]+=", page.text)
    for address in re.findall(r'(?:src|href)="([^"]*static/[^"]+)"', page.text):
        assert client.get(urljoin(path, address)).status_code == 200


def test_script_and_style_come_from_here_and_nothing_else(client: TestClient) -> None:
    for name in ("review.js", "review.css", "page.js", "page.css"):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        kind = "text/css" if name.endswith("css") else "text/javascript"
        assert answer.headers["content-type"].startswith(kind)
    for path in ("", "review.py", "../app.py", "..%2Fapp.py", "%2Fetc/passwd"):
        assert client.get(f"/static/{path}").status_code == 404
