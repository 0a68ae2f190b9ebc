"""Parts of the transactions that change jobs. Each locks its job's row before all else."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from backends.database import insert
from backends.jobs.tables import (
    FAILURES,
    JOBS,
    OPEN,
    TASKS,
    TURNS,
    JobKind,
    State,
    Turn,
    TurnKind,
    TurnState,
)
from backends.label_studio.tasks import pages

_PAUSE_S = 60.0  # a longer silence was no work, and does not count into the rate
_KEEP_S = 30 * 86_400.0
_KEEP_TRAININGS_S = 86_400.0  # there are many, and what they made is kept elsewhere
AT_ONCE = 500  # values in one IN list: databases limit them


class Lost(Exception):
    """Another worker has taken the turn over, or its job is no longer open: stop, note nothing."""


@contextmanager
def locked(engine: sa.Engine, job_id: str, *, works: bool = False) -> Iterator[sa.Connection]:
    """A transaction that alone changes this job. `works`: it took time that counts."""
    now = time.time()
    pause = now - JOBS.c.updated_at
    busy = sa.case((pause.between(0, _PAUSE_S), pause), else_=0.0)
    values: dict[str, Any] = {"updated_at": now}
    if works:
        values["worked_s"] = JOBS.c.worked_s + busy
    with engine.begin() as connection:
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(values))
        yield connection


def add_tasks(
    connection: sa.Connection,
    job: tuple[str, str, str],
    ids: Iterable[Sequence[int]],
) -> None:
    """Tasks for a job (its id, project key and version), one list per turn.

    Tasks that are under way for the same project and version are left out.
    """
    job_id, project_key, version = job
    for some in ids:
        turn_id = uuid.uuid4().hex
        connection.execute(
            insert(connection, TASKS).on_conflict_do_nothing(),
            [
                {
                    "project_key": project_key,
                    "version": version,
                    "task_id": task_id,
                    "job_id": job_id,
                    "turn_id": turn_id,
                    "position": position,
                }
                for position, task_id in enumerate(some)
            ],
        )
        count = connection.execute(
            sa.select(sa.func.count()).where(TASKS.c.turn_id == turn_id)
        ).scalar_one()
        if count:
            add_turn(connection, job_id, TurnKind.LABEL, turn_id)
            connection.execute(
                sa.update(JOBS).where(JOBS.c.id == job_id).values(total=JOBS.c.total + count)
            )


def add_turn(
    connection: sa.Connection, job_id: str, kind: TurnKind, turn_id: str | None = None
) -> str:
    """A turn that waits for DBOS; its id."""
    turn_id = turn_id or uuid.uuid4().hex
    connection.execute(
        sa.insert(TURNS).values(
            id=turn_id, job_id=job_id, kind=kind, state=TurnState.NEW, made_at=time.time()
        )
    )
    return turn_id


def held(connection: sa.Connection, turn: Turn) -> None:
    """Errors: `Lost` unless the turn is still this worker's and its job open."""
    row = connection.execute(
        sa.select(TURNS.c.owner, JOBS.c.state)
        .join(JOBS, JOBS.c.id == TURNS.c.job_id)
        .where(TURNS.c.id == turn.id)
    ).one_or_none()
    if row is None or row.owner != turn.owner or row.state not in OPEN:
        raise Lost


def take_away(connection: sa.Connection, turn: Turn, ids: Sequence[int]) -> int:
    """Take tasks out of a turn; how many were in it."""
    return sum(
        connection.execute(
            sa.delete(TASKS).where(TASKS.c.turn_id == turn.id, TASKS.c.task_id.in_(some))
        ).rowcount
        for some in pages(ids, AT_ONCE)
    )


def end(connection: sa.Connection, job_id: str, state: State, note: str) -> bool:
    """End an open job; what is left of it is dropped. False if it is open no longer."""
    ended = connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.id == job_id, JOBS.c.state.in_(OPEN))
        .values(state=state, note=note, finished_at=time.time())
    )
    if ended.rowcount:
        connection.execute(sa.delete(TASKS).where(TASKS.c.job_id == job_id))
        connection.execute(sa.delete(TURNS).where(TURNS.c.job_id == job_id))
    return bool(ended.rowcount)


def end_if_done(connection: sa.Connection, job_id: str) -> None:
    """A job without a turn to do is done."""
    left = sa.select(TURNS.c.id).where(TURNS.c.job_id == job_id, TURNS.c.state != TurnState.DONE)
    if connection.execute(left.limit(1)).first() is None:
        end(connection, job_id, State.DONE, "")
        connection.execute(  # a refresh that found nothing to do is nothing to tell of
            sa.delete(JOBS).where(
                JOBS.c.id == job_id,
                JOBS.c.kind == JobKind.REFRESH,
                JOBS.c.state == State.DONE,
                JOBS.c.stored + JOBS.c.skipped + JOBS.c.failed == 0,
            )
        )


def forget_old(connection: sa.Connection, now: float) -> None:
    """Delete jobs that ended long ago."""
    keep_s = sa.case((JOBS.c.kind == JobKind.TRAIN, _KEEP_TRAININGS_S), else_=_KEEP_S)
    is_old = JOBS.c.finished_at < now - keep_s
    old = sa.select(JOBS.c.id).where(is_old)
    connection.execute(sa.delete(FAILURES).where(FAILURES.c.job_id.in_(old)))
    connection.execute(sa.delete(JOBS).where(is_old))
