from __future__ import annotations

import json
import threading
import time

import pytest
from fastapi.testclient import TestClient

from backends.errors import ModelMissing
from backends.label_studio.brush import decode_rle
from backends.serving.protocol import _without_masks
from backends.settings import Settings
from tests.backends.serving.conftest import (
    CONFIG,
    Serve,
    SquareEngine,
    data_uri,
    point,
    predict_body,
    task,
)

SETUP = {
    "project": "7.1795168884",
    "schema": CONFIG,
    "hostname": "http://127.0.0.1:9",
    "access_token": "0123456789abcdef0123456789abcdef01234567",
    "extra_params": None,
}


@pytest.mark.parametrize("prefix", ["", "/sam"])
def test_a_click_becomes_a_brush_region(client: TestClient, prefix: str) -> None:
    answer = client.post(f"{prefix}/predict", json=predict_body(prompts=(point(50, 50),)))
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    (region,) = result["result"]
    assert region["type"] == "brushlabels"
    assert region["from_name"] == "brush"
    assert region["value"]["brushlabels"] == ["Cat"]
    assert (region["original_width"], region["original_height"]) == (64, 48)
    mask = decode_rle(region["value"]["rle"], width_px=64, height_px=48)
    assert mask[24, 32]
    assert mask.sum() == 100
    assert result["score"] == 0.75
    assert result["model_version"] == "square-1"


def test_refining_keeps_the_region(client: TestClient) -> None:
    def region_id(*prompts: dict[str, object]) -> str:
        body = predict_body(prompts=prompts)
        region: str = client.post("/predict", json=body).json()["results"][0]["result"][0]["id"]
        return region

    first = point(50, 50, name="a")
    assert region_id(first) == region_id(first, point(60, 60, name="b"))
    assert region_id(first) != region_id(point(20, 20, name="c"))


def test_the_editor_may_have_measured_a_smaller_rendition(client: TestClient) -> None:
    body = predict_body(task(image=data_uri(640, 480)), prompts=(point(50, 50),))
    (region,) = client.post("/predict", json=body).json()["results"][0]["result"]
    assert (region["original_width"], region["original_height"]) == (640, 480)
    assert decode_rle(region["value"]["rle"], width_px=640, height_px=480)[240, 320]


def test_without_prompts_nothing_is_stored_but_the_image_is_warm(
    client: TestClient, engine: SquareEngine
) -> None:
    answer = client.post("/predict", json=predict_body(task(1), task(2, data_uri(20, 10))))
    assert answer.json() == {"results": [{}, {}]}
    deadline = time.monotonic() + 10
    while len(engine.embedded) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(engine.embedded) == [(20, 10), (64, 48)]
    client.post("/predict", json=predict_body(prompts=(point(50, 50),)))
    assert len(engine.embedded) == 2


@pytest.mark.parametrize("context", [None, {"result": []}, {}])
def test_an_empty_context_is_no_prompt(client: TestClient, context: object) -> None:
    body = predict_body()
    body["params"] = {"context": context}
    assert client.post("/predict", json=body).json() == {"results": [{}]}
    body["params"] = None
    assert client.post("/predict", json=body).json() == {"results": [{}]}


def test_setup_names_the_version_and_the_config_may_still_be_empty(client: TestClient) -> None:
    assert client.post("/setup", json=SETUP).json() == {"model_version": "square-1"}
    for schema in ("<View></View>", ""):
        answer = client.post("/setup", json={**SETUP, "schema": schema})
        assert answer.json() == {"model_version": "square-1"}
    assert client.get("/versions").json() == {"versions": ["square-1"]}


def test_a_label_config_that_setup_brought_serves_a_request_without_one(
    client: TestClient,
) -> None:
    body = predict_body(prompts=(point(50, 50),))
    del body["label_config"]
    refused = client.post("/predict", json=body)
    assert refused.status_code == 400
    assert "label_config" in refused.json()["error"]
    client.post("/setup", json=SETUP)
    assert client.post("/predict", json=body).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[]", 400, "object"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"tasks": [], "project": NaN}', 400, "not JSON"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook", "/sam/predict"])
