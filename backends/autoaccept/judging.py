"""What people say of drawn tasks, against what the model says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.autoaccept.answers import class_of
from backends.autoaccept.desk import Desk
from backends.autoaccept.nouns import Check, Issued, Judged
from backends.errors import LabelpilotError
from backends.interface import LabelledTask, Prediction, Project, Task
from backends.label_studio.annotations import read_annotation
from backends.label_studio.data_manager import item, page, tasks_of
from backends.label_studio.labelled import labelled_tasks
from backends.label_studio.results import encode_prediction
from backends.label_studio.tasks import IDS_AT_ONCE, pages, read_tasks
from backends.label_studio.truth import read_truth
from micro_models.certificates import Audit, is_right
from micro_models.regions import Region

Regions = tuple[Region, ...]


@dataclass(frozen=True)
class Answers:
    """What became of drawn tasks: by people labelled, skipped, or not seen yet; or deleted.

    `not_blind`: those labelled by somebody who saw a prediction, and began with it.
    """

    labelled: dict[int, LabelledTask] = field(default_factory=dict)
    skipped: dict[int, Task] = field(default_factory=dict)
    open: tuple[Task, ...] = ()
    gone: tuple[int, ...] = ()
    not_blind: tuple[int, ...] = ()


def people_said(desk: Desk, ids: Sequence[int]) -> Answers:
    """What people did with these tasks. Errors: `LabelStudioError`."""
    labelled: dict[int, LabelledTask] = {}
    for some in labelled_tasks(desk.client, desk.project.id, ids):
        desk.go_on()
        labelled |= {one.task.id: one.task for one in some}
    others = [task_id for task_id in ids if task_id not in labelled]
    there = {task.id: task for task in read_tasks(desk.client, desk.project.id, others)}
    skipped = _skipped(desk, [task_id for task_id in others if task_id in there])
    return Answers(
        labelled,
        {task_id: there[task_id] for task_id in skipped},
        tuple(there[task_id] for task_id in others if task_id in there.keys() - skipped),
        tuple(task_id for task_id in others if task_id not in there),
        tuple(
            task_id
            for task_id, task in labelled.items()
            if any(one.get("parent_prediction") is not None for one in task.annotations)
        ),
    )


def judged(desk: Desk, answers: Answers, *, min_iou: float) -> Judged:
    """The present model against people, who did not see it.

    What people skipped, or made from a prediction, it has wrong: nobody who had not seen an answer
    says that it is right. Errors: `ModelMissing`, `LabelStudioError`.
    """
    tasks = [Task(one.id, one.data) for one in answers.labelled.values()]
    tasks += answers.skipped.values()
    verdicts: dict[int, Audit] = {}
    unanswered: dict[int, str] = {}
    for number, one in enumerate(desk.prelabeller.label(desk.project, tasks)):
        desk.tell("looks at audits", number / len(tasks))
        desk.go_on()
        task_id = one.task.id or 0
        if one.prediction is None:
            unanswered[task_id] = str(one.error or "the model is not for it")
            continue
        size_px = one.prediction.width_px, one.prediction.height_px
        result = stored(one.prediction, one.task, desk.project)
        found = read_annotation(result, desk.project.config, size_px=size_px).regions
        task = answers.labelled.get(task_id)
        is_wrong = _is_wrong(found, task, desk.project, size_px, min_iou)
        is_wrong |= task_id in answers.not_blind
        verdicts[task_id] = Audit(one.prediction.score, is_wrong, class_of(result))
    still_open = tuple(task.id or 0 for task in answers.open)
    return Judged(verdicts, still_open, unanswered, answers.not_blind)


def judged_checks(
    desk: Desk, checks: Sequence[Check], answers: Answers, issued: Mapping[str, Issued]
) -> dict[int, bool]:
    """Whether what a model once said of checks was wrong, in the order in which people answered.

    As the certificate has it, of `issued` by id, under which each was drawn; without those that
    people made from a prediction.
    """
    known = {one.task_id: one for one in checks}
    wrong: dict[int, bool] = {}
    for task in sorted(answers.labelled.values(), key=lambda one: (one.updated_at, one.id)):
        if task.id in answers.not_blind:
            continue
        check = known[task.id]
        size_px, min_iou = _size_px(task) or check.size_px, issued[check.certificate].min_iou
        wrong[task.id] = _is_wrong(check.regions, task, desk.project, size_px, min_iou)
    return wrong | dict.fromkeys(answers.skipped, True)


def stored(prediction: Prediction, task: Task, project: Project) -> list[dict[str, Any]]:
    """What would stand in an annotation. Errors: none; [] for nothing."""
    try:
        return list(encode_prediction(prediction, project.config, data=task.data)["result"])
    except LabelpilotError:
        return []


def _is_wrong(
    found: Regions,
    task: LabelledTask | None,
    project: Project,
    size_px: tuple[int, int],
    min_iou: float,
) -> bool:
    if task is None:
        return True
    annotations = [dict(one) for one in task.annotations]
    truth = read_truth(annotations, project.config, size_px=size_px).regions
    return truth is None or not is_right(found, truth, min_iou=min_iou)


def _size_px(task: LabelledTask) -> tuple[int, int] | None:
    """The picture's (width, height) as people's regions have it; an empty answer has none."""
    for annotation in task.annotations:
        for one in annotation.get("result") or ():
            width, height = one.get("original_width"), one.get("original_height")
            if isinstance(width, int) and isinstance(height, int) and width > 0 < height:
                return width, height
    return None


def _skipped(desk: Desk, ids: Sequence[int]) -> set[int]:
    wanted = [item("cancelled_annotations", "greater", "Number", 0)]
    return {
        task.id or 0
        for some in pages(ids, IDS_AT_ONCE)
        for task in tasks_of(page(desk.client, desk.project.id, wanted, size=len(some), ids=some))[
            0
        ]
    }
