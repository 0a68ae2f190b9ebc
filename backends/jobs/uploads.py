"""Predictions on their way to Label Studio while the next ones are computed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from backends.errors import LabelpilotError, LabelStudioError, LabelStudioRefused
from backends.interface import Task
from backends.jobs.batches import VERY_SOON_S, Batch, ImportTimes
from backends.jobs.store import JobStore
from backends.jobs.tables import Sent, Turn, TurnKind
from backends.label_studio.tasks import (
    Stored,
    delete_doubles,
    delete_predictions,
    existing,
    import_predictions,
    renew_prediction,
    stored_predictions,
    tasks_without,
    why_dropped,
)
from backends.logs import Threads

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

T = TypeVar("T")
Json = dict[str, Any]
# One request each: with two at a time a Label Studio stores half as many again a second, with four
# no more, while whoever submits waits twice as long.
_RENEWED_AT_ONCE = 2
WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
LANDS_WITHIN_S = 30.0  # a send whose end nobody saw; a busy Label Studio takes seconds
_LOOK_EVERY_S = 1.0


class Stopped(Exception):
    """This process is asked to end: leave the rest to whoever comes next."""


class Patience:
    """Calls Label Studio again, with growing pauses, for about a minute.

    `tell` is told what it waits for, and "" when that is over. Errors: `LabelStudioError` after
    the last try, `LabelStudioRefused` at once, `Stopped`.
    """

    def __init__(
        self,
        stopping: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self._stopping, self._tell = stopping, tell

    def __call__(self, call: Callable[[], T]) -> T:
        """What `call` returns, sooner or later."""
        for tries, wait_s in enumerate((*WAITS_S, 0.0)):
            try:
                value = call()
            except LabelStudioRefused:
                raise
            except LabelStudioError as error:
                if tries == len(WAITS_S):
                    raise
                self._tell(f"waits for Label Studio: {error.message}")
                if self._stopping.wait(wait_s):
                    raise Stopped from None
            else:
                if tries:
                    self._tell("")
                return value
        raise AssertionError


def landed(
    look: Callable[[], list[Task]], sent: Collection[int], stopping: threading.Event
) -> list[Task]:
    """What `look` finds, the tasks that lack a prediction, when a send of `sent` has landed.

    Label Studio stores a batch at once: if one of `sent` lacks none, nothing is on its way. After
    `LANDS_WITHIN_S` it is taken for lost. Errors: `Stopped`, those of `look`.
    """
    until = time.monotonic() + LANDS_WITHIN_S
    while True:
        tasks = look()
        lacking = {task.id for task in tasks}
        if not sent or not lacking.issuperset(sent) or time.monotonic() > until:
            return tasks
        if stopping.wait(_LOOK_EVERY_S):
            raise Stopped


class Uploads:
    """Stores and counts a turn's results in a thread of its own, in batches.

    A batch grows while the one before is on its way, so a slow Label Studio gets fewer requests.
    `still_valid` is called before each and raises if nothing more may be stored, and `hidden` tells
    which tasks are blind by then. `doubtful`: tasks whose predictions were sent before, and may
    land yet.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        store: JobStore,
        client: Callable[[], LabelStudio],
        label_config: str,
        patiently: Patience,
        still_valid: Callable[[], None],
        hidden: Callable[[Collection[int]], Collection[int]],
        doubtful: Collection[int],
        stopping: threading.Event,
        times: ImportTimes,
    ) -> None:
        self._turn, self._store, self._client = turn, store, client
        self._project_id = turn.job.project_id
        self._label_config, self._patiently = label_config, patiently
        self._still_valid, self._hidden, self._stopping = still_valid, hidden, stopping
        self._doubtful, self._times = set(doubtful), times
        self._pool = Threads(1, thread_name_prefix="upload")
        self._batch = self._new_batch(is_first=not turn.job.finished)
        self._flight: Future[None] | None = None

    def add(self, task_id: int, item: Json) -> None:
        """A prediction for a task. Errors: what an earlier batch met."""
        self._batch.items[task_id] = {"task": task_id, **item}
        self._batch.nbytes += len(json.dumps(item))
        self._go_on()

    def land(self, task_id: int) -> None:
        """A prediction that was sent before has been stored."""
        self._batch.landed.append(task_id)
        self._go_on()

    def skip(self, task_id: int) -> None:
        """There is nothing to store for a task."""
        self._batch.skipped.append(task_id)
        self._go_on()

    def withhold(self, task_id: int, item: Json | None) -> None:
        """A prediction, if there is one, that Label Studio is not to be told."""
        self._batch.withheld[task_id] = item
        self._batch.nbytes += len(json.dumps(item))
        self._go_on()

    def fail(self, task_id: int, reason: str) -> None:
        """A task has failed."""
        self._batch.failed[task_id] = reason
        self._go_on()

    def flush(self) -> None:
        """Store all that was added, and wait for it."""
        self._land()
        if len(self._batch):
            self._start()
            self._land()

    def close(self) -> None:
        """End the thread; what was not flushed is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _go_on(self) -> None:
        in_flight = self._flight is not None and not self._flight.done()
        if self._batch.full or (self._batch.ripe and not in_flight):
            self._land()
            self._start()

    def _start(self) -> None:
        batch, self._batch = self._batch, self._new_batch()
        self._flight = self._pool.submit(self._store_batch, batch)

    def _new_batch(self, *, is_first: bool = False) -> Batch:
        if is_first or self._turn.kind is TurnKind.FIRST:  # somebody waits for these
            return Batch(soon_s=VERY_SOON_S)
        return Batch(grows_s=self._times.batch_grows_s(self._turn.job.project_key))

    def _land(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.result()

    def _store_batch(self, batch: Batch) -> None:
        self._still_valid()
        for task_id in self._hidden([*batch.items]):
            item = batch.items.pop(task_id)
            batch.withheld[task_id] = {key: item[key] for key in item if key != "task"}
        self._keep(batch.withheld)
        ids = list(batch.items)
        before = self._before([*ids, *batch.landed])
        self._store.turns.note_sent(self._turn, [*before.keys() & batch.items], Sent.IN_PLACE)
        renewed = self._renew(batch, before)
        new = [task_id for task_id in ids if task_id not in renewed]
        self._store.turns.note_sent(self._turn, new)
        self._import(batch, new)
        stored = [*batch.items, *batch.landed]
        self._delete_doubles(set(stored))
        batch.failed |= self._delete_older(stored, before, renewed)
        self._store.turns.note(
            self._turn,
            stored=[task_id for task_id in stored if task_id not in batch.failed],
            skipped=batch.skipped,
            failed=batch.failed,
            blind=list(batch.withheld),
        )

    def _keep(self, withheld: Mapping[int, Json | None]) -> None:
        """What a task would have been shown is what was there when it was labelled: the newest
        while nobody had labelled it, and else the first.
        """
        options = self._turn.job.options
        items = {task_id: item for task_id, item in withheld.items() if item is not None}
        self._store.unshown.put(
            self._turn.job.project_key,
            items,
            replace=options is not None and options.tasks.only_unlabelled,
        )

    def _before(self, ids: Sequence[int]) -> Mapping[int, Stored]:
        """What this backend has stored for tasks before, where that is to be replaced."""
        job = self._turn.job
        if not ids or job.options is None or not job.options.replace:
            return {}
        return self._patiently(
            lambda: stored_predictions(self._client(), job.project_id, job.version, ids)
        )

    def _renew(self, batch: Batch, before: Mapping[int, Stored]) -> set[int]:
        """Put predictions in the place of older ones; the tasks that need no other any more."""
        with Threads(_RENEWED_AT_ONCE, thread_name_prefix="renew") as threads:
            ids = [task_id for task_id in batch.items if task_id in before]
            renewed = threads.map(
                lambda task_id: self._renew_one(batch.items[task_id], before[task_id]), ids
            )
            return {task_id for task_id, is_there in zip(ids, renewed, strict=True) if is_there}

    def _renew_one(self, item: Json, known: Stored) -> bool:
        """Put a prediction in the place of the newest of the older ones, if there is one.

        Also true where Label Studio has got one of this version by itself meanwhile.
        """
        if known.is_present or not known.older:
            return known.is_present
        newest = known.older[-1]
        self._store.turns.check(self._turn)  # or what comes after it is written over
        try:
            self._patiently(lambda: renew_prediction(self._client(), newest, item))
        except LabelStudioRefused:  # it is gone, or this one is not liked: importing tells
            return False
        return True

    def _import(self, batch: Batch, ids: list[int]) -> None:
        """Store predictions for `ids`; what cannot be stored leaves `items` with its reason."""
        unsure = False

        def send() -> int:
            nonlocal ids, unsure
            if unsure:  # whatever went wrong, Label Studio may have stored them all the same
                self._doubtful.update(ids)
                tasks = landed(lambda: self._without(ids), ids, self._stopping)
                ids = [task.id for task in tasks if task.id is not None]
            unsure = True
            return self._post(batch, ids)

        try:
            created = self._patiently(send)
        except LabelStudioRefused as error:
            self._sort_out(batch, ids, str(error))
            return
        if created < len(ids):
            for task in self._patiently(lambda: self._without(ids)):
                if task.id is not None:
                    item = batch.items.pop(task.id)
                    batch.failed[task.id] = why_dropped(self._label_config, item)

    def _delete_doubles(self, stored: set[int]) -> None:
        """Of what was sent twice, one stays."""
        version = self._turn.job.version
        for task_id in self._doubtful & stored:
            with suppress(LabelStudioRefused):  # the task is gone
                self._patiently(partial(delete_doubles, self._client(), task_id, version))

    def _post(self, batch: Batch, ids: Sequence[int]) -> int:
        if not ids:
            return 0
        items = [batch.items[task_id] for task_id in ids]
        began = time.monotonic()
        created = import_predictions(self._client(), self._project_id, items)
        self._times.note(self._turn.job.project_key, time.monotonic() - began)
        return created

    def _without(self, ids: Sequence[int]) -> list[Task]:
        return tasks_without(self._client(), self._project_id, self._turn.job.version, ids)

    def _sort_out(self, batch: Batch, ids: list[int], refusal: str) -> None:
        """Label Studio refuses all for the sake of one: find it."""
        there = self._patiently(lambda: existing(self._client(), self._project_id, ids))
        for task_id in set(ids) - there:
            del batch.items[task_id]
            batch.skipped.append(task_id)
        left = [task_id for task_id in ids if task_id in there]
        if len(left) < len(ids):
            self._import(batch, left)
        elif len(left) == 1:
            del batch.items[left[0]]
            batch.failed[left[0]] = refusal
        else:
            half = len(left) // 2
            self._import(batch, left[:half])
            self._import(batch, left[half:])

    def _delete_older(
        self, stored: Sequence[int], before: Mapping[int, Stored], renewed: Collection[int]
    ) -> dict[int, str]:
        """Delete older predictions that nothing was put in the place of; why not, by task id."""
        failed = {}
        for task_id in stored:
            known = before.get(task_id, Stored())
            in_place = task_id in renewed and not known.is_present
            left = known.older[:-1] if in_place else known.older
            try:
                self._patiently(partial(delete_predictions, self._client(), left))
            except LabelpilotError as error:
                failed[task_id] = f"labelled, but older predictions are still there: {error}"
        return failed
