"""Blind tasks: a few, drawn by lot, are served without any prediction.

People who are shown a filled-in answer tend to leave it. What predictions do to speed and to labels
can only be told beside tasks that had none. Which tasks are blind nobody is told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from backends.interface import Project, Task
from backends.label_studio.data_manager import item, page
from backends.label_studio.tasks import (
    WITH_RESULTS_AT_ONCE,
    delete_predictions,
    pages,
    same_backend,
)

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

# The task ids of a project, by its key, that are blind whatever the lot says.
Audits = Callable[[str], Collection[int]]
_RANGE = 2**64


def is_blind(project_key: str, task_id: int, share: float) -> bool:
    """Whether the lot falls on a task: the same for ever, and for a `share` (0..1) of all tasks.

    What is blind at some share is so at every larger one.

    >>> sum(is_blind("7.1700000000", task_id, 0.05) for task_id in range(10_000))
    493
    """
    digest = hashlib.sha256(f"blind {project_key} {task_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * _RANGE


class Blindfold:
    """Tells which tasks get no predictions: a share by lot, and those drawn for an audit.

    `audits` may be set later; it is asked each time, and its errors reach whoever asks.
    """

    def __init__(self, share: float, audits: Audits = lambda _: ()) -> None:
        self.share, self.audits = share, audits

    def hidden(self, project: Project, tasks: Iterable[Task]) -> frozenset[int]:
        """The ids of those of `tasks` whose predictions are withheld.

        The lot spares videos: there a model completes what the annotator has begun, and one clip
        may be all that a project has.
        """
        found = {task.id: task for task in tasks if task.id is not None}
        drawn = self.audits(project.key) if found else ()
        clips = [medium.data_key for medium in project.config.media if medium.tag == "Video"]
        return frozenset(
            task_id
            for task_id, task in found.items()
            if task_id in drawn
            or (
                is_blind(project.key, task_id, self.share)
                and not any(task.data.get(key) for key in clips)
            )
        )


def strip_predictions(
    client: LabelStudio, project_id: int, version: str, ids: Sequence[int]
) -> int:
    """Delete what the backend of `version` has stored for `ids` under any version; how many.

    Tasks with annotations or drafts are left alone: Label Studio refuses an annotation whose
    prediction is gone, so that somebody who is at it could not submit. Errors: `LabelStudioError`.
    """
    ours, deleted = same_backend(version), 0
    for some in pages(sorted(ids), WITH_RESULTS_AT_ONCE):
        wanted = [
            item("total_predictions", "greater", "Number", 0),
            item("total_annotations", "equal", "Number", 0),
        ]
        listed = page(client, project_id, wanted, size=len(some), ids=some, fields="all")
        for task in listed.items or []:
            if getattr(task, "drafts", None):
                continue
            stored = [_as_json(one) for one in task.predictions or []]
            own = [one["id"] for one in stored if ours(one.get("model_version"))]
            delete_predictions(client, own)
            deleted += len(own)
    return deleted


def _as_json(one: Any) -> dict[str, Any]:
    return one if isinstance(one, dict) else dict(one.model_dump())
