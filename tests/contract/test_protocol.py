"""The server over Label Studio's own payloads, and over everything that could be wrong in them.

Bad input is a 4xx with a sentence, never a 5xx, never a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.schemas  # by pytest, which cannot while another thread imports
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from backends.serving.app import create_app
from backends.settings import Settings
from tests.backends.serving.conftest import SquareEngine, data_uri
from tests.hostile import hostile_variations
from tests.live import live

PAYLOADS = sorted((Path(__file__).parent.parent / "payloads").glob("*.json"))
RECORDED = Path(__file__).parents[2].parent / "shared" / "label-studio" / "payloads"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), label_studio_url="http://127.0.0.1:9"
    )
    app = create_app(settings, lambda _: SquareEngine())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def with_an_image(body: Any) -> Any:
    """The body with a task image that is really there."""
    for task in body.get("tasks", []):
        if "data" in task:
            task["data"]["image"] = data_uri(64, 48)
    return body


def path_of(payload: Path) -> str:
    return "/" + payload.stem.split("-")[0]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda path: path.stem)
def test_every_captured_call_is_answered(client: TestClient, payload: Path) -> None:
    body = with_an_image(json.loads(payload.read_text()))
    answer = client.post(path_of(payload), json=body)
    assert answer.status_code == 200, answer.text
    if path_of(payload) == "/predict":
        assert len(answer.json()["results"]) == len(body["tasks"])
        for result in answer.json()["results"]:
            # A string score or a null version makes the task impossible to open.
            assert isinstance(result.get("score", 0.0), float)
            assert result.get("model_version", "v")


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda path: path.stem)
def test_hostile_variations_are_4xx(client: TestClient, payload: Path) -> None:
    body = with_an_image(json.loads(payload.read_text()))
    tried = 0
    # The decoders meet every variation in their own tests; over HTTP a third of them will do.
    for what, changed in islice(hostile_variations(body), 0, None, 3):
        answer = client.post(path_of(payload), content=json.dumps(changed))
        assert answer.status_code < 500, f"{what}: {answer.text}"
        assert "Traceback" not in answer.text
        if answer.status_code >= 400:
            assert answer.json()["error"], what
        tried += 1
    assert tried > 50


@pytest.mark.skipif(not RECORDED.is_dir(), reason="skipped: no ../shared")
def test_every_recorded_backend_call_is_answered(client: TestClient) -> None:
    answered = 0
    for record in sorted(RECORDED.glob("*.json")):
        for call in json.loads(record.read_text()).get("backend_calls", []):
            body = call["body"]
            if isinstance(body, dict):
                body = with_an_image(body)
            answer = client.request(call["method"], call["path"], json=body)
            assert answer.status_code == 200, f"{record.name}: {answer.text}"
            answered += 1
    assert answered >= 20


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"), label_studio_url="http://127.0.0.1:9"
    )
    with live(create_app(settings, lambda _: SquareEngine())) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


PREFIXES = ("", "/sam", "/yolo", "/micro")
OPERATIONS = [
    *[("GET", f"{prefix}/{call}") for prefix in PREFIXES for call in ("health", "versions")],
    *[
        ("POST", f"{prefix}/{call}")
        for prefix in PREFIXES
        for call in ("setup", "predict", "webhook")
    ],
    ("GET", "/metrics"),
    ("GET", "/ready"),
]


def test_the_description_lists_every_operation(described: schemathesis.BaseSchema) -> None:
    listed = [result.ok() for result in described.get_all_operations()]
    assert {(one.method.upper(), one.path) for one in listed} == set(OPERATIONS)


# schemathesis draws from `random` itself now and then.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_the_description_allows_is_answered_as_described(
    described: schemathesis.BaseSchema, method: str, path: str
) -> None:
    @hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
    @given(case=described[path][method].as_strategy())
    def fuzz(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=[not_a_server_error, status_code_conformance])

    fuzz()
