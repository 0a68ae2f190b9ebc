"""Pages show what strangers wrote as text, and looking at anything changes nothing."""

from __future__ import annotations

import json
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backends.settings import Settings
from tests.backends.serving.conftest import CONFIG, point, predict_body, task
from tests.security.limits import bounded

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</code></td><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eevil\u2066\x00\ufeff",
]


class Dom(HTMLParser):
    """Tags, what they run, and the text of a page, as a browser would take it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def dangers(self) -> list[str]:
        """What a page of ours never holds."""
        found = []
        for tag, attributes in self.tags:
            if tag in ("iframe", "object", "embed", "form", "base"):
                found.append(tag)
            if tag == "script" and not str(attributes.get("src", "")).lstrip("./").startswith(
                "static/"
            ):
                found.append("script of no file of ours")
            found += [name for name in attributes if name.startswith("on") or name == "style"]
            for name in ("href", "src", "action"):
                address = str(attributes.get(name) or "").strip().lower()
                if address.startswith(("javascript:", "data:", "vbscript:")):
                    found.append(address)
        return found


def escape_xml(text: str) -> str:
    kept = "".join(char for char in text if char >= " " or char in "\t\n")
    return kept.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


@pytest.mark.parametrize("text", HOSTILE)
def test_everything_that_strangers_write_is_text(client: TestClient, text: str) -> None:
    config = CONFIG.replace("Cat", escape_xml(text)).replace('name="image"', 'name="image"')
    for body in (
        {"project": "7.1", "schema": config, "hostname": f"http://host/{text}"},
        {"project": "8.1", "schema": f"<View>{text}", "hostname": text},
        {
            "project": "9.1",
            "schema": config.replace('toName="image"', f'toName="{escape_xml(text)}"'),
        },
        {"project": text, "schema": CONFIG},
    ):
        client.post("/setup", content=json.dumps(body))
    for data in ({"image": text}, {text: text}, {"image": f"http://127.0.0.1:9/{text}"}):
        broken = {"id": 41, "data": data}
        client.post("/predict", content=json.dumps(predict_body(broken)))
        client.post("/predict", content=json.dumps(predict_body(broken, prompts=(point(5, 5),))))
    client.get(f"/{quote(text)}")
    for path in ("/", "/projects/7.1"):
        answer = client.get(path)
        assert answer.status_code == 200
        page = Dom(answer.text)
        assert page.dangers() == []
        assert "49" not in page.text.split("{{ 7 * 7 }}")[0][-5:]
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    shown = Dom(client.get("/").text).text
    visible = "".join(char for char in text if char >= " ")[:12]
    assert visible in shown  # it is there, as text


def test_the_search_finds() -> None:
    for bad in ("<script>x</script>", "<b onclick=x>", "<a href=' JavaScript:x'>", "<p style=x>"):
        assert Dom(bad).dangers(), bad


def dump(folder: Path) -> dict[str, list[str]]:
    """All rows of our own tables."""
    with sqlite3.connect(folder / "state.db") as database:
        names = [
            row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        # When a process was last alive, and what DBOS notes of itself, nobody asked for.
        own = [name for name in names if "worker" not in name and "dbos" not in name.lower()]
        return {
            name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"'))) for name in own
        }


def test_no_get_changes_anything(client: TestClient, settings: Settings) -> None:
    client.post(
        "/setup", json={"project": "7.1", "schema": CONFIG, "hostname": "http://127.0.0.1:9"}
    )
    client.post("/predict", json=predict_body(task(41), prompts=(point(50, 50),)))
    app = client.app
    others = app.state.services.sam._memory._others  # type: ignore[attr-defined]
    others._writer.submit(lambda: None).result(30)  # what was drawn is written in the background
    routes = [one for one in app.routes if isinstance(one, APIRoute)]  # type: ignore[attr-defined]
    paths = {path for one in routes if "GET" in (one.methods or ()) for path in [one.path]}
    paths |= {"/health", "/versions", "/metrics", "/", "/sam/versions", "/projects/{project_key}"}
    filled = [
        path.replace("{project_key}", "7.1")
        .replace("{task_id}", "41")
        .replace("{case_id}", "0" * 16)
        for path in paths
    ]
    before = dump(settings.data_path)
    assert len(before) > 5
    for path in filled:
        for method in ("GET", "HEAD", "OPTIONS"):
            assert client.request(method, path).status_code < 600
        client.get(
            f"{path}?action=delete&project=7.1&_method=POST",
            headers={"X-HTTP-Method-Override": "POST"},
        )
    assert dump(settings.data_path) == before


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize(
    "body",
    [
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"project": "7.1", "tasks": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"project": "7.1", "project": "8.1", "project": {}}',
        '{"project": ' + "9" * 4400 + "}",
        '{"project": "' + "9" * 100_000 + '"}',
        '{"project": 1e400}',
        '{"project": "7.1", "schema": "\\ud800", "tasks": [{"data": {"\\udfff": "\\ud800"}}]}',
        '{"action": "\\ud800", "project": {"id": "\\u0000"}}',
        '{"action": "ANNOTATION_CREATED", "project": {"id": -1}}',
        "{" + ",".join(f'"{n}": 1' for n in range(100_000)) + "}",
        '"' + "\\u0000" * 100_000 + '"',
    ],
    ids=["deep objects", "deep lists", "one key thrice", "a huge id", "a huge key", "infinity",
         "half characters", "half an action", "a negative id", "many keys", "zeros"],
)  # fmt: skip
def test_odd_json_is_refused_in_a_sentence(
    client_of_module: TestClient, path: str, body: str
) -> None:
    with bounded():
        answer = client_of_module.post(path, content=body)
    assert answer.status_code in (200, 400, 413), answer.text
    assert len(answer.content) < 3000
    if answer.status_code != 200:
        assert answer.json()["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["project", "tasks", "id", "data", "params", "context", "result", "value",
                         "action", "annotation", "task", "schema", "type", "label_config"]),
        inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@hypothesis_settings(max_examples=150, deadline=None, derandomize=True)
@given(body=JSON, path=st.sampled_from(["/setup", "/predict", "/webhook"]))
def test_any_json_is_answered_or_refused(
    client_of_module: TestClient, body: object, path: str
) -> None:
    answer = client_of_module.post(path, content=json.dumps(body))
    assert answer.status_code < 500, answer.text
