"""Tabs, task fields, our own account and tools' predictions, on the real Label Studio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from backends.interface import PlacedRegion, Prediction, Project
from backends.label_studio.accounts import OWN_EMAIL, find_own_account, own_account
from backends.label_studio.client import LabelStudios
from backends.label_studio.data_manager import item
from backends.label_studio.suggestions import drop_predictions, put_predictions
from backends.label_studio.tabs import drop_tab, put_tab, tab_address
from backends.label_studio.task_fields import drop_fields, put_fields
from backends.label_studio.tasks import read_project, read_tasks
from micro_models.regions import Box, Region
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.e2e

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Größe"/></RectangleLabels></View>"""

MakeStudios = Callable[..., LabelStudios]


def go_on() -> None:
    pass


def answer(version: str, *regions: PlacedRegion) -> Prediction:
    return Prediction(regions, 0.5, version, 100, 80)


def box(name: str, x0: float, label: str = "Größe") -> PlacedRegion:
    return PlacedRegion(name, Region(label, Box(x0, 10, x0 + 20, 30), 0.9), "box")


class Studio:
    """A project of four tasks on the real server."""

    def __init__(self, server: LabelStudioServer, client: Any) -> None:
        self.server, self.client = server, client
        self.id = server.add_project(CONFIG)
        self.tasks = [
            server.add_task(self.id, {"image": f"http://x/{n}.jpg", "clip": n}) for n in range(4)
        ]
        self.project: Project = read_project(client, self.id)[0]

    def data(self, number: int) -> dict[str, Any]:
        return dict(self.server.api("GET", f"/api/tasks/{self.tasks[number]}/")["data"])

    def versions(self, number: int) -> list[str]:
        task = self.server.api("GET", f"/api/tasks/{self.tasks[number]}/")
        return sorted(one["model_version"] for one in task["predictions"])

    def put(self, *predictions: tuple[int, Prediction], **more: Any) -> Any:
        by_task = {self.tasks[number]: one for number, one in predictions}
        return put_predictions(self.client, self.project, by_task, go_on=go_on, **more)


@pytest.fixture
def studio(label_studio: LabelStudioServer, studios: MakeStudios) -> Studio:
    client = studios(
        label_studio_url=label_studio.url, label_studio_api_key=label_studio.legacy_token
    ).sdk()
    return Studio(label_studio, client)


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of an S3 server that has everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_fields_are_merged_into_data_sorted_by_and_taken_out_again(studio: Studio) -> None:
    gone, values = 987_654, {"labelpilot_review": 97.5, "labelpilot_kind": "low IoU"}
    wanted = {studio.tasks[1]: values, studio.tasks[3]: {"labelpilot_review": 12}, gone: values}
    for _ in range(2):
        done = put_fields(studio.client, studio.id, wanted, go_on=go_on)
        assert done == {studio.tasks[1], studio.tasks[3]}
    assert studio.data(1) == {"image": "http://x/1.jpg", "clip": 1, **values}
    tab = put_tab(
        studio.client,
        studio.id,
        "Suspicious labels",
        items=[item("data.labelpilot_review", "greater", "Number", 10)],
        ordering=["-tasks:data.labelpilot_review"],
    )
    shown = studio.server.api("GET", f"/api/tasks?view={tab}&fields=task_only")["tasks"]
    assert [task["id"] for task in shown] == [studio.tasks[1], studio.tasks[3]]
    names = ["labelpilot_review", "labelpilot_kind"]
    assert drop_fields(studio.client, studio.id, names, go_on=go_on) == 2
    assert studio.data(1) == {"image": "http://x/1.jpg", "clip": 1}
    assert drop_fields(studio.client, studio.id, names, go_on=go_on) == 0


def test_addresses_of_cloud_storage_stay_what_they_are(studio: Studio, bucket: str) -> None:
    body = {
        "project": studio.id,
        "bucket": "pictures",
        "aws_access_key_id": "a-key",
        "aws_secret_access_key": "a-secret",
        "region_name": "us-east-1",
        "s3_endpoint": bucket,
        "use_blob_urls": True,
    }
    studio.server.api("POST", "/api/storages/s3", json=body)
    data = {"image": "s3://pictures/1.jpg"}
    task = studio.server.add_task(studio.id, data)
    told = studio.server.api("GET", f"/api/tasks/{task}/")["data"]
    assert told != data, "Label Studio signs or resolves what it is asked for alone"
    put_fields(studio.client, studio.id, {task: {"labelpilot_review": 5}}, go_on=go_on)
    (found,) = read_tasks(studio.client, studio.id, [task])
    assert found.data == {**data, "labelpilot_review": 5}
    drop_fields(studio.client, studio.id, ["labelpilot_review"], go_on=go_on)
    (found,) = read_tasks(studio.client, studio.id, [task])
    assert found.data == data


