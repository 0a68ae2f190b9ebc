"""Brings what is kept of a project's labels to what Label Studio has: only what changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from backends.errors import LabelStudioGone
from backends.interface import Project
from backends.label_studio.labelled import (
    Fetched,
    changed_labels,
    count_labelled,
    labelled_tasks,
)
from backends.label_studio.tasks import existing, read_project
from backends.micro.acceptance import accepted, together
from backends.micro.nouns import Acceptance, ScopeKind
from backends.micro.scopes import scope_of
from backends.micro.store import MicroStore
from backends.micro.versions import is_ours

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

log = logging.getLogger(__name__)

# Below this, to list all that is labelled takes hardly longer than to ask for what changed.
_FEW = 300
# What Label Studio wrote by a long request may come to light so much later than it is dated.
_LATE = timedelta(minutes=10)


@dataclass(frozen=True)
class Synced:
    """Ids of labelled tasks that are new or changed, of those that are none any more; how many."""

    changed: frozenset[int]
    gone: frozenset[int]
    total: int


def present_project(client: LabelStudio, project_key: str) -> Project:
    """The project of that key as it is now.

    Errors: `LabelStudioGone` if there is none, or another one has its number; `LabelStudioError`,
    `BadLabelConfig`.
    """
    found, _ = read_project(client, int(project_key.split(".")[0]))
    if "." in project_key and found.key != project_key:
        raise LabelStudioGone("the project of this number is another one now")
    return replace(found, key=project_key)


def drop_pointers(client: LabelStudio, project: Project, store: MicroStore) -> None:
    """Models of what the label config no longer knows, or of a clip that is gone, do not answer.

    Only then may their files go. Errors: `LabelStudioError`, `StateError`.
    """
    found = {key: scope_of(project.config, key) for key in store.current(project.key)}
    clips = {
        key: int(one.value) for key, one in found.items() if one and one.kind is ScopeKind.CLIP
    }
    lost = set(clips.values()) - store.known(project.key).keys()
    there = existing(client, project.id, sorted(lost)) if lost else set()
    for key, scope in found.items():
        if scope is None or clips.get(key) in lost - there:
            store.drop_scope_pointer(project.key, key)


def synchronised(
    client: LabelStudio,
    project_id: int,
    project_key: str,
    store: MicroStore,
    *,
    go_on: Callable[[], None],
) -> Synced:
    """Keep Label Studio's present labels of a project, downloading only what changed.

    What was downloaded is kept page by page: whoever is stopped and does it again goes on from
    there. `go_on` raises to stop. Where much is labelled, only tasks that changed lately are
    listed if their number then agrees with Label Studio's. Errors: `LabelStudioError`,
    `StateError`.
    """
    known = store.known(project_key)
    until = store.synced_to(project_key)
    now = _lately(client, project_id, known, until, go_on) if until else None
    if now is None:
        now = changed_labels(client, project_id, go_on=go_on)
    gone = known.keys() - now.keys()
    changed = {task_id for task_id, at in now.items() if known.get(task_id) != at}
    store.drop_labelled(project_key, sorted(gone))
    found: set[int] = set()
    # Tasks that only we annotated are kept too, or they would be fetched again each time.
    for page in labelled_tasks(client, project_id, sorted(changed), with_own=True):
        acceptance = {one.task.id: made for one in page if (made := _acceptance(one))}
        store.put_labelled(project_key, [one.task for one in page], acceptance)
        found |= {one.task.id for one in page}
        go_on()
    lost = changed - found  # between the listing and now
    store.drop_labelled(project_key, sorted(lost & known.keys()))
    if now:
        store.note_synced(project_key, max(now.values(), key=datetime.fromisoformat))
    if found or gone or lost:
        log.info("project %s: %d labelled tasks changed", project_key, len(found))
    lost_now = frozenset(gone | (lost & known.keys()))
    return Synced(frozenset(found), lost_now, store.count_labelled(project_key))


def _lately(
    client: LabelStudio,
    project_id: int,
    known: Mapping[int, str],
    until: str,
    go_on: Callable[[], None],
) -> dict[int, str] | None:
    """All labelled tasks as they are now, by what changed lately; None: that does not tell."""
    if len(known) < _FEW:
        return None
    since = datetime.fromisoformat(until) - _LATE
    now = {**known, **changed_labels(client, project_id, since=since, go_on=go_on)}
    return now if len(now) == count_labelled(client, project_id) else None


def _acceptance(fetched: Fetched) -> Acceptance | None:
    """Of all annotators together; None where no annotation was made from a prediction of ours."""
    of_each = []
    for one in fetched.task.annotations:
        parent = fetched.parents.get(one.get("parent_prediction") or 0)
        if parent is not None and is_ours(parent.version):
            of_each.append(accepted(parent.result, one.get("result")))
    return together(of_each) if of_each else None
