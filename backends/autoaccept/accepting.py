"""Accepting: a prediction becomes an annotation of labelpilot's own account, and can be taken back.

What is to be stored is written down first, under an id by which Label Studio knows it again: kill
it at any line, run it twice, and no task has two.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backends.autoaccept.answers import class_of
from backends.autoaccept.desk import Desk
from backends.autoaccept.nouns import Check, Entry, Fate, Issued, Terms
from backends.autoaccept.pool import Candidate, candidates_among
from backends.errors import LabelStudioRefused
from backends.label_studio.accounts import find_own_account, own_account
from backends.label_studio.annotations import read_annotation
from backends.label_studio.audits import Drawn, Withheld
from backends.label_studio.blind import is_blind, strip_predictions
from backends.label_studio.client import told
from backends.label_studio.data_manager import page
from backends.label_studio.tasks import WITH_RESULTS_AT_ONCE, pages
from micro_models.regions import Region

Json = dict[str, Any]

# A request whose end nobody saw has been done by then, or never will be.
_LANDS_WITHIN_S = 60.0
_LOOK_EVERY_S = 2.0
_NAMES = uuid.UUID("6f1b6a1e-6a53-4c39-9e0e-6b9a6f1f7c11")


@dataclass(frozen=True)
class Accepted:
    """How many tasks were accepted, went to people as spot checks, or had changed meanwhile."""

    accepted: int = 0
    checked: int = 0
    changed: int = 0


def accept(desk: Desk, issued: Issued, terms: Terms, ids: Sequence[int]) -> Accepted:
    """Accept these tasks under a certificate, but for a random share that people are to check.

    A task that was labelled, begun or predicted anew since is left alone. Errors:
    `LabelStudioError`, `StateError`; the same again goes on from there.
    """
    account = own_account(desk.client)
    threshold_of = issued.certificate.threshold_of
    accepted = checked = done = 0
    for some in pages(sorted(ids), WITH_RESULTS_AT_ONCE):
        desk.tell("accepts", done / len(ids))
        done += len(some)
        found = candidates_among(desk.client, desk.project.id, issued.version, some)
        sure = [one for one in found if one.score >= threshold_of(class_of(one.result))]
        checks = [one for one in sure if is_check(issued.id, one.task.id or 0, terms.keep_checking)]
        checked += _check(desk, issued, checks)
        for one in sure:
            if one not in checks:
                desk.go_on()
                accepted += _accept(desk, issued, one, account)
    return Accepted(accepted, checked, len(ids) - accepted - checked)


def is_check(certificate: str, task_id: int, share: float) -> bool:
    """Whether the lot sends a task to people: the same for ever under a certificate.

    >>> sum(is_check("c0ffee", task_id, 0.05) for task_id in range(10_000))
    530
    """
    return is_blind(f"check {certificate}", task_id, share)


def settle(desk: Desk, *, wait: bool = False) -> None:
    """Find out what became of annotations whose storing nobody saw the end of.

    `wait`: until all have landed or never will. Errors: `LabelStudioError`, `StateError`.
    """
    while intended := desk.store.log(desk.key, fate=Fate.INTENDED):
        account = find_own_account(desk.client)
        now, left = desk.store.now(), 0
        for entries, tasks in _with_tasks(desk, intended):
            for entry in entries:
                stored = _stored(tasks.get(entry.task_id), entry, account)
                if stored is not None:
                    _note_stored(desk, entry, stored)
                elif entry.task_id not in tasks or abs(now - entry.at) > _LANDS_WITHIN_S:
                    desk.store.drop_intent(desk.key, entry)
                else:
                    left += 1
        if not left or not wait:
            return
        desk.tell("waits for what is on its way", 0.0)
        time.sleep(_LOOK_EVERY_S)


def take_back(desk: Desk) -> dict[Fate, int]:
    """Delete every accepted annotation that nobody has changed since; how many had which fate.

    Errors: `LabelStudioError`, `StateError`; the same again goes on from there.
    """
    settle(desk, wait=True)
    accepted = desk.store.log(desk.key, fate=Fate.ACCEPTED)
    counts = dict.fromkeys((Fate.TAKEN_BACK, Fate.CHANGED, Fate.GONE), 0)
    done = 0
    for entries, tasks in _with_tasks(desk, accepted):
        for entry in entries:
            desk.go_on()
            desk.tell("takes back", done / len(accepted))
            done += 1
            fate = _taken_back(desk, entry, tasks.get(entry.task_id, []))
            desk.store.note_fate(desk.key, entry, fate)
            counts[fate] += 1
    return counts


def _accept(desk: Desk, issued: Issued, one: Candidate, account: int) -> bool:
    entry = Entry(one.task.id or 0, issued.id, issued.version, one.score)
    if not desk.store.intend(desk.key, entry) and not _is_pending(desk, entry):
        return False  # it was accepted before, and people made something else of it
    note = f"accepted by labelpilot, score {one.score:.3f}, certificate {issued.id}"
    result = [_marked(dict(item), note) for item in one.result]
    try:
        with told(f"storing an annotation of task {entry.task_id}"):
            stored = desk.client.annotations.create(
                entry.task_id,
                result=result,
                completed_by=account,
                was_cancelled=False,
                unique_id=str(uuid.uuid5(_NAMES, f"{desk.key} {entry.certificate} {one.task.id}")),
                import_id=_import_id(entry),
                request_options={"max_retries": 0},
            )
    except LabelStudioRefused:  # it is there already, or the task is gone
        return _found(desk, entry, account)
    _note_stored(desk, entry, stored.dict())
    return True


def _is_pending(desk: Desk, entry: Entry) -> bool:
    intended = desk.store.log(desk.key, fate=Fate.INTENDED)
    return any(
        (one.task_id, one.certificate) == (entry.task_id, entry.certificate) for one in intended
    )


def _found(desk: Desk, entry: Entry, account: int) -> bool:
    """Whether the annotation is in Label Studio."""
    for _, tasks in _with_tasks(desk, [entry]):
        stored = _stored(tasks.get(entry.task_id), entry, account)
        if stored is not None:
            _note_stored(desk, entry, stored)
            return True
    desk.store.drop_intent(desk.key, entry)
    return False


def _check(desk: Desk, issued: Issued, checks: Sequence[Candidate]) -> int:
    """Send tasks to people, who from now on do not see the answers that are kept here."""
    if not checks:
        return 0
    ids = [one.task.id or 0 for one in checks]
    for task_id, one in zip(ids, checks, strict=True):
        size_px, regions = _read(desk, one)
        check = Check(task_id, issued.id, issued.version, one.score, regions, size_px)
        desk.store.add_check(desk.key, check)
    place, now = desk.book.last_place(desk.key), desk.store.now()
    desk.book.draw(
        desk.key,
        [Drawn(one, Withheld.CHECK, place + n + 1, now) for n, one in enumerate(ids)],
    )
    desk.go_on()
    strip_predictions(desk.client, desk.project.id, issued.version, ids)
    return len(checks)


def _read(desk: Desk, one: Candidate) -> tuple[tuple[int, int], tuple[Region, ...]]:
    """The picture's size as the prediction has it, and the regions on it."""
    sizes = [
        (int(item["original_width"]), int(item["original_height"]))
        for item in one.result
        if item.get("original_width") and item.get("original_height")
    ]
    size_px = sizes[0] if sizes else (1, 1)
    result = [dict(item) for item in one.result]
    return size_px, read_annotation(result, desk.project.config, size_px=size_px).regions


