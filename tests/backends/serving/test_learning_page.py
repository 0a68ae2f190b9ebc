"""The whole page, /metrics and the pictures' route of a server that runs."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from backends.micro.nouns import ModelVersion, Shown
from backends.micro.store import MicroStore
from backends.serving.journal import REQUESTS
from tests.backends.serving.conftest import CONFIG, Serve, task

KEY = "7.1795168884"
SETUP = {
    "project": KEY,
    "schema": CONFIG,
    "hostname": "http://127.0.0.1:9",
    "access_token": None,
    "extra_params": None,
}


def store_of(client: TestClient) -> MicroStore:
    store: MicroStore = client.app.state.services.micro.store  # type: ignore[attr-defined]
    return store


def trained(store: MicroStore, number: int, *, quality: float | None) -> None:
    one = ModelVersion(
        id=f"{number:012x}",
        project_key=KEY,
        scope=f"label <i>{number}</i>",
        made_at=float(number),
        labels=9,
        data="d",
        why="the first one",
        quality=quality,
    )
    store.add_version(one)
    store.promote(KEY, one.scope, one.id)


def test_the_page_has_a_section_that_comes_to_life(serve: Serve) -> None:
    client = serve(train_first_at=0)  # nothing else shall write to it
    store = store_of(client)
    assert "Training is switched off" in client.get("/").text
    client.post("/setup", json=SETUP)
    store.note_event([KEY], submissions=9)
    store.note_seen(store.standing(KEY), labels=9)
    trained(store, 1, quality=0.8)
    store.note(KEY, "waits <i>")
    page = client.get("/").text
    assert "9 labelled tasks" in page
    assert "waits &lt;i&gt;" in page
    assert "label &lt;i&gt;1&lt;/i&gt;" in page
    assert "<i>" not in page
    assert 'data-every-ms="3000"' in page
    assert re.findall(r"<[^>]*\son[a-z]+=", page) == []


def test_what_the_database_does_not_tell_is_not_shown_as_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(train_first_at=0)
    client.post("/setup", json=SETUP)
    assert "data-fault" not in client.get("/").text
    services = client.app.state.services  # type: ignore[attr-defined]

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("down"))

    for part, name in (
        (services.projects, "all"),
        (services.micro.store, "standings"),
        (services.jobs, "recent_jobs"),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(part, name, away)
            answer = client.get("/")
        assert answer.status_code == 200
        page = answer.text
        assert "the database cannot be read (OperationalError)" in page
        assert page.count("cannot be read now") == 1
        assert "secret" not in page
        assert "Last requests" in page
    assert "cannot be read" not in client.get("/").text


@pytest.mark.parametrize(("serving", "told"), [(None, True), ("micro-0123456789", False)])
def test_what_yolo_cannot_fill_is_no_problem_where_a_micro_model_answers(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, serving: str | None, told: bool
) -> None:
    client = serve(train_first_at=0)
    services = client.app.state.services  # type: ignore[attr-defined]
    problem = ["YOLO leaves the boxes empty"]
    monkeypatch.setattr(services.yolo, "check", lambda *_, **__: problem)
    monkeypatch.setattr(services.yolo, "fills", lambda _: True)
    monkeypatch.setattr(services.micro, "serving_version", lambda _: serving)
    client.post("/setup", json=SETUP)
    page = client.get("/").text
    assert page.count("YOLO leaves") == (2 if told else 0)  # of the project, and in the log
    assert ("micro-models of this project" in page) == (not told)


def test_the_page_hurries_while_something_trains(serve: Serve) -> None:
    client = serve()
    services = client.app.state.services  # type: ignore[attr-defined]
    services.jobs.close()  # nobody does what waits
    services.micro.store.note_event([KEY], submissions=1)
    services.jobs.train(KEY)
    page = client.get("/").text
    assert 'data-every-ms="1000"' in page
    assert "<strong>training</strong>" in page
    assert 'labelpilot_jobs_open{kind="train"} 1.0' in client.get("/metrics").text


def test_metrics_know_models_and_the_quality_of_the_last(serve: Serve) -> None:
    client = serve(train_first_at=0)
    text = client.get("/metrics").text
    assert "labelpilot_micro_models 0.0" in text
    assert "labelpilot_micro_quality" not in text
    trained(store_of(client), 1, quality=0.8)
    trained(store_of(client), 2, quality=0.75)
    text = client.get("/metrics").text
    assert "labelpilot_micro_models 2.0" in text
    assert "labelpilot_micro_quality 0.75" in text
    assert 'labelpilot_jobs_open{kind="train"} 0.0' in text


def test_pictures_are_there_and_want_the_password(serve: Serve) -> None:
    from pydantic import SecretStr

    client = serve(basic_auth_user="ann", basic_auth_password=SecretStr("pass"), train_first_at=0)
    store_of(client).put_shown(KEY, "micro-1", [Shown(31, 0.1, ())])
    path = f"/pictures/{KEY}/31.jpg"
    assert client.get(path).status_code == 401
    answer = client.get(path, auth=("ann", "pass"))
    assert answer.status_code == 404
    assert f"project {KEY} is not known" in answer.json()["error"]
    client.post("/setup", json=SETUP, auth=("ann", "pass"))
    answer = client.get(path, auth=("ann", "pass"))  # Label Studio is away
    assert 400 <= answer.status_code < 600
    assert "Traceback" not in answer.text
    assert answer.json()["error"]


def test_an_open_page_does_not_hide_what_was_asked(serve: Serve) -> None:
    client = serve(train_first_at=0)
    client.post("/predict", json={"tasks": [task(41)], "project": KEY, "label_config": CONFIG})
    for _ in range(REQUESTS + 1):
        page = client.get("/").text
    assert "/predict" in page
