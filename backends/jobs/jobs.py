"""Background work as backends, the command line and the status page see it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy.exc import SQLAlchemyError

from backends.database import explained
from backends.errors import LabelpilotError
from backends.interface import Learner, Prelabeller, Project
from backends.jobs.listing import turn_size
from backends.jobs.queues import queues
from backends.jobs.store import JobStore
from backends.jobs.tables import JobState, PrelabelOptions, State
from backends.jobs.turns import Turns
from backends.jobs.unshown import Unshown
from backends.label_studio.blind import Blindfold
from backends.label_studio.client import LabelStudios
from backends.label_studio.projects import ProjectBook
from backends.label_studio.tasks import pages
from backends.settings import Settings

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0  # for new turns, while there is work
_IDLE_LOOK_EVERY_S = 5.0
_FAILURES_COUNT_FOR_S = 600.0


class Jobs:
    """Pre-labels tasks and trains in the background, durably: what is asked for survives a crash.

    This process does what `LABELPILOT_QUEUES` names, and leaves the rest to others.

    `prelabellers` by the family of their versions: "yolo" for "yolo-3f5a...". `learner` is set
    before `start`; without one, trainings are left to other processes. `blindfold` tells whose
    predictions are withheld; None: a share by lot, as the settings say.

    Workers are all processes with one database whose `Jobs` was started: they share the work.
    Nothing is started before there is any. Errors of all methods: `Unavailable`.
    """

    learner: Learner | None = None

    def __init__(
        self,
        settings: Settings,
        studios: LabelStudios,
        projects: ProjectBook,
        prelabellers: Mapping[str, Prelabeller],
        *,
        blindfold: Blindfold | None = None,
    ) -> None:
        self._settings, self._prelabellers = settings, dict(prelabellers)
        self._projects = projects
        self._store = JobStore(settings)
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._turns = Turns(
            store=self._store,
            studios=studios,
            prelabellers=self._prelabellers,
            learner=lambda: self.learner,
            blindfold=blindfold or Blindfold(settings.blind_share),
            stopping=self._stopping,
            sent=self._wake.set,
        )
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Work from now on, on what is unfinished too; returns at once."""
        with self._lock:
            takes = queues(self._settings, trains=self.learner is not None)
            if takes and self._keeper is None and not self._stopping.is_set():
                self._keeper = threading.Thread(target=self._keep, name="jobs", daemon=True)
                self._keeper.start()

    def close(self) -> None:
        """Stop working; the batch in hand is finished, the rest waits for the next start."""
        self._stopping.set()
        self._wake.set()
        if self._keeper is not None:
            self._keeper.join()
        self._store.close()

    def prelabel(self, project: Project, version: str, task_ids: Sequence[int]) -> None:
        """Have tasks labelled and their predictions stored; those under way already are left so.

        What failed a moment ago is left too, or each view of its task would fetch it again.
        Returns at once.
        """
        with _told():
            failed = self._store.failed_lately(
                project.key, version, task_ids, within_s=_FAILURES_COUNT_FOR_S
            )
            ids = sorted(set(task_ids) - failed)
            parts = list(pages(ids, turn_size(len(ids))))
            if not parts:
                return
            job_id = self._store.unfinished(project.key, version, None)
            if job_id is None or not self._store.add(job_id, parts):
                self._store.create(project, version, None, parts)
        self.start()
        self._wake.set()

    def pending(self, project: Project, version: str, task_ids: Collection[int]) -> Collection[int]:
        """Those of `task_ids` that are being labelled or wait for it."""
        with _told():
            return self._store.pending(project.key, version, task_ids)

    def train(self, project_key: str) -> None:
        """Have a project's models trained, unless one training of it waits or goes on.

        Returns at once.
        """
        with _told():
            self._store.trainings.add(project_key)
        self.start()
        self._wake.set()

    def is_training(self, project_key: str) -> bool:
        """Whether a training of the project waits or goes on."""
        with _told():
            return self._store.trainings.is_open(project_key)

    def training(self, project_key: str) -> JobState | None:
        """The last training that was asked for, open or ended."""
        with _told():
            return self._store.trainings.newest(project_key)

    def cancel_training(self, project_key: str) -> bool:
        """End a training, within a second or so; False if there is none."""
        with _told():
            return self._store.trainings.cancel(project_key)

    def recent_trainings(self, limit: int = 20) -> list[JobState]:
        """Open trainings first, then the newest of about a day."""
        with _told():
            return self._store.trainings.recent(limit)

    def refresh(
        self, project: Project, version: str, *, first: Sequence[int] = (), others: bool = True
    ) -> None:
        """Have predictions of `version` stored for tasks without annotations; our older ones go.

        `first` in their order, whether they have annotations or not, then, if `others`, the rest
        of the project, of each thousand the least certain before others. What was to be refreshed
        to another version no longer is. Returns at once.
        """
        with _told():
            self._store.refreshes.ask(project, version, first=first, others=others)
        self.start()
        self._wake.set()

    def prelabel_project(
        self,
        project: Project,
        options: PrelabelOptions,
        *,
        restart: bool = False,
        prelabeller: Prelabeller | None = None,
    ) -> str:
        """Have a project's tasks labelled by `prelabeller`, else the first of all; the job's id.

        If the same was asked for before and is unfinished, that job goes on, unless `restart`.
        It takes as long as the model needs to be here. Errors: `StateError`, `ModelMissing`.
        """
        prelabeller = prelabeller or next(iter(self._prelabellers.values()))
        version = prelabeller.wait(project)
        with _told():
            job_id = self._store.unfinished(project.key, version, options.text())
            if job_id is not None and restart:
                self._store.end(job_id, State.CANCELLED, "asked for anew")
                job_id = None
            if job_id is None:
                job_id = self._store.create(project, version, options)
        self._wake.set()
        return job_id

    def cancel(self, job_id: str) -> None:
        """End a job; what is stored stays."""
        with _told():
            self._store.end(job_id, State.CANCELLED, "cancelled")

    def job(self, job_id: str) -> JobState:
        """Where a job stands. Errors: `StateError` if there is none."""
        with _told():
            return self._store.job(job_id)

    def recent_jobs(self, limit: int = 20) -> list[JobState]:
        """Open jobs first, then the newest; trainings are `recent_trainings`."""
        with _told():
            return self._store.recent(limit)

    def failures(self, job_id: str) -> list[tuple[int, str]]:
        """(task id, reason) of tasks that failed; of very many, the first thousand."""
        with _told():
            return self._store.failures(job_id)

    def failure_reasons(self, job_id: str) -> list[tuple[str, int]]:
        """(reason, how often) of those failures, the commonest first."""
        with _told():
            return self._store.failure_reasons(job_id)

    def unshown(self, project_key: str) -> Mapping[int, Unshown]:
        """What models said of blind tasks before they were labelled."""
        with _told():
            return self._store.unshown.of(project_key)

    def _keep(self) -> None:
        """Start a worker when there is work, and keep it going."""
        worker, told = None, ""
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if worker is None and self._store.any_open():
                    from backends.jobs.worker import Worker  # DBOS takes 0.7 s to import

                    worker = Worker(
                        self._settings,
                        self._store,
                        self._turns.run,
                        trains=self.learner is not None,
                    )
                if worker is not None:
                    worker.tick()
                told = ""
            except Exception as error:  # whatever it is: it may be over in a moment
                log.debug("keeping background work going", exc_info=True)
                known = explained(error) if isinstance(error, SQLAlchemyError) else error
                said = str(known) if isinstance(known, LabelpilotError) else type(known).__name__
                if said != told:
                    log.warning("background work does not go on: %s", said)
                told = said
            self._wake.wait(_LOOK_EVERY_S if worker else _IDLE_LOOK_EVERY_S)
        if worker is not None:
            with suppress(Exception):  # others see that it is gone
                worker.close()


@contextmanager
def _told() -> Iterator[None]:
    """Errors: `Unavailable`."""
    try:
        yield
    except SQLAlchemyError as error:
        raise explained(error, of="the database of background work") from error
