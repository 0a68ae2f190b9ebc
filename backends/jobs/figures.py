"""Background work in a few figures, for monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from backends.database import clock
from backends.jobs.tables import FAILURES, JOBS, OPEN, WORKERS, JobKind, State

LATELY_S = 3600.0


@dataclass(frozen=True)
class OpenJobs:
    """Jobs of one kind that go on: tasks that are left, as far as they are listed, and ages."""

    jobs: int = 0
    tasks_left: int = 0
    oldest_s: float = 0.0


@dataclass(frozen=True)
class Ended:
    """Trainings that ended in the last hour; `seconds` from being asked for, of all together."""

    trainings: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Figures:
    """Of all processes on the database. `failed` tasks: in the last hour.

    `heartbeats`: by the name of a worker, seconds since it gave a sign of life.
    """

    open: Mapping[JobKind, OpenJobs]
    ended: Mapping[State, Ended]
    failed: int
    heartbeats: Mapping[str, float]


def read_figures(connection: sa.Connection) -> Figures:
    """Four small queries. Errors: the database's."""
    now = clock(connection)
    left = JOBS.c.total - JOBS.c.stored - JOBS.c.skipped - JOBS.c.failed
    count, oldest = sa.func.count(), sa.func.min(JOBS.c.created_at)
    rows = connection.execute(
        sa.select(JOBS.c.kind, count, sa.func.sum(sa.case((left > 0, left), else_=0)), oldest)
        .where(JOBS.c.state.in_(OPEN))
        .group_by(JOBS.c.kind)
    ).all()
    found = {
        JobKind(kind): OpenJobs(jobs, int(tasks), max(0.0, now - since))
        for kind, jobs, tasks, since in rows
    }
    took = sa.func.sum(JOBS.c.finished_at - JOBS.c.created_at)
    ended = connection.execute(
        sa.select(JOBS.c.state, count, took)
        .where(JOBS.c.kind == JobKind.TRAIN, JOBS.c.finished_at > now - LATELY_S)
        .group_by(JOBS.c.state)
    ).all()
    failed = connection.execute(
        sa.select(sa.func.count()).where(FAILURES.c.failed_at > now - LATELY_S)
    ).scalar_one()
    beats = connection.execute(sa.select(WORKERS.c.executor_id, WORKERS.c.seen_at)).all()
    return Figures(
        open={kind: found.get(kind, OpenJobs()) for kind in JobKind},
        ended={State(state): Ended(many, seconds) for state, many, seconds in ended},
        failed=failed,
        heartbeats={name: max(0.0, now - seen_at) for name, seen_at in beats},
    )
