"""Which tasks are labelled, from the real Label Studio; how they are paged, from a small one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from backends.errors import LabelStudioError, LabelStudioRefused
from backends.label_studio.client import LabelStudios
from backends.label_studio.labelled import (
    StoredPrediction,
    changed_labels,
    count_labelled,
    is_own,
    labelled_tasks,
)
from tests.label_studio_server import LabelStudioServer

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Käse"/></RectangleLabels></View>"""

MakeStudios = Callable[..., LabelStudios]


def box(name: str = "a") -> dict[str, Any]:
    value = {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0, "rectanglelabels": ["Käse"]}
    return {"id": name, "type": "rectanglelabels", "from_name": "box", "to_name": "image",
            "original_width": 100, "original_height": 100, "value": value}  # fmt: skip


@pytest.mark.e2e
class TestRealLabelStudio:
    @pytest.fixture
    def client(self, label_studio: LabelStudioServer, studios: MakeStudios) -> Any:
        return studios(
            label_studio_url=label_studio.url, label_studio_api_key=label_studio.legacy_token
        ).sdk()

    @pytest.fixture
    def project(self, label_studio: LabelStudioServer) -> int:
        return label_studio.add_project(CONFIG)

    @pytest.fixture
    def annotate(self, label_studio: LabelStudioServer) -> Callable[..., int]:
        def post(task: int, *results: Any, **more: Any) -> int:
            body = {"result": list(results), "was_cancelled": False, **more}
            made = label_studio.api("POST", f"/api/tasks/{task}/annotations/", json=body)
            return int(made["id"])

        return post

    def test_only_what_people_labelled_counts(
        self, label_studio: LabelStudioServer, client: Any, project: int, annotate: Any
    ) -> None:
        names = ("untouched", "labelled", "nothing here", "skipped", "both", "from a prediction")
        tasks = {name: label_studio.add_task(project, {"image": name}) for name in names}
        prediction = {"result": [box("p")], "score": 0.5, "model_version": "micro-0"}
        for name in ("untouched", "from a prediction"):
            path = f"/api/projects/{project}/import/predictions"
            label_studio.api("POST", path, json=[{"task": tasks[name], **prediction}])
        (parent,) = label_studio.api("GET", f"/api/predictions/?task={tasks[names[-1]]}")
        annotate(tasks["labelled"], box())
        annotate(tasks["nothing here"])
        annotate(tasks["skipped"], was_cancelled=True)
        annotate(tasks["both"], box(), was_cancelled=True)
        kept = annotate(tasks["both"], box("b"), ground_truth=True)
        annotate(tasks["from a prediction"], box("p"), parent_prediction=parent["id"])

        found = changed_labels(client, project)
        labelled = ("labelled", "nothing here", "both", "from a prediction")
        assert list(found) == [tasks[name] for name in labelled]
        assert count_labelled(client, project) == 4
        pages = list(labelled_tasks(client, project, list(tasks.values())))
        fetched = {one.task.data["image"]: one for page in pages for one in page}
        assert set(fetched) == set(labelled)
        for name, one in fetched.items():
            assert (one.task.id, one.task.updated_at) == (tasks[name], found[tasks[name]])
        (own,) = fetched["both"].task.annotations
        assert (own["id"], own["ground_truth"], own["result"]) == (kept, True, [box("b")])
        assert isinstance(own["completed_by"], int)
        assert set(own) == {
            "id", "result", "completed_by", "ground_truth", "created_at", "updated_at",
            "parent_prediction",
        }  # fmt: skip
        assert fetched["nothing here"].task.annotations[0]["result"] == []
        expected = {parent["id"]: StoredPrediction("micro-0", [box("p")])}
        assert fetched["from a prediction"].parents == expected
        assert fetched["labelled"].parents == {}

    def test_every_change_of_an_annotation_shows(
        self, label_studio: LabelStudioServer, client: Any, project: int, annotate: Any
    ) -> None:
        tasks = [label_studio.add_task(project, {"image": str(n)}) for n in range(4)]
        made = [annotate(task, box()) for task in tasks]
        changed, skipped, added, bulk = tasks
        before = changed_labels(client, project)
        prediction = {"task": changed, "result": [box()], "score": 1, "model_version": "micro-0"}
        path = f"/api/projects/{project}/import/predictions"
        label_studio.api("POST", path, json=[prediction])
        assert changed_labels(client, project) == before

        label_studio.api("PATCH", f"/api/annotations/{made[0]}/", json={"result": [box("c")]})
        label_studio.api("PATCH", f"/api/annotations/{made[1]}/", json={"was_cancelled": True})
        annotate(added, was_cancelled=True)
        action = f"/api/dm/actions?id=delete_tasks_annotations&project={project}"
        body = {"selectedItems": {"all": False, "included": [bulk]}}
        label_studio.api("POST", action, json=body)
        after = changed_labels(client, project)
        assert set(after) == {changed, added}
        assert all(after[task] > before[task] for task in after)
        since = datetime.fromisoformat(after[changed])
        assert changed_labels(client, project, since=since) == {added: after[added]}
        at_once = since - timedelta(microseconds=1)
        assert changed_labels(client, project, since=at_once) == after

        label_studio.api("DELETE", f"/api/annotations/{made[0]}/")
        label_studio.api("PATCH", f"/api/annotations/{made[1]}/", json={"was_cancelled": False})
        label_studio.api("DELETE", f"/api/tasks/{added}/")
        assert set(changed_labels(client, project)) == {skipped}
        assert count_labelled(client, project) == 1

    def test_a_project_that_is_gone_is_refused(
        self, label_studio: LabelStudioServer, client: Any, project: int
    ) -> None:
        label_studio.api("DELETE", f"/api/projects/{project}/")
        with pytest.raises(LabelStudioRefused, match="404"):
            changed_labels(client, project)


