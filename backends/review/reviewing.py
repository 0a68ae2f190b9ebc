"""Puts a review together: what was found, what people answered before, known cases among it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from backends.interface import LabelConfig, Project
from backends.micro.out_of_fold import OutOfFold
from backends.micro.scopes import fills, video_controls
from backends.review.judging import Found, cases
from backends.review.nouns import Review
from backends.review.publishing import version_of
from backends.review.store import ReviewStore


def made_review(
    project: Project, scopes: Sequence[OutOfFold], found: Found, store: ReviewStore, *, host: str
) -> Review:
    """The review of a project as it is now, not kept yet. Errors: `StateError`."""
    asked = cases(found.suspects, scopes, store.answered(project.key))
    problems: dict[int, str] = {}
    for one in scopes:
        for task_id, why in one.problems.items():
            problems.setdefault(task_id, why)
    review = Review(
        project_key=project.key,
        version="",
        made_at=store.now(),
        judged=len({judged.task_id for one in scopes for judged in one.judged}),
        cases=asked,
        notes=(*found.notes, *_limits(project.config)),
        problems=problems,
        host=host,
    )
    return replace(review, version=version_of(review.suspects, project.config))


def without_audits(
    scopes: Sequence[OutOfFold], withheld: Collection[int]
) -> tuple[list[OutOfFold], tuple[str, ...]]:
    """What people may be asked about, and a note on what is left out.

    Whoever sees what a model says of an audit corrects it towards the model, and then it proves the
    model better than it is.
    """
    left = [
        replace(one, judged=tuple(each for each in one.judged if each.task_id not in withheld))
        for one in scopes
    ]
    audits = {each.task_id for one in scopes for each in one.judged} & set(withheld)
    if not audits:
        return left, ()
    count = f"{len(audits)} task{'s' if len(audits) > 1 else ''} of"
    return left, (f"{count} audits and spot checks left out: they are to stay blind",)


def open_suspicion(found: Found, review: Review) -> dict[int, float]:
    """By task id how suspicious it is, 0..1, but of tasks where somebody called a suspect right."""
    settled = {one.suspect.task_id for one in review.cases if one.verdict is False}
    return {task: value for task, value in found.suspicion.items() if task not in settled}


def _limits(config: LabelConfig) -> list[str]:
    """What a review of this project does not look at, for people."""
    if video_controls(config):
        return [
            "clips are not reviewed: frames beside each other know each other's labels; "
            "only pictures are"
        ]
    if not fills(config):
        return ["the label config has no control that a micro-model learns"]
    return []
