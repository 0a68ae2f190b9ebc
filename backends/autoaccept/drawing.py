"""Audits: tasks drawn at random, each as likely as any other, for people to label blind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from backends.autoaccept.desk import Desk
from backends.interface import Task
from backends.label_studio.audits import Drawn, Withheld
from backends.label_studio.blind import strip_predictions
from backends.label_studio.data_manager import item, later, page, tasks_of
from backends.label_studio.tabs import drop_tab, put_tab
from backends.label_studio.task_fields import drop_fields, put_fields
from backends.label_studio.tasks import IDS_AT_ONCE, pages

Json = dict[str, Any]

TAB = "Audit these"
FIELD = "labelpilot_audit"  # in which order people are to label them, from 1 on
# Ids are guessed, as many at once as fit an address, before all are listed.
_GUESSED, _GUESSES, _LISTED = 200, 40, 500


def unlabelled() -> list[Json]:
    """The filter of tasks that nobody labelled or skipped."""
    return [
        item("total_annotations", "equal", "Number", 0),
        item("cancelled_annotations", "equal", "Number", 0),
    ]


def newest(desk: Desk) -> int:
    """The highest id of a task that nobody labelled; 0 without any. Errors: `LabelStudioError`."""
    found = page(desk.client, desk.project.id, unlabelled(), size=1, ordering="-tasks:id")
    tasks, _ = tasks_of(found)
    return max((task.id or 0 for task in tasks), default=0)


def draw_audits(desk: Desk, count: int) -> list[int]:
    """Draw `count` more audits, fewer where there are no more tasks; their ids.

    All are drawn from tasks that nobody had labelled, up to the newest one at the first draw: they
    stand for these alone. Errors: `LabelStudioError`, `StateError`.
    """
    drawn = desk.book.drawn(desk.key)
    if not any(one.kind is Withheld.AUDIT for one in drawn):
        desk.store.note(desk.key, audits_to=newest(desk))
    up_to = desk.store.standing(desk.key).audits_to
    ids = random_tasks(desk, count, up_to=up_to, apart={one.task_id for one in drawn})
    place = max((one.place for one in drawn), default=0)
    now = desk.store.now()
    desk.book.draw(
        desk.key,
        [Drawn(task_id, Withheld.AUDIT, place + n + 1, now) for n, task_id in enumerate(ids)],
    )
    return ids


def random_tasks(desk: Desk, count: int, *, up_to: int, apart: Collection[int]) -> list[int]:
    """Ids of `count` tasks that nobody labelled, in random order, all equally likely.

    Only ids up to `up_to`, and not those `apart`. Ids are guessed, which needs few requests however
    large the project is; where too few are hit, all are listed. Errors: `LabelStudioError`.
    """
    first, total = tasks_of(page(desk.client, desk.project.id, unlabelled(), size=1))
    if total > _LISTED:
        found: dict[int, None] = {}
        for _ in range(_GUESSES):
            desk.go_on()
            guesses = desk.rng.integers(first[0].id or 0, up_to + 1, _GUESSED).tolist()
            there = {task.id for task in _among(desk, guesses)}
            found |= {guess: None for guess in guesses if guess in there and guess not in apart}
            if len(found) >= count:
                return list(found)[:count]
    every = [task_id for task_id in _all(desk, up_to) if task_id not in apart]
    return [int(one) for one in desk.rng.permutation(every)[:count]]


def open_tasks(desk: Desk) -> list[Task]:
    """Drawn tasks, audits and spot checks, that nobody labelled yet. Errors: `LabelStudioError`."""
    ids = [one.task_id for one in desk.book.drawn(desk.key)]
    return [task for some in pages(ids, IDS_AT_ONCE) for task in _among(desk, some)]


def show(desk: Desk) -> int | None:
    """Put what is open into people's tab, and take our predictions away; the tab's id.

    None where nothing was ever drawn. Errors: `LabelStudioError`.
    """
    places = {one.task_id: one.place for one in desk.book.drawn(desk.key)}
    if not places:
        return None
    tasks = open_tasks(desk)
    missing = [task for task in tasks if task.data.get(FIELD) != places.get(task.id or 0)]
    for number, task in enumerate(missing):
        desk.tell("puts audits into a tab", number / len(missing))
        fields = {FIELD: places[task.id or 0]}
        put_fields(desk.client, desk.project.id, {task.id or 0: fields}, go_on=desk.go_on)
    ids = [task.id for task in tasks if task.id is not None]
    strip_predictions(desk.client, desk.project.id, desk.version, ids)
    wanted = [
        item(f"data.{FIELD}", "greater", "Number", 0),
        item("total_annotations", "equal", "Number", 0),
    ]
    ordering = [f"tasks:data.{FIELD}"]
    return put_tab(desk.client, desk.project.id, TAB, items=wanted, ordering=ordering)


def hide(desk: Desk) -> None:
    """Take the tab and the fields away. Errors: `LabelStudioError`."""
    drop_tab(desk.client, desk.project.id, TAB)
    drop_fields(desk.client, desk.project.id, [FIELD], go_on=desk.go_on)


def _among(desk: Desk, ids: Sequence[int]) -> list[Task]:
    """Those of `ids` that are tasks which nobody labelled."""
    some = sorted(set(ids))
    found = page(desk.client, desk.project.id, unlabelled(), size=len(some), ids=some)
    return tasks_of(found)[0]


def _all(desk: Desk, up_to: int) -> list[int]:
    found: list[int] = []
    while True:
        desk.go_on()
        wanted = [*unlabelled(), later(found[-1] if found else 0)]
        listed = page(desk.client, desk.project.id, wanted, size=_LISTED)
        ids = [task.id for task in tasks_of(listed)[0] if task.id is not None]
        found += ids
        if len(ids) < _LISTED or ids[-1] >= up_to:
            return [task_id for task_id in found if task_id <= up_to]