def test_bad_json_is_told(
    client: TestClient, path: str, body: bytes, status: int, words: str
) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_a_huge_body_is_refused(serve: Serve) -> None:
    answer = serve(max_request_mb=1).post("/predict", content=b" " * 1_100_000)
    assert answer.status_code == 413
    assert "LABELPILOT_MAX_REQUEST_MB" in answer.json()["advice"]


def test_missing_media_is_one_cause_with_its_cure(client: TestClient) -> None:
    broken = {"id": 1, "data": {"picture": "x"}}
    answer = client.post("/predict", json=predict_body(broken, prompts=(point(5, 5),)))
    assert answer.status_code == 424
    assert "'image'" in answer.json()["error"]
    assert "$image" in answer.json()["advice"]


def test_what_nobody_foresaw_is_a_500_without_a_traceback(
    client: TestClient, engine: SquareEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("token 0123456789abcdef")

    monkeypatch.setattr(engine, "segment", fail)
    answer = client.post("/predict", json=predict_body(prompts=(point(50, 50),)))
    assert answer.status_code == 500
    assert answer.json()["error"] == "internal error"
    page = client.get("/").text
    assert "RuntimeError" in page
    assert "0123456789abcdef" not in page + answer.text


def test_no_model_is_told_with_the_command_that_gets_one(serve: Serve) -> None:
    def fail(_: Settings) -> None:
        raise ModelMissing("no checkpoint 'x'", advice="labelpilot weights get x")

    client = serve(load=fail)
    assert client.post("/setup", json=SETUP).status_code == 200
    answer = client.post("/predict", json=predict_body(prompts=(point(50, 50),)))
    assert answer.status_code == 503
    assert "weights get" in answer.json()["advice"]
    assert "weights get x" in client.get("/").text


def test_setup_and_health_answer_while_a_model_loads(serve: Serve, engine: SquareEngine) -> None:
    loaded = threading.Event()

    def load(_: Settings) -> SquareEngine:
        assert loaded.wait(30)
        return engine

    client = serve(load=load)
    assert client.get("/health").json()["status"] == "UP"
    assert client.post("/setup", json=SETUP).json()["model_version"]
    assert "loading" in client.get("/").text
    loaded.set()
    body = predict_body(prompts=(point(50, 50),))
    assert client.post("/predict", json=body).status_code == 200


def test_a_full_queue_is_503_with_retry_after_while_health_answers(
    serve: Serve, engine: SquareEngine
) -> None:
    client = serve(workers=1, queue_length=1)
    engine.may_embed.clear()
    statuses: list[int] = []

    def click(number: int) -> None:
        body = predict_body(task(number), prompts=(point(50, 50, name=f"p{number}"),))
        answer = client.post("/predict", json=body)
        statuses.append(answer.status_code)
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1

    threads = [threading.Thread(target=click, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while len(statuses) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.get("/health").status_code == 200
    assert client.post("/webhook", json=webhook()).status_code == 200
    engine.may_embed.set()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200, 503, 503, 503]


def webhook(action: str = "ANNOTATION_CREATED") -> dict[str, object]:
    return {"action": action, "project": {"id": 7}, "task": {"id": 1}, "annotation": {"id": 3}}


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("ANNOTATION_CREATED", "ok"),
        ("ANNOTATIONS_DELETED", "ok"),
        ("START_TRAINING", "ok"),
        ("SOMETHING_NEW", "ignored"),
    ],
)
def test_webhooks_are_acknowledged(client: TestClient, action: str, status: str) -> None:
    assert client.post("/webhook", json=webhook(action)).json() == {"status": status}


def test_basic_auth_guards_everything_but_health(serve: Serve) -> None:
    from pydantic import SecretStr

    client = serve(basic_auth_user="ann", basic_auth_password=SecretStr("pass"))
    assert client.get("/health").status_code == 200
    assert client.get("/sam/health").status_code == 200
    for path in ("/", "/metrics", "/versions", "/openapi.json", "/nothing"):
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert client.get(path, headers={"Authorization": "Bearer x"}).status_code == 401
    assert client.get("/versions", auth=("ann", "pass")).status_code == 200
    assert client.post("/predict", content=b"{", auth=("ann", "no")).status_code == 401


