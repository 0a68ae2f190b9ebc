"""A Label Studio in memory, as the SDK's client shows it, and a model that says what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from label_studio_sdk.core.api_error import ApiError

from backends.errors import MediaError
from backends.interface import (
    Labelled,
    PlacedRegion,
    Prediction,
    Project,
    Task,
    TaskProgress,
)
from backends.label_studio.accounts import OWN_EMAIL
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_prediction
from micro_models.regions import Region, WholeImage

CONFIG = """<View><Image name="image" value="$image"/>
<Choices name="kind" toName="image"><Choice value="Käse"/><Choice value="Wurst"/></Choices>
</View>"""
PROJECT = Project("7.1700000000", parse_label_config(CONFIG))
VERSION = "micro-0123456789"
OWN_ID, PERSON = 9, 1
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Model:
    """Says of each task what `answers` has: (label, score); None: it cannot be had."""

    def __init__(self, answers: dict[int, tuple[str, float] | None]) -> None:
        self.answers = answers

    def version(self, project: Project) -> str:
        return VERSION

    wait = version

    def prediction(self, task_id: int) -> Prediction:
        label, score = self.answers[task_id] or ("", 0.0)
        placed = PlacedRegion("r", Region(label, WholeImage(), score), "kind")
        return Prediction((placed,), score, VERSION, 64, 48)

    def label(
        self, project: Project, tasks: Iterable[Task], *, progress: TaskProgress | None = None
    ) -> Iterator[Labelled]:
        for task in tasks:
            if self.answers[task.id or 0] is None:
                yield Labelled(task, error=MediaError("there is no picture"))
            else:
                yield Labelled(task, self.prediction(task.id or 0))


class Studio:
    """Tasks by id with what people and we did to them; `dies` is asked before each change."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self.found: dict[int, SimpleNamespace] = {}
        self.tabs: dict[int, Any] = {}
        self.users_ = [SimpleNamespace(id=PERSON, email="a@example.com")]
        self.dies: Callable[[str], None] = lambda _: None
        self._number, self._at = 100, _NOON
        for task_id in ids:
            self.add(task_id)
        self.tasks = SimpleNamespace(list=self._list, get=self._get, update=self._update)
        self.annotations = SimpleNamespace(create=self._annotate, delete=self._delete)
        self.predictions = SimpleNamespace(delete=self._unpredict)
        self.users = SimpleNamespace(list=lambda: list(self.users_), create=self._user)
        self.views = SimpleNamespace(
            list=lambda project: list(self.tabs.values()),
            create=self._tab,
            update=lambda view_id, project, data: setattr(self.tabs[int(view_id)], "data", data),
            delete=lambda view_id: self.tabs.pop(int(view_id)),
        )

    # What people do

    def add(self, task_id: int) -> None:
        """A new task."""
        self.found[task_id] = SimpleNamespace(
            id=task_id,
            project=PROJECT.id,
            data={"image": f"{task_id}.jpg"},
            annotations=[],
            predictions=[],
            drafts=[],
            updated_at=self._now(),
        )

    def predict(self, model: Model, ids: Iterable[int]) -> None:
        """Store what the model says."""
        for task_id in ids:
            if model.answers[task_id] is not None:
                item = encode_prediction(model.prediction(task_id), PROJECT.config)
                self.found[task_id].predictions = [{"id": self._next(), **item}]

    def label(self, task_id: int, *labels: str, by: int = PERSON, **more: Any) -> None:
        """Somebody labels a task."""
        value = {"choices": list(labels)}
        item = {"id": "p", "type": "choices", "from_name": "kind", "to_name": "image"}
        result = [{**item, "value": value}] if labels else []
        self._annotate(task_id, result=result, completed_by=by, **{"was_cancelled": False, **more})

    def change(self, task_id: int) -> None:
        """Somebody changes the task's last annotation."""
        one = self.found[task_id].annotations[-1]
        one["result"] = [{**item, "value": {"choices": ["Wurst"]}} for item in one["result"]]
        one["updated_at"] = self._now().isoformat()

    def annotated_by_us(self) -> set[int]:
        """Tasks with an annotation of our account."""
        return {
            task_id
            for task_id, task in self.found.items()
            if any(one["completed_by"] == OWN_ID for one in task.annotations)
        }

    # What the SDK does

    def _list(
        self, *, query: str, page_size: int, fields: str, project: int, resolve_uri: bool
    ) -> Any:
        asked = json.loads(query)
        wanted = asked["filters"]["items"]
        ids = asked.get("selectedItems", {}).get("included")
        items = [
            task
            for task_id, task in sorted(self.found.items())
            if (ids is None or task_id in ids) and all(_fits(task, one) for one in wanted)
        ]
        if asked["ordering"] == ["-tasks:id"]:
            items.reverse()
        response = SimpleNamespace(total=len(items))
        copies = [SimpleNamespace(**vars(task)) for task in items[:page_size]]
        return SimpleNamespace(items=copies, response=response)

    def _get(self, task_id: str) -> Any:
        return self.found[int(task_id)]

    def _update(self, task_id: str, *, data: Any) -> None:
        self.dies("update")
        self.found[int(task_id)].data = data

    def _annotate(self, task_id: int, *, unique_id: str = "", **body: Any) -> Any:
        self.dies("annotate")
        task = self.found.get(task_id)
        if task is None:
            raise ApiError(status_code=404, body={"detail": "no such task"})
        if unique_id and any(one["unique_id"] == unique_id for one in task.annotations):
            raise ApiError(status_code=409, body={"detail": "it exists already"})
        body.pop("request_options", None)
        made = self._now()
        later = made + timedelta(microseconds=30)
        task.annotations.append(
            {
                "id": self._next(),
                "unique_id": unique_id,
                "created_at": made.isoformat(),
                "updated_at": later.isoformat(),
                **body,
            }
        )
        task.updated_at = self._now()
        self.dies("annotated")
        return SimpleNamespace(dict=lambda: dict(task.annotations[-1]))

    def _delete(self, annotation_id: int) -> None:
        self.dies("delete")
        for task in self.found.values():
            task.annotations = [one for one in task.annotations if one["id"] != annotation_id]

    def _unpredict(self, prediction_id: int) -> None:
        for task in self.found.values():
            task.predictions = [one for one in task.predictions if one["id"] != prediction_id]

    def _user(self, **body: Any) -> None:
        self.users_.append(SimpleNamespace(id=OWN_ID, email=body["email"]))
        assert body["email"] == OWN_EMAIL

    def _tab(self, *, project: int, data: Any) -> Any:
        number = self._next()
        self.tabs[number] = SimpleNamespace(id=number, data=data)
        return self.tabs[number]

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _now(self) -> datetime:
        self._at += timedelta(seconds=5)
        return self._at


def _fits(task: Any, wanted: Any) -> bool:
    cancelled = sum(one["was_cancelled"] for one in task.annotations)
    versions = {one["model_version"] for one in task.predictions}
    field = wanted["filter"].removeprefix("filter:tasks:")
    value = wanted["value"]
    if field == "predictions_model_versions":
        return bool(versions & set(value))
    if field.startswith("data."):
        return field.removeprefix("data.") in task.data
    number = {
        "id": task.id,
        "total_annotations": len(task.annotations) - cancelled,
        "cancelled_annotations": cancelled,
        "total_predictions": len(task.predictions),
    }[field]
    return number > value if wanted["operator"] == "greater" else bool(number == value)
