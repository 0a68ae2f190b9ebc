"""Trainings in the database: jobs without tasks, one open for each project."""

from __future__ import annotations

import time
import uuid

import sqlalchemy as sa

from backends.database import insert
from backends.jobs.changes import add_turn, end, forget_old, locked
from backends.jobs.tables import (
    JOBS,
    OPEN,
    TASKS,
    TRAINING,
    JobKind,
    JobState,
    State,
    TurnKind,
    job_state,
)

_NO_TASK = 0


class TrainingStore:
    """Reads and writes of trainings. Safe among threads and processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, project_key: str) -> bool:
        """A new training; False if one of the project is open already."""
        job_id, now = uuid.uuid4().hex[:12], time.time()
        turn_id = uuid.uuid4().hex
        with self._engine.begin() as connection:
            taken = connection.execute(
                insert(connection, TASKS)
                .values(
                    project_key=project_key,
                    version=TRAINING,
                    task_id=_NO_TASK,
                    job_id=job_id,
                    turn_id=turn_id,
                )
                .on_conflict_do_nothing()
                .returning(TASKS.c.job_id)
            ).first()
            if taken is None:
                return False
            connection.execute(
                sa.insert(JOBS).values(
                    id=job_id,
                    project_key=project_key,
                    kind=JobKind.TRAIN,
                    version=TRAINING,
                    config_digest="",
                    state=State.QUEUED,
                    listed=1,
                    created_at=now,
                    updated_at=now,
                )
            )
            add_turn(connection, job_id, TurnKind.TRAIN, turn_id)
            forget_old(connection, now)
        return True

    def is_open(self, project_key: str) -> bool:
        """Whether one of the project waits or goes on."""
        return self._open_id(project_key) is not None

    def newest(self, project_key: str) -> JobState | None:
        """The last one that was asked for, open or not."""
        found = self._newest(JOBS.c.project_key == project_key, limit=1)
        return found[0] if found else None

    def recent(self, limit: int) -> list[JobState]:
        """Of all projects, the newest first."""
        return self._newest(sa.true(), limit=limit)

    def cancel(self, project_key: str) -> bool:
        """End the open one; False if there is none."""
        job_id = self._open_id(project_key)
        if job_id is None:
            return False
        with locked(self._engine, job_id) as connection:
            return end(connection, job_id, State.CANCELLED, "cancelled")

    def _open_id(self, project_key: str) -> str | None:
        with self._engine.connect() as connection:
            return connection.execute(
                sa.select(TASKS.c.job_id).where(
                    TASKS.c.project_key == project_key,
                    TASKS.c.version == TRAINING,
                    TASKS.c.task_id == _NO_TASK,
                )
            ).scalar()

    def _newest(self, which: sa.ColumnElement[bool], *, limit: int) -> list[JobState]:
        is_open = sa.case((JOBS.c.state.in_(OPEN), 0), else_=1)
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(JOBS)
                .where(JOBS.c.kind == JobKind.TRAIN, which)
                .order_by(is_open, JOBS.c.created_at.desc())
                .limit(limit)
            ).all()
        return [job_state(row) for row in rows]