def test_the_status_page_tells_what_happened(client: TestClient) -> None:
    client.post("/setup", json={**SETUP, "schema": CONFIG.replace("Cat", "Кот <b>")[:60]})
    client.post("/setup", json=SETUP)
    client.post("/predict", json=predict_body(task(41), prompts=(point(50, 50),)))
    page = client.get("/").text
    assert "square" in page
    assert "task 41" in page
    assert "<b>" not in page
    assert "0123456789abcdef" not in page
    assert "brush" in page


def test_metrics_count_clicks(client: TestClient) -> None:
    client.post("/predict", json=predict_body(prompts=(point(50, 50),)))
    client.get("/no/such/path")
    text = client.get("/metrics").text
    assert 'labelpilot_requests_total{kind="click",path="/predict",status="200"} 1.0' in text
    assert 'labelpilot_embeddings_total{source="computed"} 1.0' in text
    assert "/no/such/path" not in text


def test_a_batch_survives_one_bad_task(client: TestClient) -> None:
    bad = {"id": 2, "data": {"image": "http://169.254.169.254/latest"}}
    answer = client.post("/predict", json=predict_body(task(1), bad, task(3)))
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 3


def test_masks_of_other_regions_cost_a_click_nothing(client: TestClient) -> None:
    body = predict_body(prompts=(point(50, 50),))
    tasks = body["tasks"]
    assert isinstance(tasks, list)
    tasks[0]["drafts"] = [{"result": [{"id": "r1", "value": {"rle": [255] * 400_000}}]}]
    answer = client.post("/predict", json=body)
    assert len(answer.json()["results"][0]["result"]) == 1


def test_only_masks_are_left_out() -> None:
    kept = {"text": '"rle": [1, 2]', "rles": [1], "rle": "x", "deep": {"rle": [[1]]}}
    assert json.loads(_without_masks(json.dumps(kept).encode())) == kept
    assert json.loads(_without_masks(b'{"rle" : [1,\n 2], "a": [3]}')) == {"rle": [], "a": [3]}


def test_setup_logs_what_it_finds_once(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = """<PolygonLabels name="outline" toName="image" model_iou="%s">
        <Label value="Cat"/></PolygonLabels></View>"""

    def told(value: str) -> int:
        config = CONFIG.replace("</View>", wrong % value)
        client.post("/setup", json={**SETUP, "project": "71.1", "schema": config})
        return len([one for one in caplog.records if "model_iou" in one.getMessage()])

    assert [told("no"), told("no"), told("no")] == [1, 1, 1]
    assert told("never") == 2


def test_a_wrong_attribute_is_told_beside_smart_tools(client: TestClient) -> None:
    config = CONFIG.replace("<BrushLabels ", '<BrushLabels model_iou="no" ')
    client.post("/setup", json={**SETUP, "project": "73.1", "schema": config})
    assert "model_iou" in client.get("/").text


@pytest.mark.parametrize(
    "config",
    [
        '<View><Image name="i" value="$image"/><RectangleLabels name="r" toName="i" '
        f'model_path="{"é" * 200}.pt"><Label value="Cat"/></RectangleLabels></View>',
        '<View><Image name="i" value="$image"/><KeyPointLabels name="r" toName="i" smart="false">'
        f'<Label value="Cat" model_index="{"1" * 5000}"/></KeyPointLabels></View>',
        '<View><Image name="i" value="$image"/><Taxonomy name="r" toName="i" '
        f'maxUsages="{"1" * 5000}"><Choice value="Cat"/></Taxonomy></View>',
    ],
    ids=["long name", "long number", "long maximum"],
)
def test_a_hostile_label_config_takes_nothing_down(client: TestClient, config: str) -> None:
    body = {**SETUP, "project": "72.1", "schema": config}
    assert client.post("/setup", json=body).status_code == 200
    task = {"id": 1, "data": {"image": data_uri(8, 8)}}
    asked = {"project": "72.1", "label_config": config, "tasks": [task]}
    assert client.post("/predict", json=asked).json() == {"results": [{}]}
    assert client.get("/").status_code == 200
