from __future__ import annotations

import logging

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from backends import logs
from tests.backends.serving.conftest import Serve, point, predict_body

SETUP = {"project": "7.1", "schema": "<View/>", "hostname": "", "access_token": ""}


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.addFilter(logs.AddIds())
        self.told: list[tuple[str, dict[str, str]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append((record.getMessage(), dict(record.ids)))  # type: ignore[attr-defined]


def heard_of(client: TestClient, *, body: dict[str, object], request_id: str) -> Heard:
    heard, root = Heard(), logging.getLogger()
    root.addHandler(heard)
    before = root.level
    root.setLevel(logging.INFO)
    try:
        client.post("/predict", json=body, headers={"X-Request-ID": request_id})
    finally:
        root.removeHandler(heard)
        root.setLevel(before)
    return heard


def test_a_sane_id_is_taken_over(client: TestClient) -> None:
    answer = client.get("/health", headers={"X-Request-ID": "gateway-1.a_B"})
    assert answer.headers["x-request-id"] == "gateway-1.a_B"


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "x" * 65, "<script>", "a;b"])
def test_any_other_is_replaced(given: str, client: TestClient) -> None:
    first, second = (client.get("/health", headers={"X-Request-ID": given}) for _ in range(2))
    assert first.headers["x-request-id"] != given
    assert len(first.headers["x-request-id"]) == 16
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/predict", "/nothing-here"])
def test_an_error_names_its_id(path: str, client: TestClient) -> None:
    answer = client.post(path, content=b"{", headers={"X-Request-ID": "mine"})
    assert answer.status_code in (400, 404)
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "mine"


def test_a_fault_nobody_foresaw_names_its_id(client: TestClient, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("backends.serving.protocol.decode_setup", lambda _: 1 / 0)
    answer = client.post("/setup", json=SETUP, headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.json()["request_id"] == "mine"


def test_who_has_no_password_gets_an_id_too(serve: Serve) -> None:
    closed = serve(basic_auth_user="me", basic_auth_password=SecretStr("s3cret"))
    answer = closed.get("/metrics", headers={"X-Request-ID": "mine"})
    assert answer.status_code == 401
    assert answer.headers["x-request-id"] == "mine"


def test_what_is_logged_for_a_request_carries_its_ids_in_every_thread(client: TestClient) -> None:
    task = {"id": 2, "data": {"image": "http://169.254.169.254/latest"}}
    body = predict_body(task, prompts=(point(50, 50),))
    heard = heard_of(client, body=body, request_id="r1")
    about = [ids for message, ids in heard.told if "169.254" in message or "task" in message]
    assert about
    assert all(ids["request_id"] == "r1" for ids in about), heard.told
    assert any(message.startswith("click project 7") for message, _ in heard.told), heard.told


def test_a_thread_of_the_lane_knows_request_and_project(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answering(*_: object) -> list[object]:
        logging.getLogger("backends.test").warning("in the lane")
        return []

    monkeypatch.setattr("backends.serving.protocol.answer", answering)
    heard = heard_of(client, body=predict_body(), request_id="r2")
    assert ("in the lane", {"request_id": "r2", "project": "7"}) in heard.told, heard.told
