"""What a worker does in a turn: list a page of tasks, label some and store the predictions, train.

A turn may be done again at any point: which tasks are left is in the database, which of those have
a prediction already is asked of Label Studio.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from backends import logs
from backends.database import explained
from backends.errors import (
    LabelpilotError,
    LabelStudioError,
    LabelStudioRefused,
    ModelMissing,
    StateError,
)
from backends.interface import Labelled, Learner, Prelabeller, Project, Task
from backends.jobs.batches import ImportTimes
from backends.jobs.changes import Lost
from backends.jobs.listing import Listing
from backends.jobs.store import JobStore
from backends.jobs.tables import (
    LONGEST_DELAY_S,
    Sent,
    State,
    Turn,
    TurnKind,
    config_digest,
    family,
)
from backends.jobs.uploads import Patience, Stopped, Uploads, landed
from backends.jobs.watch import Watch
from backends.label_studio.blind import Blindfold, strip_predictions
from backends.label_studio.client import LabelStudios
from backends.label_studio.results import encode_prediction
from backends.label_studio.tasks import (
    existing,
    read_project,
    tasks_without,
)

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

log = logging.getLogger(__name__)
T = TypeVar("T")

_SUSPECT_STARTS, _MOST_STARTS = 3, 5  # a turn that kills its worker again and again
_MOST_DELAYS = 20
FIRST_DELAY_S = 30.0
_FRAMES_EVERY_S = 1.0
DATABASE_AGAIN_S = 2.0


class Superseded(Exception):
    """The label config is no longer the one that the job was made for."""


class Unfit(Exception):
    """This worker has not the model, or the settings, that the job was made for."""


class Turns:
    """Does turns. `sent` is called when there are new ones; `stopping` ends work early."""

    def __init__(
        self,
        *,
        store: JobStore,
        studios: LabelStudios,
        prelabellers: Mapping[str, Prelabeller],
        learner: Callable[[], Learner | None],
        blindfold: Blindfold,
        stopping: threading.Event,
        sent: Callable[[], None],
    ) -> None:
        self._store, self._studios = store, studios
        self._prelabellers, self._learner = prelabellers, learner
        self._blindfold, self._stopping, self._sent = blindfold, stopping, sent
        self._import_times = ImportTimes()

    def run(self, turn_id: str, attempt: int) -> None:
        """Do one turn, whatever it meets; returns when it needs this worker no more."""
        turn = self._surely(lambda: self._store.turns.begin(turn_id, attempt))
        if turn is None:
            return
        about = {"job_id": turn.job.id, "turn_id": turn.id, "project": turn.job.project_key}
        with logs.about(**about):
            self._carry_out(turn)

    def _carry_out(self, turn: Turn) -> None:
        try:
            self._do(turn)
            self._surely(lambda: self._store.turns.finish(turn))
        except Lost:
            log.debug("turn %s was taken over, or its job has ended", turn.id)
        except Stopped:
            self._surely(lambda: self._store.turns.put_back(turn))
        except (SQLAlchemyError, StateError) as error:
            said = explained(error) if isinstance(error, SQLAlchemyError) else error
            log.warning("%s; trying again", said)
            self._surely(lambda: self._store.turns.put_back(turn, delay_s=DATABASE_AGAIN_S))
        finally:
            self._sent()  # there may be room for the next

    def _do(self, turn: Turn) -> None:
        """The turn's work. Errors: `Lost`, `Stopped`, and those of databases."""
        try:
            if turn.kind in (TurnKind.LABEL, TurnKind.FIRST):
                if turn.starts < _SUSPECT_STARTS or self._halve(turn):
                    self._label(turn)
            elif turn.starts > _MOST_STARTS:
                what = "listing tasks" if turn.kind is TurnKind.LIST else "it"
                self._fail(turn, f"{what} ended {_MOST_STARTS} workers")
            elif turn.kind is TurnKind.TRAIN:
                self._train(turn)
            else:
                self._list(turn)
        except (Lost, Stopped, SQLAlchemyError):
            raise
        except Superseded as error:
            self._end(turn, State.SUPERSEDED, str(error))
        except (Unfit, ModelMissing) as error:
            note = f"waits for a worker with its model: {error}"
            self._postpone(turn, note, FIRST_DELAY_S, State.SUPERSEDED)
        except StateError as error:  # a database that is away for a moment, or a disk that is full
            self._postpone(turn, f"waits: {error}", DATABASE_AGAIN_S)
        except LabelStudioRefused as error:
            self._fail(turn, str(error))
        except LabelStudioError as error:
            self._postpone(turn, f"waits for Label Studio: {error}", FIRST_DELAY_S)
        except LabelpilotError as error:
            self._fail(turn, str(error))
        except Exception as error:  # a job must not stay open for ever
            log.debug("turn %s", turn.id, exc_info=True)
            self._fail(turn, f"a fault in labelpilot ({type(error).__name__})")

    def _train(self, turn: Turn) -> None:
        """Have the project's models trained."""
        learner = self._learner()
        if learner is None:
            raise Unfit("this one does not train")
        go_on = Watch(self._store.turns, turn, self._stopping)

        def tell(note: str) -> None:
            with suppress(SQLAlchemyError):  # a note is not worth a training
                self._store.tell(turn.job.id, note)

        try:
            learner.learn(turn.job.project_key, go_on=go_on, tell=tell)
        except Exception:
            go_on.again()  # it was only stopped, whatever it makes of that
            raise

    def _list(self, turn: Turn) -> None:
        """Find the job's tasks."""
        Listing(
            turn,
            store=self._store,
            client=lambda: self._client(turn),
            patiently=self._patience(turn),
            go_on=self._go_on,
            sent=self._sent,
        ).run()

    def _label(self, turn: Turn) -> None:
        """Label the turn's tasks that have no prediction yet."""
        patiently = self._patience(turn)
        ids = self._store.turns.task_ids(turn)
        project = self._project(turn)
        self._still_valid(turn, project)
        if turn.delays:
            self._store.tell(turn.job.id, "")  # what it waited for is here
        tasks, sent, there = self._left(turn, ids)
        known = {task.id or 0: task for task in tasks}
        uploads = Uploads(
            turn,
            store=self._store,
            client=lambda: self._client(turn),
            label_config=project.config.text,
            patiently=patiently,
            still_valid=lambda: self._still_valid(turn, self._project(turn)),
            hidden=lambda ids: self._blindfold.hidden(project, [known[one] for one in ids]),
            doubtful=sent,
            stopping=self._stopping,
            times=self._import_times,
        )
        progress = self._progress(turn)
        hidden = self._blindfold.hidden(project, tasks)

        def strip(ids: Collection[int]) -> None:
            job = turn.job
            patiently(
                lambda: strip_predictions(
                    self._client(turn), job.project_id, job.version, list(ids)
                )
            )

        strip(hidden)
        with closing(uploads):
            for task_id in there:
                uploads.land(task_id)
            labelled = self._prelabeller(turn).label(project, tasks, progress=progress)
            try:
                for one in labelled:
                    self._take(uploads, one, project, hidden)
                    self._go_on()
            except Stopped:
                uploads.flush()  # what is computed is not thrown away
                raise
            uploads.flush()
        strip(self._blindfold.hidden(project, tasks) - hidden)  # an audit was drawn meanwhile

    def _prelabeller(self, turn: Turn) -> Prelabeller:
        name = family(turn.job.version)
        if name not in self._prelabellers:
            raise Unfit(f"one here has no {name}")
        return self._prelabellers[name]

    def _project(self, turn: Turn) -> Project:
        """As Label Studio has it now."""
        number = turn.job.project_id
        found, _ = self._patience(turn)(lambda: read_project(self._client(turn), number))
        return Project(turn.job.project_key, found.config)

    def _left(
        self, turn: Turn, ids: Sequence[int]
    ) -> tuple[list[Task], Collection[int], Collection[int]]:
        """Those of `ids` that lack a prediction, those of which one was added before that may land
        yet, and those of which one has landed.
        """
        job, patiently = turn.job, self._patience(turn)

        def look() -> list[Task]:
            return patiently(
                lambda: tasks_without(self._client(turn), job.project_id, job.version, ids)
            )

        sent = self._store.turns.sent(turn)
        if sent:
            self._store.tell(job.id, "looks what has become of predictions that were sent before")
        added = {task_id for task_id, how in sent.items() if how is Sent.ADDED}
        tasks = landed(look, added, self._stopping)
        left = {task.id for task in tasks}
        gone_or_there = [one for one in sent if one not in left]
        there = patiently(lambda: existing(self._client(turn), job.project_id, gone_or_there))
        if sent:
            self._store.tell(job.id, "")
        rest = [one for one in ids if one not in left and one not in there]
        self._store.turns.note(turn, skipped=rest)
        order = {task_id: place for place, task_id in enumerate(ids)}
        return sorted(tasks, key=lambda task: order[task.id or 0]), added, there

    def _take(
        self, uploads: Uploads, one: Labelled, project: Project, hidden: Collection[int]
    ) -> None:
        task_id = one.task.id
        if task_id is None:
            return
        if one.error is not None:
            self._go_on()  # or the error is only that it was stopped
            uploads.fail(task_id, str(one.error))
        elif one.prediction is None and task_id in hidden:
            uploads.withhold(task_id, None)
        elif one.prediction is None:
            uploads.skip(task_id)
        else:
            try:
                item = encode_prediction(one.prediction, project.config, data=one.task.data)
            except (LabelpilotError, ValueError) as error:
                uploads.fail(task_id, str(error))
            else:
                (uploads.withhold if task_id in hidden else uploads.add)(task_id, item)

    def _progress(self, turn: Turn) -> Callable[[Task, int, int], None]:
        """Note how far a video is, now and then; stops it when this process is to end."""
        told_at = 0.0

        def progress(task: Task, done: int, frames: int) -> None:
            nonlocal told_at
            self._go_on()
            if task.id is None or time.monotonic() - told_at < _FRAMES_EVERY_S:
                return
            told_at = time.monotonic()
            self._store.turns.check(turn)
            self._store.turns.note_frames(turn, task.id, done=done, frames=frames)

        return progress

    def _still_valid(self, turn: Turn, project: Project) -> None:
        """Errors: `Lost`, `Superseded`, `Unfit`, `ModelMissing`."""
        self._store.turns.check(turn)
        made_for, prelabeller = turn.job.version, self._prelabeller(turn)
        if prelabeller.version(project) == made_for:
            return
        changed = config_digest(project) != turn.job.config_digest
        try:
            version = prelabeller.wait(project)
        except ModelMissing as error:
            if changed:
                raise Superseded(f"the label config has changed, and now {error}") from error
            raise
        if version == made_for:
            return
        if changed:
            raise Superseded(
                f"the label config has changed: predictions are now of version {version}; ask for "
                "them again"
            )
        raise Unfit(
            f"one here has another model or other settings (version {version}, not {made_for})"
        )

    def _go_on(self) -> None:
        """Errors: `Stopped`."""
        if self._stopping.is_set():
            raise Stopped

    def _postpone(
        self, turn: Turn, note: str, first_s: float, at_last: State = State.FAILED
    ) -> None:
        """Try it again after `first_s`, then later and later; in the end the job is `at_last`.

        What a training was to learn is left then for another, which is asked for at once.
        """
        if turn.delays >= _MOST_DELAYS:
            self._end(turn, at_last, note)
            return
        delay_s = min(first_s * 2**turn.delays, LONGEST_DELAY_S)
        log.warning("%s of project %s %s", _what(turn), turn.job.project_key, note)
        self._store.turns.put_back(turn, delay_s=delay_s)
        self._store.tell(turn.job.id, note)

    def _halve(self, turn: Turn) -> bool:
        """Leave half of a turn that ended its workers to another turn: one bad image is found so,
        and costs no other. False if it was that image alone, too often.
        """
        ids = self._store.turns.task_ids(turn)
        if len(ids) > 1:
            self._store.turns.split(turn, ids[len(ids) // 2 :])
            self._sent()
            return True
        if turn.starts <= _MOST_STARTS:
            return True
        reason = f"not labelled: {_MOST_STARTS} workers ended while they were at it"
        self._store.turns.note(turn, failed=dict.fromkeys(ids, reason))
        return False

    def _fail(self, turn: Turn, note: str) -> None:
        """End the job, since trying again would change nothing; so learns the learner."""
        if turn.kind is TurnKind.TRAIN and (learner := self._learner()) is not None:
            learner.give_up(turn.job.project_key, note)
        self._end(turn, State.FAILED, note)

    def _end(self, turn: Turn, state: State, note: str) -> None:
        log.warning("%s of project %s ended: %s", _what(turn), turn.job.project_key, note)
        self._store.end(turn.job.id, state, note)

    def _patience(self, turn: Turn) -> Patience:
        return Patience(self._stopping, lambda note: self._store.tell(turn.job.id, note))

    def _client(self, turn: Turn) -> LabelStudio:
        return self._studios.sdk(turn.job.project_key)

    def _surely(self, call: Callable[[], T]) -> T:
        """What `call` returns, as soon as the database is there. Errors: its own, when stopping."""
        while True:
            try:
                return call()
            except SQLAlchemyError as error:
                log.warning("%s; trying again", explained(error))
                if self._stopping.wait(DATABASE_AGAIN_S):
                    raise


def _what(turn: Turn) -> str:
    return "training" if turn.kind is TurnKind.TRAIN else "pre-labelling"
