"""Jobs in the database."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa
import sqlalchemy.orm  # or DBOS does it in a thread, and others meet a half of it

from backends.database import clock, close_database, insert, open_database
from backends.errors import StateError
from backends.interface import Project
from backends.jobs.changes import (
    AT_ONCE,
    add_tasks,
    add_turn,
    end,
    end_if_done,
    forget_old,
    locked,
)
from backends.jobs.refreshes import RefreshStore
from backends.jobs.tables import (
    FAILURES,
    JOBS,
    OPEN,
    TASKS,
    WORKERS,
    Clip,
    JobKind,
    JobState,
    PrelabelOptions,
    State,
    TurnKind,
    config_digest,
    job_state,
)
from backends.jobs.trainings import TrainingStore
from backends.jobs.turn_store import TurnStore
from backends.jobs.unshown import UnshownStore
from backends.label_studio.tasks import pages
from backends.settings import Settings

_MOST_FAILURES = 1_000


class JobStore:
    """Reads and writes of jobs; `turns` are their parts. Safe among threads and processes.

    `trainings` and `refreshes` are jobs of other kinds than what people ask for.
    """

    def __init__(self, settings: Settings) -> None:
        self.engine = open_database(settings)
        self.turns = TurnStore(self.engine)
        self.trainings = TrainingStore(self.engine)
        self.refreshes = RefreshStore(self.engine)
        self.unshown = UnshownStore(self.engine)

    def close(self) -> None:
        """As that of `backends.database.Store`."""
        close_database(self.engine)

    def job(self, job_id: str) -> JobState:
        """One job. Errors: `StateError` if there is none."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one_or_none()
            if row is None:
                raise StateError(f"there is no job {job_id}")
            return job_state(row, _clips(connection, [job_id]).get(job_id, ()))

    def recent(self, limit: int) -> list[JobState]:
        """Open jobs first, then the newest; no trainings, and no refreshes that are outdated."""
        outdated = sa.and_(JOBS.c.kind == JobKind.REFRESH, JOBS.c.state == State.SUPERSEDED)
        is_open = sa.case((JOBS.c.state.in_(OPEN), 0), else_=1)
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(JOBS)
                .where(JOBS.c.kind != JobKind.TRAIN, ~outdated)
                .order_by(is_open, JOBS.c.created_at.desc())
                .limit(limit)
            ).all()
            clips = _clips(connection, [row.id for row in rows])
        return [job_state(row, clips.get(row.id, ())) for row in rows]

    def any_open(self) -> bool:
        """Whether there is work."""
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(JOBS.c.id).where(JOBS.c.state.in_(OPEN)).limit(1))
            return found.first() is not None

    def unfinished(self, project_key: str, version: str, options: str | None) -> str | None:
        """The open job that somebody asked for in just this way."""
        with self.engine.connect() as connection:
            return connection.execute(
                sa.select(JOBS.c.id)
                .where(
                    JOBS.c.project_key == project_key,
                    JOBS.c.version == version,
                    JOBS.c.kind == JobKind.PRELABEL,
                    JOBS.c.options == options if options else JOBS.c.options.is_(None),
                    JOBS.c.state.in_(OPEN),
                )
                .order_by(JOBS.c.created_at)
                .limit(1)
            ).scalar()

    def pending(self, project_key: str, version: str, ids: Collection[int]) -> set[int]:
        """Those of `ids` that wait or are being labelled."""
        with self.engine.connect() as connection:
            return {
                task_id
                for some in pages(sorted(ids), AT_ONCE)
                for task_id in connection.execute(
                    sa.select(TASKS.c.task_id).where(
                        TASKS.c.project_key == project_key,
                        TASKS.c.version == version,
                        TASKS.c.task_id.in_(some),
                    )
                ).scalars()
            }

    def failures(self, job_id: str, limit: int = _MOST_FAILURES) -> list[tuple[int, str]]:
        """(task id, reason) of tasks that failed, the first thousand at most."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(FAILURES.c.task_id, FAILURES.c.reason)
                .where(FAILURES.c.job_id == job_id)
                .order_by(FAILURES.c.task_id)
                .limit(limit)
            ).all()
        return [(row.task_id, row.reason) for row in rows]

    def failed_lately(
        self, project_key: str, version: str, ids: Collection[int], *, within_s: float
    ) -> set[int]:
        """Those of `ids` that failed in the last `within_s`."""
        with self.engine.connect() as connection:
            now = clock(connection)
            return {
                task_id
                for some in pages(sorted(ids), AT_ONCE)
                for task_id in connection.execute(
                    sa.select(FAILURES.c.task_id)
                    .join(JOBS, JOBS.c.id == FAILURES.c.job_id)
                    .where(
                        JOBS.c.project_key == project_key,
                        JOBS.c.version == version,
                        FAILURES.c.task_id.in_(some),
                        FAILURES.c.failed_at.between(now - within_s, now),
                    )
                ).scalars()
            }

    def failure_reasons(self, job_id: str) -> list[tuple[str, int]]:
        """(reason, how often), the commonest first."""
        times = sa.func.count().label("times")
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(FAILURES.c.reason, times)
                .where(FAILURES.c.job_id == job_id)
                .group_by(FAILURES.c.reason)
                .order_by(times.desc())
            ).all()
        return [(row.reason, row.times) for row in rows]

    def create(
        self,
        project: Project,
        version: str,
        options: PrelabelOptions | None,
        ids: Iterable[Sequence[int]] = (),
    ) -> str:
        """A new job: with options it lists its tasks itself, else `ids`, one list per turn.

        Of `ids`, those under way are left out; if none is left, the job is done at once.
        """
        job_id, now = uuid.uuid4().hex[:12], time.time()
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(JOBS).values(
                    id=job_id,
                    project_key=project.key,
                    version=version,
                    config_digest=config_digest(project),
                    options=options.text() if options else None,
                    state=State.QUEUED,
                    listed=int(options is None),
                    created_at=now,
                    updated_at=now,
                )
            )
            if options is not None:
                add_turn(connection, job_id, TurnKind.LIST)
            add_tasks(connection, (job_id, project.key, version), ids)
            end_if_done(connection, job_id)
            forget_old(connection, now)
        return job_id

    def add(self, job_id: str, ids: Iterable[Sequence[int]]) -> bool:
        """More tasks for an open job, one list per turn; False if it is no longer open.

        Tasks that are under way for its project and version are left out.
        """
        with locked(self.engine, job_id) as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one()
            if row.state not in OPEN:
                return False
            add_tasks(connection, (job_id, row.project_key, row.version), ids)
        return True

    def end(self, job_id: str, state: State, note: str) -> None:
        """End an open job; what is left of it is dropped."""
        with locked(self.engine, job_id) as connection:
            end(connection, job_id, state, note)

    def tell(self, job_id: str, note: str) -> None:
        """Say what a job waits for; "" for nothing."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == job_id, JOBS.c.state.in_(OPEN), JOBS.c.note != note)
                .values(note=note)
            )

    def seen(self, name: str, *, dead_after_s: float) -> tuple[list[str], float]:
        """Note that a worker lives; those that were not seen for long, and the time it is.

        One that will be seen in the future was seen before the clock was put back.
        """
        with self.engine.begin() as connection:
            now = clock(connection)
            connection.execute(
                insert(connection, WORKERS)
                .values(executor_id=name, seen_at=now)
                .on_conflict_do_update(index_elements=["executor_id"], set_={"seen_at": now})
            )
            lately = WORKERS.c.seen_at.between(now - dead_after_s, now + dead_after_s)
            silent = connection.execute(sa.select(WORKERS.c.executor_id).where(~lately)).scalars()
            return list(silent), now

    def forget(self, names: Sequence[str]) -> None:
        """These workers are gone, and what they had in hand is taken care of."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(WORKERS).where(WORKERS.c.executor_id.in_(names)))


def _clips(connection: sa.Connection, job_ids: Sequence[str]) -> dict[str, tuple[Clip, ...]]:
    """Videos under way, by job."""
    rows = connection.execute(
        sa.select(TASKS).where(TASKS.c.job_id.in_(job_ids), TASKS.c.frames > 0)
    ).all()
    clips: dict[str, tuple[Clip, ...]] = {}
    for row in rows:
        clips[row.job_id] = (
            *clips.get(row.job_id, ()),
            Clip(row.task_id, row.frames_done, row.frames),
        )
    return clips
