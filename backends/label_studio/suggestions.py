"""Predictions that tools make on purpose, under versions of their own such as "review-0f3a...".

A tool has one prediction of each task; a newer one takes its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backends.errors import BadRegion, LabelStudioRefused
from backends.interface import Prediction, Project, Task
from backends.label_studio.data_manager import item, later, page, tasks_of
from backends.label_studio.results import encode_prediction
from backends.label_studio.tasks import (
    IDS_AT_ONCE,
    Stored,
    delete_predictions,
    import_predictions,
    pages,
    read_tasks,
    renew_prediction,
    stored_predictions,
    tasks_without,
    why_dropped,
)

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

Json = dict[str, Any]
GoOn = Callable[[], None]


@dataclass(frozen=True)
class Put:
    """Ids of tasks that have their prediction now; `failed`: why others have not."""

    stored: frozenset[int] = frozenset()
    failed: Mapping[int, str] = field(default_factory=dict)


def put_predictions(
    client: LabelStudio,
    project: Project,
    predictions: Mapping[int, Prediction],
    *,
    go_on: GoOn,
    marks: Mapping[int, Mapping[str, str]] | None = None,
) -> Put:
    """Store predictions by task id, in place of older ones of the same tool.

    A tool is the name before the version's hash. `marks`: by task id and region id a text for
    people (Label Studio shows it as the region's note). Safe to repeat; tasks that are gone are
    left out. `go_on` is called between requests and raises to stop. Errors: `LabelStudioError`.
    """
    stored: set[int] = set()
    failed: dict[int, str] = {}
    for ids in pages(sorted(predictions), IDS_AT_ONCE):
        go_on()
        items = dict[int, Json]()
        for task in read_tasks(client, project.id, ids):
            task_id = task.id or 0
            try:
                notes = (marks or {}).get(task_id, {})
                items[task_id] = _item(project, task, predictions[task_id], notes)
            except BadRegion as error:
                failed[task_id] = str(error)
        some = _Batch(client, project, items, go_on)
        stored |= some.put()
        failed |= some.failed
    return Put(frozenset(stored), failed)


def drop_predictions(
    client: LabelStudio,
    project_id: int,
    name: str,
    *,
    go_on: GoOn,
    keep: Collection[int] = frozenset(),
) -> int:
    """Delete a tool's predictions everywhere but in the tasks to `keep`; of how many tasks.

    One that a person made an annotation of stays. Errors: as `put_predictions`.
    """
    if not re.fullmatch("[a-z]+", name):
        raise ValueError(f"{name!r} is no tool's name")
    dropped, after = 0, 0
    while True:
        go_on()
        items = [item("predictions_model_versions", "contains", "String", f"{name}-")]
        tasks, _ = tasks_of(page(client, project_id, [*items, later(after)], size=IDS_AT_ONCE))
        ids = [task.id for task in tasks if task.id is not None]
        if not ids:
            return dropped
        others = [task_id for task_id in ids if task_id not in keep]
        for known in _known(client, project_id, f"{name}-{'0' * 10}", others).values():
            go_on()
            delete_predictions(client, known.older)
            dropped += bool(known.older)
        after = ids[-1]


def _known(
    client: LabelStudio, project_id: int, version: str, ids: Sequence[int]
) -> Mapping[int, Stored]:
    return stored_predictions(client, project_id, version, ids) if ids else {}


def _item(project: Project, task: Task, prediction: Prediction, notes: Mapping[str, str]) -> Json:
    encoded = encode_prediction(prediction, project.config, data=task.data)
    for one in encoded["result"]:
        if note := notes.get(one["id"]):
            one["meta"] = {"text": [note]}
    return {"task": task.id, **encoded}


class _Batch:
    """Some predictions on their way."""

    def __init__(
        self, client: LabelStudio, project: Project, items: Mapping[int, Json], go_on: GoOn
    ) -> None:
        self._client, self._project, self._go_on = client, project, go_on
        self._items = dict(items)
        self.failed: dict[int, str] = {}

    def put(self) -> set[int]:
        """The tasks whose predictions are stored."""
        if not self._items:
            return set()
        version = next(iter(self._items.values()))["model_version"]
        before = _known(self._client, self._project.id, version, list(self._items))
        renewed = {task_id for task_id, known in before.items() if self._renewed(task_id, known)}
        self._import([task_id for task_id in self._items if task_id not in renewed], version)
        return self._items.keys() - self.failed.keys()

    def _renewed(self, task_id: int, known: Stored) -> bool:
        """Put in the place of the newest older one; what is of this version already stays."""
        self._go_on()
        if known.is_present:
            delete_predictions(self._client, known.older)
            return True
        if not known.older:
            return False
        delete_predictions(self._client, known.older[:-1])
        with suppress(LabelStudioRefused):  # it is gone
            renew_prediction(self._client, known.older[-1], self._items[task_id])
            return True
        return False

    def _import(self, ids: Sequence[int], version: str) -> None:
        if not ids:
            return
        self._go_on()
        try:
            created = import_predictions(
                self._client, self._project.id, [self._items[task_id] for task_id in ids]
            )
        except LabelStudioRefused as error:
            self._one_by_one(ids, version, str(error))
            return
        if created < len(ids):
            for task in tasks_without(self._client, self._project.id, version, ids):
                item_ = self._items[task.id or 0]
                self.failed[task.id or 0] = why_dropped(self._project.config.text, item_)

    def _one_by_one(self, ids: Sequence[int], version: str, refusal: str) -> None:
        """Label Studio refuses all for the sake of one."""
        if len(ids) == 1:
            self.failed[ids[0]] = refusal
            return
        half = len(ids) // 2
        self._import(ids[:half], version)
        self._import(ids[half:], version)