def test_a_field_of_somebody_else_is_never_written(studio: Studio) -> None:
    with pytest.raises(ValueError, match="clip: a field of ours begins with labelpilot_"):
        drop_fields(studio.client, studio.id, ["clip"], go_on=go_on)
    with pytest.raises(ValueError, match="image"):
        put_fields(studio.client, studio.id, {studio.tasks[0]: {"image": ""}}, go_on=go_on)


def test_a_tab_is_brought_up_to_date_and_dropped(studio: Studio) -> None:
    by_hand = {"project": studio.id, "data": {"title": "Überlappung", "ordering": ["tasks:id"]}}
    theirs = studio.server.api("POST", "/api/dm/views/", json=by_hand)

    def put(least: float) -> int:
        items = [item("id", "greater", "Number", least)]
        ordering = ["-tasks:data.labelpilot_agreement"]
        return put_tab(studio.client, studio.id, "Überlappung", items=items, ordering=ordering)

    first = put(0)
    assert put(studio.tasks[2]) == first != theirs["id"]
    shown = studio.server.api("GET", f"/api/tasks?view={first}&fields=task_only")["tasks"]
    assert [task["id"] for task in shown] == [studio.tasks[3]]
    assert [drop_tab(studio.client, studio.id, "Überlappung") for _ in range(2)] == [True, False]
    (left,) = studio.server.api("GET", f"/api/dm/views/?project={studio.id}")
    assert left == theirs


@pytest.mark.parametrize("host", ["http://x:8080", "http://x:8080/"])
def test_where_a_tab_is(host: str) -> None:
    assert tab_address(host, 3, 7) == "http://x:8080/projects/3/data?tab=7"


def test_our_own_account_is_made_once(studio: Studio) -> None:
    before = find_own_account(studio.client)
    made = own_account(studio.client)
    assert before in (None, made)
    assert own_account(studio.client) == find_own_account(studio.client) == made
    users = studio.server.api("GET", "/api/users/")
    assert [one["id"] for one in users if one["email"] == OWN_EMAIL] == [made]


def test_a_tools_predictions_replace_its_own_only(studio: Studio) -> None:
    micro, old, new = "micro-aaaaaaaaaa", "review-aaaaaaaaaa", "review-bbbbbbbbbb"
    studio.server.api(
        "POST",
        "/api/predictions/",
        json={"task": studio.tasks[0], "result": [], "model_version": micro},
    )
    first = studio.put((0, answer(old, box("a", 10))), (1, answer(old, box("b", 10))))
    assert first.stored == set(studio.tasks[:2])
    parent = studio.server.api("GET", f"/api/predictions/?task={studio.tasks[1]}")[0]
    marks = {studio.tasks[0]: {"a": "missing label 99.9 %"}}
    for _ in range(2):
        put = studio.put(
            (0, answer(new, box("a", 30))), (2, answer(new, box("c", 10))), marks=marks
        )
        assert (put.stored, put.failed) == ({studio.tasks[0], studio.tasks[2]}, {})
    assert [studio.versions(n) for n in range(4)] == [[micro, new], [old], [new], []]
    task = studio.server.api("GET", f"/api/tasks/{studio.tasks[0]}/")
    (mine,) = (one for one in task["predictions"] if one["model_version"] == new)
    assert mine["result"][0]["value"]["x"] == 30
    assert mine["result"][0]["meta"] == {"text": ["missing label 99.9 %"]}
    # Somebody made an annotation of one: it stays.
    studio.server.api(
        "POST",
        f"/api/tasks/{studio.tasks[1]}/annotations/",
        json={"result": [], "parent_prediction": parent["id"]},
    )
    assert drop_predictions(studio.client, studio.id, "review", go_on=go_on) == 2
    assert [studio.versions(n) for n in range(3)] == [[micro], [old], []]


def test_what_label_studio_does_not_take_is_told_and_costs_nothing_else(studio: Studio) -> None:
    version, gone = "consensus-aaaaaaaaaa", 987_654
    predictions = {
        studio.tasks[0]: answer(version, box("a", 10)),
        studio.tasks[1]: answer(version, box("b", 10, label="unknown")),
        gone: answer(version, box("c", 10)),
    }
    put = put_predictions(studio.client, studio.project, predictions, go_on=go_on)
    assert put.stored == {studio.tasks[0]}
    assert set(put.failed) == {studio.tasks[1]}
    assert "unknown" in put.failed[studio.tasks[1]]