class SmallStudio:
    """Answers `tasks.list` as the SDK does; each task weighs `rle` numbers."""

    def __init__(self, number: int, *, rle: int = 0, most: int = 10_000) -> None:
        self.number, self.rle, self.most = number, rle, most
        self.asked: list[int] = []
        self.tasks = self
        self.users = SimpleNamespace(list=list)

    def list(self, *, query: str, page_size: int, **_: Any) -> Any:
        ids: Sequence[int] = json.loads(query)["selectedItems"]["included"]
        assert page_size == len(ids)
        self.asked.append(len(ids))
        if len(ids) > self.most:
            raise httpx.ReadTimeout("too much")
        return SimpleNamespace(items=[self._task(task_id) for task_id in ids])

    def _task(self, task_id: int) -> Any:
        value = {"format": "rle", "rle": [0] * self.rle, "brushlabels": ["a"]}
        annotation = {"id": task_id, "result": [{"value": value}], "was_cancelled": False}
        return SimpleNamespace(
            id=task_id,
            updated_at=datetime.fromisoformat("2026-01-01T00:00:00Z"),
            data={},
            annotations=[annotation],
            predictions=[],
        )


class TestPages:
    def read(self, studio: SmallStudio) -> list[int]:
        pages = labelled_tasks(studio, 1, range(studio.number, 0, -1))  # type: ignore[arg-type]
        return [one.task.id for page in pages for one in page]

    def test_small_tasks_come_many_at_a_time(self) -> None:
        studio = SmallStudio(400)
        assert self.read(studio) == list(range(1, 401))
        assert studio.asked == [20, 40, 80, 100, 100, 60]

    def test_large_masks_come_few_at_a_time(self) -> None:
        studio = SmallStudio(40, rle=500_000)
        assert self.read(studio) == list(range(1, 41))
        assert studio.asked[0] == 20
        assert all(4 * 500_000 * each <= 8_000_000 for each in studio.asked[1:])

    def test_what_is_too_much_at_once_is_asked_for_in_parts(self) -> None:
        studio = SmallStudio(12, most=3)
        assert self.read(studio) == list(range(1, 13))

    def test_a_dead_label_studio_is_told(self) -> None:
        studio = SmallStudio(30, most=0)
        with pytest.raises(LabelStudioError, match="did not answer in time"):
            self.read(studio)
        assert studio.asked == [20, 4, 1]


MADE = "2026-01-01T12:00:00.739838Z"


@pytest.mark.parametrize(
    ("by", "changed", "account", "own"),
    [
        (9, "2026-01-01T12:00:00.739867Z", 9, True),
        ({"id": 9}, "2026-01-01T12:00:00.739867Z", 9, True),
        (9, "2026-01-01T12:00:04Z", 9, False),  # somebody changed it: it is theirs now
        (8, "2026-01-01T12:00:00.739867Z", 9, False),
        (9, "2026-01-01T12:00:00.739867Z", None, False),
        (None, "2026-01-01T12:00:00.739867Z", None, False),
    ],
)
def test_what_labelpilot_stored_is_its_own_until_somebody_changes_it(
    by: Any, changed: str, account: int | None, own: bool
) -> None:
    annotation = {"completed_by": by, "created_at": MADE, "updated_at": changed}
    assert is_own(annotation, account) is own
