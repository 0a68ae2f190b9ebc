"""Audits: tasks drawn at random, each as likely as any other, for people to label blind.

They stand for what may be accepted, so they are drawn from just that: a task that never can be
accepted stays, and once the easy ones are accepted such would make what is left look easy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from backends.autoaccept.desk import Desk
from backends.interface import Task
from backends.label_studio.audits import Drawn, Withheld
from backends.label_studio.blind import is_blind, strip_predictions
from backends.label_studio.data_manager import has_version, item, later, page, tasks_of
from backends.label_studio.tabs import drop_tab, put_tab
from backends.label_studio.task_fields import drop_fields, put_fields
from backends.label_studio.tasks import IDS_AT_ONCE, WITH_RESULTS_AT_ONCE, pages

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


def count_predicted(desk: Desk) -> int:
    """How many tasks that nobody labelled have a prediction of the model. As `newest`."""
    wanted = [*unlabelled(), has_version(desk.version)]
    return tasks_of(page(desk.client, desk.project.id, wanted, size=1))[1]


def count_unlabelled(desk: Desk) -> int:
    """How many tasks nobody labelled. As `newest`."""
    return tasks_of(page(desk.client, desk.project.id, unlabelled(), size=1))[1]


def draw_audits(desk: Desk, count: int) -> list[int]:
    """Draw `count` more audits, fewer where there are no more tasks; their ids.

    All are drawn from tasks that nobody had labelled or begun and that are not blind by lot, up to
    the newest one at the first draw: they stand for these alone. Once anything was accepted, a task
    needs a prediction as well. Errors: `LabelStudioError`, `StateError`.
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
    """Ids of `count` tasks as `draw_audits` wants them, in random order, all equally likely.

    Only ids up to `up_to`, and not those `apart`. Ids are guessed, which needs few requests however
    large the project is; where too few are hit, all are listed. `label_studio.random_tasks` needs
    fewer still, but neighbours come together there. Errors: `LabelStudioError`.
    """
    wanted = unlabelled()
    if desk.store.certificates(desk.key):
        wanted.append(has_version(desk.version))
    first, total = tasks_of(page(desk.client, desk.project.id, wanted, size=1))
    found: list[int] = []
    tried: set[int] = set()
    if total > _LISTED:
        for _ in range(_GUESSES):
            desk.go_on()
            guesses = desk.rng.integers(first[0].id or 0, up_to + 1, _GUESSED).tolist()
            there = {task.id or 0 for task in _among(desk, guesses, wanted)} - tried - {*apart}
            new = [guess for guess in dict.fromkeys(guesses) if guess in there]
            tried |= there
            found += _free(desk, new, count - len(found))
            if len(found) >= count:
                return found
    every = [one for one in _all(desk, up_to, wanted) if one not in apart and one not in tried]
    lot = [int(one) for one in desk.rng.permutation(every)]
    return found + _free(desk, lot, count - len(found))


def open_tasks(desk: Desk) -> list[Task]:
    """Drawn tasks, audits and spot checks, that nobody labelled yet. Errors: `LabelStudioError`."""
    ids = [one.task_id for one in desk.book.drawn(desk.key)]
    return [task for some in pages(ids, IDS_AT_ONCE) for task in _among(desk, some, unlabelled())]


def show(desk: Desk) -> int | None:
    """Put what is open into people's tab, and take our predictions away; the tab's id.

    None where nothing was ever drawn. Errors: `LabelStudioError`.
    """
    places = {one.task_id: one.place for one in desk.book.drawn(desk.key)}
    if not places:
        return None
    tasks = open_tasks(desk)
    ids = [task.id for task in tasks if task.id is not None]
    strip_predictions(desk.client, desk.project.id, desk.version, ids)
    missing = [task for task in tasks if task.data.get(FIELD) != places.get(task.id or 0)]
    for number, task in enumerate(missing):
        desk.tell("puts audits into a tab", number / len(missing))
        fields = {FIELD: places[task.id or 0]}
        put_fields(desk.client, desk.project.id, {task.id or 0: fields}, go_on=desk.go_on)
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


def _free(desk: Desk, ids: Sequence[int], count: int) -> list[int]:
    """The first `count` of `ids` that are not blind by lot, and that nobody has begun to label."""
    shown = [one for one in ids if not is_blind(desk.key, one, desk.blind_share)]
    found: list[int] = []
    for some in pages(shown, WITH_RESULTS_AT_ONCE):
        if len(found) >= count:
            break
        desk.go_on()
        listed = page(desk.client, desk.project.id, [], size=len(some), ids=some, fields="all")
        begun = {int(task.id) for task in listed.items or [] if task.drafts}
        found += [task_id for task_id in some if task_id not in begun]
    return found[:count]


def _among(desk: Desk, ids: Sequence[int], wanted: Sequence[Json]) -> list[Task]:
    """Those of `ids` that fit."""
    some = sorted(set(ids))
    return tasks_of(page(desk.client, desk.project.id, wanted, size=len(some), ids=some))[0]


def _all(desk: Desk, up_to: int, fit: Sequence[Json]) -> list[int]:
    found: list[int] = []
    while True:
        desk.go_on()
        wanted = [*fit, later(found[-1] if found else 0)]
        listed = page(desk.client, desk.project.id, wanted, size=_LISTED)
        ids = [task.id for task in tasks_of(listed)[0] if task.id is not None]
        found += ids
        if len(ids) < _LISTED or ids[-1] >= up_to:
            return [task_id for task_id in found if task_id <= up_to]