def _taken_back(desk: Desk, entry: Entry, annotations: Sequence[Json]) -> Fate:
    stored = next((one for one in annotations if one.get("id") == entry.annotation_id), None)
    if stored is None:
        return Fate.GONE
    is_as_stored = _moment(stored) == datetime.fromisoformat(entry.stored_at)
    if _digest(stored) != entry.digest or not is_as_stored:
        return Fate.CHANGED
    try:
        with told("deleting an annotation"):
            desk.client.annotations.delete(entry.annotation_id or 0)
    except LabelStudioRefused:  # somebody was faster
        return Fate.GONE
    return Fate.TAKEN_BACK


def _with_tasks(
    desk: Desk, entries: Sequence[Entry]
) -> Iterator[tuple[list[Entry], dict[int, list[Json]]]]:
    """Some entries at a time, with the annotations of those of their tasks that are there."""
    known: dict[int, list[Entry]] = {}  # a task may have been accepted under two certificates
    for entry in entries:
        known.setdefault(entry.task_id, []).append(entry)
    for ids in pages(sorted(known), WITH_RESULTS_AT_ONCE):
        desk.go_on()
        found = page(desk.client, desk.project.id, [], size=len(ids), ids=ids, fields="all")
        tasks = {int(task.id): list(task.annotations or []) for task in found.items or []}
        yield [entry for task_id in ids for entry in known[task_id]], tasks


def _stored(annotations: Sequence[Json] | None, entry: Entry, account: int | None) -> Json | None:
    """The annotation that an entry speaks of."""
    for one in annotations or ():
        is_ours = account is not None and one.get("completed_by") == account
        if is_ours and one.get("import_id") == _import_id(entry):
            return one
    return None


def _note_stored(desk: Desk, entry: Entry, stored: Json) -> None:
    desk.store.note_stored(
        desk.key,
        entry,
        int(stored["id"]),
        stored_at=_moment(stored).isoformat(),
        digest=_digest(stored),
    )


def _marked(item: Json, note: str) -> Json:
    """With a note that Label Studio shows beside the region."""
    meta: Any = item.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    notes = meta.get("text")
    return {**item, "meta": {**meta, "text": [*(notes if isinstance(notes, list) else []), note]}}


def _import_id(entry: Entry) -> int:
    """A number that marks all annotations under a certificate, empty ones too."""
    return int(hashlib.sha256(entry.certificate.encode()).hexdigest()[:7], 16)


def _digest(stored: Json) -> str:
    return hashlib.sha256(json.dumps(stored.get("result"), sort_keys=True).encode()).hexdigest()


def _moment(stored: Json) -> datetime:
    """When it was changed last."""
    value = stored["updated_at"]
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
