"""What is kept of labels follows Label Studio, whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.errors import LabelStudioGone
from backends.label_studio.accounts import OWN_EMAIL
from backends.label_studio.client import LabelStudios
from backends.label_studio.projects import ProjectBook
from backends.micro.nouns import Acceptance
from backends.micro.store import MicroStore
from backends.micro.sync import Synced, present_project, synchronised
from backends.settings import Settings
from tests.label_studio_server import LabelStudioServer

KEY = "7.1700000000"
NOON = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
OWN_ID = 9
MANY = 400  # so many that only what changed lately is listed


def box(name: str = "a", x: float = 1.0) -> dict[str, Any]:
    value = {"x": x, "y": 2, "width": 3, "height": 4, "rotation": 0, "rectanglelabels": ["Cat"]}
    return {"id": name, "type": "rectanglelabels", "from_name": "box", "to_name": "image",
            "original_width": 100, "original_height": 100, "value": value}  # fmt: skip


class SmallStudio:
    """Tasks as the SDK lists them; counts what is downloaded."""

    def __init__(self) -> None:
        self.tasks = self
        self.users = SimpleNamespace(list=lambda: [SimpleNamespace(id=OWN_ID, email=OWN_EMAIL)])
        self.found: dict[int, Any] = {}
        self.listed, self.downloaded = 0, 0
        self.before_download: Callable[[], None] = lambda: None

    def label(self, task_id: int, *, at_s: float = 0, **annotation: Any) -> None:
        """Give a task one annotation, in place of what it had."""
        made = {"id": task_id, "result": [box()], "was_cancelled": False, **annotation}
        self.found[task_id] = SimpleNamespace(
            id=task_id,
            updated_at=NOON + timedelta(seconds=at_s),
            data={"image": f"{task_id}.jpg"},
            annotations=[made],
            predictions=[],
        )

    def list(self, *, query: str, page_size: int, fields: str, **_: Any) -> Any:
        asked = json.loads(query)
        if "selectedItems" in asked:
            self.before_download()
            ids = asked["selectedItems"]["included"]
            items = [self.found[task_id] for task_id in ids if task_id in self.found]
            self.downloaded += len(items)
            return SimpleNamespace(items=items)
        items = [one for _, one in sorted(self.found.items()) if self._fits(one, asked)]
        response = SimpleNamespace(total=len(items))
        self.listed += len(items[:page_size])
        return SimpleNamespace(items=items[:page_size], response=response)

    def _fits(self, task: Any, asked: Any) -> bool:
        limits = {one["filter"]: one["value"] for one in asked["filters"]["items"]}
        since = limits.get("filter:tasks:updated_at", "2000-01-01T00:00:00Z")
        return (
            task.id > limits.get("filter:tasks:id", 0)
            and task.updated_at > datetime.fromisoformat(since)
            and any(not one.get("was_cancelled") for one in task.annotations)
        )


class Stopped(Exception):
    pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MicroStore]:
    with closing(MicroStore(Settings(_env_file=None, data_dir=tmp_path))) as made:
        yield made


@pytest.fixture
def studio() -> SmallStudio:
    return SmallStudio()


@pytest.fixture
def sync(studio: SmallStudio, store: MicroStore) -> Callable[..., Synced]:
    def run(go_on: Callable[[], None] = lambda: None) -> Synced:
        studio.listed = studio.downloaded = 0
        return synchronised(studio, 7, KEY, store, go_on=go_on)  # type: ignore[arg-type]

    return run


def test_only_what_changed_is_downloaded(
    studio: SmallStudio, store: MicroStore, sync: Callable[..., Synced]
) -> None:
    for task_id in range(1, 6):
        studio.label(task_id)
    assert sync() == Synced(frozenset(range(1, 6)), frozenset(), 5)
    assert sync() == Synced(frozenset(), frozenset(), 5)
    assert studio.downloaded == 0
    studio.label(2, at_s=5, result=[box("new")])
    studio.label(3, at_s=6, was_cancelled=True)
    del studio.found[4]
    studio.label(9, at_s=7)
    assert sync() == Synced(frozenset({2, 9}), frozenset({3, 4}), 4)
    assert studio.downloaded == 2
    labelled = {one.id: one.annotations[0]["result"][0]["id"] for one in store.labelled(KEY)}
    assert labelled == {1: "a", 2: "new", 5: "a", 9: "a"}


def test_nothing_is_labelled(store: MicroStore, sync: Callable[..., Synced]) -> None:
    assert sync() == Synced(frozenset(), frozenset(), 0)


def test_who_is_stopped_goes_on_from_there(
    studio: SmallStudio, store: MicroStore, sync: Callable[..., Synced]
) -> None:
    for task_id in range(1, MANY + 1):
        # The first pages hold the newest: what is kept does not tell up to when it is complete.
        studio.label(task_id, at_s=-3600.0 * task_id)

    def stop_after(pages: int) -> Callable[[], None]:
        left = iter(range(pages))

        def go_on() -> None:
            if next(left, None) is None:
                raise Stopped

        return go_on

    for _ in range(20):
        with pytest.raises(Stopped):
            sync(go_on=stop_after(3))
        assert studio.downloaded > 0
        if len(store.known(KEY)) == MANY:
            break
    assert sync().total == MANY
    assert studio.downloaded == 0
    # The same, when all of them are known and many changed while nobody looked.
    for task_id in range(1, MANY + 1):
        studio.label(task_id, at_s=1e7 - 3600.0 * task_id)
    with pytest.raises(Stopped):
        sync(go_on=stop_after(3))
    sync()
    assert store.known(KEY) == {
        task_id: one.updated_at.isoformat() for task_id, one in studio.found.items()
    }


def test_of_many_labels_only_the_latest_changes_are_listed(
    studio: SmallStudio, store: MicroStore, sync: Callable[..., Synced]
) -> None:
    for task_id in range(1, MANY + 1):
        studio.label(task_id, at_s=-3600)
    studio.label(1, at_s=0)
    sync()
    studio.label(2, at_s=10)
    studio.label(3, at_s=-300)  # a long request that was dated at its begin
    assert sync() == Synced(frozenset({2, 3}), frozenset(), MANY)
    assert studio.listed < 10
    # What is gone shows in the number alone, and all are compared.
    del studio.found[5]
    assert sync() == Synced(frozenset(), frozenset({5}), MANY - 1)
    assert studio.listed > MANY


def test_what_goes_between_listing_and_download_is_gone(
    studio: SmallStudio, store: MicroStore, sync: Callable[..., Synced]
) -> None:
    for task_id in (1, 2, 3):
        studio.label(task_id)
    sync()
    for task_id in (1, 2, 3):
        studio.label(task_id, at_s=1)

    def meanwhile() -> None:
        studio.found.pop(1, None)
        studio.label(2, at_s=2, was_cancelled=True)
        studio.label(3, at_s=3, result=[box("newer")])

    studio.before_download = meanwhile
    assert sync() == Synced(frozenset({3}), frozenset({1, 2}), 1)
    assert sync() == Synced(frozenset(), frozenset(), 1)


def test_what_labelpilot_stored_by_itself_is_no_label(
    studio: SmallStudio, store: MicroStore, sync: Callable[..., Synced]
) -> None:
    made = {"created_at": "2026-01-01T12:00:00.1Z", "updated_at": "2026-01-01T12:00:00.2Z"}
    studio.label(1, completed_by=OWN_ID, **made)
    studio.label(2, completed_by=OWN_ID, **made)
    studio.found[2].annotations.append({"id": 20, "result": [], "completed_by": 1})
    studio.label(3, completed_by=OWN_ID, **{**made, "updated_at": "2026-01-01T12:30:00Z"})
    assert sync().total == 2
    assert [(one.id, len(one.annotations)) for one in store.labelled(KEY)] == [(2, 1), (3, 1)]
    assert [(one.id, len(one.own)) for one in store.own_only(KEY)] == [(1, 1)]
    assert sync() == Synced(frozenset(), frozenset(), 2)
    assert studio.downloaded == 0
    # A person labels it too, and takes that back.
    studio.found[1].annotations.append({"id": 10, "result": [], "completed_by": 1})
    studio.found[1].updated_at = NOON + timedelta(seconds=5)
    assert sync() == Synced(frozenset({1}), frozenset(), 3)
    studio.found[1].annotations.pop()
    studio.found[1].updated_at = NOON + timedelta(seconds=9)
    assert sync().total == 2
    assert store.count_labelled(KEY) == len(store.labelled(KEY)) == 2


class TestAcceptance:
    @pytest.fixture
    def made_from(self, studio: SmallStudio) -> Callable[..., None]:
        def label(version: str, *results: Any, at_s: float, parent: int | None = 50) -> None:
            studio.label(1, at_s=at_s)
            task = studio.found[1]
            task.predictions = [{"id": 50, "model_version": version, "result": [box(), box("b")]}]
            task.annotations = [
                {"id": 90 + number, "result": result, "was_cancelled": False}
                | {"parent_prediction": parent}
                for number, result in enumerate(results)
            ]

        return label

    @pytest.mark.parametrize("version", ["micro-0123456789", "yolo-0123456789"])
    def test_of_our_predictions(
        self, made_from: Any, store: MicroStore, sync: Callable[..., Synced], version: str
    ) -> None:
        made_from(version, [box(), box("b", x=50)], at_s=0)
        sync()
        assert store.acceptance(KEY) == Acceptance(2, 1, 7.0)
        made_from(version, [box(), box("b")], [box("b")], at_s=1)  # two annotators
        sync()
        assert store.acceptance(KEY) == Acceptance(4, 3, 21.0)

    def test_of_a_prediction_that_was_deleted_since_stays(
        self, made_from: Any, store: MicroStore, sync: Callable[..., Synced]
    ) -> None:
        made_from("micro-0123456789", [box(), box("b")], at_s=0)
        sync()
        made_from("micro-0123456789", [box()], at_s=1, parent=None)
        assert sync().changed == {1}
        assert store.acceptance(KEY) == Acceptance(2, 2, 14.0)

    def test_of_others_does_not_count(
        self, made_from: Any, store: MicroStore, sync: Callable[..., Synced]
    ) -> None:
        made_from("an-import", [box(), box("b")], at_s=0)
        sync()
        assert store.acceptance(KEY) == Acceptance()


@pytest.mark.e2e
def test_a_real_label_studio(
    label_studio: LabelStudioServer, store: MicroStore, tmp_path: Path
) -> None:
    project = label_studio.add_project(
        '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
        '<Label value="Cat"/></RectangleLabels></View>'
    )
    tasks = [label_studio.add_task(project, {"image": f"{n}.jpg"}) for n in range(4)]
    stored = {"task": tasks[0], "score": 0.5, "model_version": "micro-0123456789"}
    path = f"/api/projects/{project}/import/predictions"
    label_studio.api("POST", path, json=[{**stored, "result": [box(), box("b")]}])
    (prediction,) = label_studio.api("GET", f"/api/predictions/?task={tasks[0]}")

    def annotate(task: int, *results: Any, **more: Any) -> None:
        body = {"result": list(results), "was_cancelled": False, **more}
        label_studio.api("POST", f"/api/tasks/{task}/annotations/", json=body)

    annotate(tasks[0], box(), box("b", x=50), parent_prediction=prediction["id"])
    annotate(tasks[1], box())
    annotate(tasks[2], was_cancelled=True)
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.legacy_token,
    )
    with closing(LabelStudios(settings, ProjectBook(settings))) as studios:

        def sync() -> Synced:
            return synchronised(studios.sdk(), project, KEY, store, go_on=lambda: None)

        assert sync() == Synced(frozenset(tasks[:2]), frozenset(), 2)
        assert store.acceptance(KEY) == Acceptance(2, 1, 7.0)
        assert sync() == Synced(frozenset(), frozenset(), 2)
        annotate(tasks[3], box())
        label_studio.api("DELETE", f"/api/predictions/{prediction['id']}/")
        label_studio.api("DELETE", f"/api/tasks/{tasks[1]}/")
        # The deletion of a prediction changes its task too; what was known of it stays.
        assert sync() == Synced(frozenset({tasks[0], tasks[3]}), frozenset({tasks[1]}), 2)
        assert store.acceptance(KEY) == Acceptance(2, 1, 7.0)
        assert [one.data["image"] for one in store.labelled(KEY)] == ["0.jpg", "3.jpg"]
        key = label_studio.project_key(project)
        assert present_project(studios.sdk(), key).key == key
        for gone in (f"{project}.1", f"{project + 1000}.1"):
            with pytest.raises(LabelStudioGone):
                present_project(studios.sdk(), gone)
