"""Refreshes in the database: jobs that bring all tasks of a project to a new version."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import sqlalchemy as sa

from backends.database import insert
from backends.interface import Project
from backends.jobs.changes import add_turn, end, end_if_done, forget_old, locked
from backends.jobs.tables import (
    JOBS,
    OPEN,
    TASKS,
    TURNS,
    JobKind,
    PrelabelOptions,
    State,
    TurnKind,
    TurnState,
    config_digest,
    family,
)
from backends.label_studio.tasks import TaskFilter, pages

_FIRST_AT_ONCE = 50
# What a listing of such a job looks for, and what becomes of older predictions.
_OPTIONS = PrelabelOptions(TaskFilter(only_unlabelled=True), replace=True)


class RefreshStore:
    """Writes of refreshes. Safe among threads and processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def ask(self, project: Project, version: str, *, first: Sequence[int], others: bool) -> None:
        """A new refresh, or more for the open one of the same version; those of others end."""
        first = list(dict.fromkeys(first))
        self._supersede(project.key, version)
        with self._engine.connect() as connection:
            job_id = connection.execute(
                sa.select(JOBS.c.id)
                .where(
                    JOBS.c.project_key == project.key,
                    JOBS.c.version == version,
                    JOBS.c.kind == JobKind.REFRESH,
                    JOBS.c.state.in_(OPEN),
                )
                .limit(1)
            ).scalar()
        if job_id is None or not self._go_on(job_id, first, others=others):
            self._create(project, version, first, others=others)

    def _supersede(self, project_key: str, version: str) -> None:
        """End what would store predictions that this version is to replace."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(JOBS.c.id, JOBS.c.kind, JOBS.c.version).where(
                    JOBS.c.project_key == project_key,
                    JOBS.c.version != version,
                    JOBS.c.kind != JobKind.TRAIN,
                    JOBS.c.state.in_(OPEN),
                )
            ).all()
        for row in rows:
            if row.kind == JobKind.REFRESH or family(row.version) == family(version):
                with locked(self._engine, row.id) as connection:
                    end(connection, row.id, State.SUPERSEDED, f"version {version} has come")

    def _create(
        self, project: Project, version: str, first: Sequence[int], *, others: bool
    ) -> None:
        job_id, now = uuid.uuid4().hex[:12], time.time()
        with self._engine.begin() as connection:
            connection.execute(
                sa.insert(JOBS).values(
                    id=job_id,
                    project_key=project.key,
                    kind=JobKind.REFRESH,
                    version=version,
                    config_digest=config_digest(project),
                    options=_OPTIONS.text(),
                    state=State.QUEUED,
                    listed=int(not others),
                    created_at=now,
                    updated_at=now,
                )
            )
            _add_first(connection, (job_id, project.key, version), first)
            if others:
                add_turn(connection, job_id, TurnKind.LIST)
            end_if_done(connection, job_id)
            forget_old(connection, now)

    def _go_on(self, job_id: str, first: Sequence[int], *, others: bool) -> bool:
        """More for an open job, which waits no longer; False if it is no longer open."""
        with locked(self._engine, job_id) as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one_or_none()
            if row is None or row.state not in OPEN:
                return False
            _add_first(connection, (job_id, row.project_key, row.version), first)
            if others and row.listed:  # tasks may have come since
                connection.execute(
                    sa.update(JOBS).where(JOBS.c.id == job_id).values(listed=0, listed_to=0)
                )
                add_turn(connection, job_id, TurnKind.LIST)
            connection.execute(
                sa.update(TURNS)
                .where(TURNS.c.job_id == job_id, TURNS.c.state == TurnState.NEW)
                .values(not_before=0.0, delays=0)
            )
        return True


def _add_first(connection: sa.Connection, job: tuple[str, str, str], first: Sequence[int]) -> None:
    """Turns of these tasks, in their order, before all others of the job.

    A task that waits in one of its later turns is moved, one that is under way is left there.
    """
    job_id, project_key, version = job
    not_begun = sa.select(TURNS.c.id).where(
        TURNS.c.job_id == job_id, TURNS.c.kind == TurnKind.LABEL, TURNS.c.owner.is_(None)
    )
    for some in pages(first, _FIRST_AT_ONCE):
        turn_id = uuid.uuid4().hex
        moved = added = 0
        for position, task_id in enumerate(some):
            place = {"turn_id": turn_id, "position": position}
            key = {"project_key": project_key, "version": version, "task_id": task_id}
            moved += connection.execute(
                sa.update(TASKS)
                .where(
                    TASKS.c.job_id == job_id,
                    TASKS.c.task_id == task_id,
                    TASKS.c.turn_id.in_(not_begun),
                )
                .values(place)
            ).rowcount
            added += len(
                connection.execute(
                    insert(connection, TASKS)
                    .values(**key, job_id=job_id, **place)
                    .on_conflict_do_nothing()
                    .returning(TASKS.c.task_id)
                ).all()
            )
        if moved or added:
            add_turn(connection, job_id, TurnKind.FIRST, turn_id)
            connection.execute(
                sa.update(JOBS).where(JOBS.c.id == job_id).values(total=JOBS.c.total + added)
            )
