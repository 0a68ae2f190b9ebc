"""What may be accepted: tasks that nobody labelled, with a prediction of exactly one version."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backends.autoaccept.answers import class_of
from backends.autoaccept.desk import Desk
from backends.autoaccept.drawing import unlabelled
from backends.interface import Task
from backends.label_studio.blind import is_blind
from backends.label_studio.data_manager import has_version, later, page, tasks_of
from backends.label_studio.tasks import WITH_RESULTS_AT_ONCE

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A task with its one prediction as Label Studio has it."""

    task: Task
    score: float
    result: Sequence[Json]


@dataclass(frozen=True)
class Pool:
    """Scores and classes by task.

    `newer`: how many tasks came after the audits were drawn, and are left out; `unlabelled` is
    how many there are that nobody labelled, with a prediction or without.
    """

    scores: Mapping[int, float] = field(default_factory=dict)
    classes: Mapping[int, str] = field(default_factory=dict)
    newer: int = 0
    unlabelled: int = 0

    def scores_by_class(self) -> dict[str, list[float]]:
        """As certificates are made of."""
        found: dict[str, list[float]] = {}
        for task_id, score in self.scores.items():
            found.setdefault(self.classes[task_id], []).append(score)
        return found


def read_pool(desk: Desk, *, up_to: int, apart: Collection[int]) -> Pool:
    """All that may be accepted, but for tasks `apart`. Errors: `LabelStudioError`.

    That takes 3 ms a task: Label Studio tells no score without all that was predicted.
    """
    _, in_all = tasks_of(page(desk.client, desk.project.id, unlabelled(), size=1))
    scores: dict[int, float] = {}
    classes: dict[int, str] = {}
    newer = after = seen = 0
    while True:
        desk.go_on()
        found = page(
            desk.client,
            desk.project.id,
            [*unlabelled(), has_version(desk.version), later(after)],
            size=WITH_RESULTS_AT_ONCE,
            fields="all",
        )
        tasks = list(found.items or [])
        seen += len(tasks)
        desk.tell("reads predictions", min(seen / max(in_all, 1), 1.0))
        for one in candidates(tasks, desk.version):
            task_id = one.task.id or 0
            newer += task_id > up_to
            is_shown = not is_blind(desk.key, task_id, desk.blind_share)
            if task_id <= up_to and task_id not in apart and is_shown:
                scores[task_id], classes[task_id] = one.score, class_of(one.result)
        if len(tasks) < WITH_RESULTS_AT_ONCE:
            return Pool(scores, classes, newer, in_all)
        after = int(tasks[-1].id)


def candidates_among(
    client: LabelStudio, project_id: int, version: str, ids: Sequence[int]
) -> list[Candidate]:
    """Those of `ids` that may be accepted at this moment. Errors: `LabelStudioError`."""
    wanted = [*unlabelled(), has_version(version)]
    found = page(client, project_id, wanted, size=len(ids), ids=ids, fields="all")
    return list(candidates(found.items or [], version))


def candidates(tasks: Sequence[Any], version: str) -> Iterator[Candidate]:
    """Without those that somebody has begun to label."""
    for task in tasks:
        if task.drafts or task.annotations:
            continue
        stored = [one if isinstance(one, dict) else one.dict() for one in task.predictions or []]
        own = [one for one in stored if one.get("model_version") == version]
        newest = max(own, key=lambda one: int(one["id"]), default={})
        if newest.get("score") is not None:
            found = Task(int(task.id), dict(task.data or {}))
            yield Candidate(found, float(newest["score"]), newest.get("result") or [])
