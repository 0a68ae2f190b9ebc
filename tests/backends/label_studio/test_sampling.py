"""Uncertainty sampling of the real Label Studio: the stream brings the least certain task."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from backends.label_studio.client import LabelStudios
from backends.label_studio.connect import auth_header, connect
from backends.label_studio.sampling import align
from tests.backends.label_studio.web import Answer, Web
from tests.label_studio_server import LabelStudioServer

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Cat"/></RectangleLabels></View>"""
OLD, NEW = "micro-0000000000", "micro-1111111111"

MakeStudios = Callable[..., LabelStudios]


def ours(text: str) -> bool:
    return text.startswith("micro-")


def answers(value: Any) -> Answer:
    return Answer(json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def box() -> dict[str, Any]:
    value = {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0, "rectanglelabels": ["Cat"]}
    return {"id": "a", "type": "rectanglelabels", "from_name": "box", "to_name": "image",
            "original_width": 100, "original_height": 100, "value": value}  # fmt: skip


@pytest.mark.e2e
class TestRealLabelStudio:
    @pytest.fixture
    def client(self, label_studio: LabelStudioServer, studios: MakeStudios) -> Any:
        return studios(
            label_studio_url=label_studio.url, label_studio_api_key=label_studio.legacy_token
        ).sdk()

    @pytest.fixture
    def standing(self, label_studio: LabelStudioServer) -> Callable[[int], tuple[Any, ...]]:
        def read(project: int) -> tuple[Any, ...]:
            found = label_studio.api("GET", f"/api/ml?project={project}")[0]
            shown = label_studio.api("GET", f"/api/projects/{project}/")["model_version"]
            return found["title"], found["model_version"], shown, found["is_interactive"]

        return read

    def test_the_stream_brings_the_least_certain_and_asks_live(
        self, label_studio: LabelStudioServer, client: Any, backend: Web, standing: Any
    ) -> None:
        project = label_studio.add_project(CONFIG)
        connect(client, project_id=project, url=backend.url)
        assert standing(project)[0] == "labelpilot"
        more = {"sampling": "Uncertainty sampling", "show_collab_predictions": True}
        label_studio.api("PATCH", f"/api/projects/{project}/", json=more)
        backend.pages["/setup"] = answers({"model_version": NEW})
        align(client, project, NEW, ours=ours)
        assert standing(project) == (NEW, NEW, NEW, True)
        tasks = [label_studio.add_task(project, {"image": f"{n}.jpg"}) for n in range(7)]
        scores = dict(zip(tasks, (0.9, 0.3, 0.7, 0.1, 0.5, 0.2), strict=False))  # the last has none
        predictions = [
            {"task": task, "result": [box()], "score": score, "model_version": NEW}
            for task, score in scores.items()
        ] + [{"task": tasks[0], "result": [], "score": 0.0, "model_version": OLD}]
        path = f"/api/projects/{project}/import/predictions"
        label_studio.api("POST", path, json=predictions)
        live = {"result": [box()], "score": 0.6, "model_version": NEW}
        backend.pages["/predict"] = answers({"results": [live]})
        brought = []
        for _ in tasks:
            found = label_studio.api("GET", f"/api/projects/{project}/next")
            versions = [one["model_version"] for one in found["predictions"]]
            assert NEW in versions
            brought.append(found["id"])
            body = {"result": [box()], "was_cancelled": False}
            label_studio.api("POST", f"/api/tasks/{found['id']}/annotations/", json=body)
        assert brought == [*sorted(scores, key=scores.__getitem__), tasks[-1]]
        assert backend.paths().count("/predict") == 1

    def test_a_new_version_follows_and_nothing_is_done_twice(
        self, label_studio: LabelStudioServer, client: Any, backend: Web, standing: Any
    ) -> None:
        """Basic auth stays, though nobody can read its password back."""
        password = auth_header(("u", "p"))["Authorization"]
        setup = {"model_version": "yolo-untitled"}

        def guarded(value: Any) -> Callable[[Any], Answer]:
            def page(request: Any) -> Answer:
                right = request.headers["Authorization"] == password
                return answers(value) if right else Answer(status=401)

            return page

        backend.pages |= {"/health": guarded({"status": "UP"}), "/setup": guarded(setup)}
        project = label_studio.add_project(CONFIG)
        connect(client, project_id=project, url=backend.url, basic_auth=("u", "p"))
        for version in (OLD, NEW):
            setup["model_version"] = version
            assert align(client, project, version, ours=ours)
        assert standing(project) == (NEW, NEW, NEW, True)
        backend.calls.clear()
        label_studio.api("GET", f"/api/ml?project={project}")
        asked = len(backend.calls)
        backend.calls.clear()
        align(client, project, NEW, ours=ours)
        assert len(backend.calls) == asked  # the list alone: nothing was written
        found = label_studio.api("GET", f"/api/ml?project={project}")[0]
        assert (found["auth_method"], found["state"]) == ("BASIC_AUTH", "CO")
        assert {sent["Authorization"] for _, _, sent in backend.calls} == {password}

    def test_what_a_person_chose_stays(
        self, label_studio: LabelStudioServer, client: Any, backend: Web, standing: Any
    ) -> None:
        backend.pages["/setup"] = answers({"model_version": NEW})
        project = label_studio.add_project(CONFIG)
        task = label_studio.add_task(project, {"image": "x"})

        def store(version: str) -> None:
            body = [{"task": task, "result": [box()], "score": 0.5, "model_version": version}]
            label_studio.api("POST", f"/api/projects/{project}/import/predictions", json=body)

        connect(client, project_id=project, url=backend.url, title="My cats")
        assert not align(client, project, NEW, ours=ours)  # no prediction of it is there yet
        assert standing(project)[::2] == ("My cats", "My cats")
        for version in (OLD, NEW):
            store(version)
            assert align(client, project, version, ours=ours)
            assert standing(project)[::2] == ("My cats", version)
        store("an-import")
        path = f"/api/projects/{project}/"
        label_studio.api("PATCH", path, json={"model_version": "an-import"})
        assert align(client, project, NEW, ours=ours)
        assert standing(project)[::2] == ("My cats", "an-import")

    def test_a_project_without_our_backend_is_left_alone(
        self, label_studio: LabelStudioServer, client: Any, backend: Web, standing: Any
    ) -> None:
        project = label_studio.add_project(CONFIG)
        align(client, project, NEW, ours=ours)
        connect(client, project_id=project, url=backend.url, title="another's")
        before = standing(project)
        align(client, project, NEW, ours=ours)
        assert standing(project) == before

    def test_connecting_again_keeps_the_title(
        self, client: Any, label_studio: LabelStudioServer, backend: Web, standing: Any
    ) -> None:
        backend.pages["/setup"] = answers({"model_version": NEW})
        project = label_studio.add_project(CONFIG)
        connect(client, project_id=project, url=backend.url)
        align(client, project, NEW, ours=ours)
        connect(client, project_id=project, url=backend.url)
        assert standing(project) == (NEW, NEW, NEW, True)
        connect(client, project_id=project, url=backend.url, title="My cats")
        assert standing(project)[::2] == ("My cats", "My cats")
