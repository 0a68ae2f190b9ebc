"""Jobs in the database. Every change is one transaction that first locks its job's row."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
import sqlalchemy.orm  # or DBOS does it in a thread, and others meet a half of it
from sqlalchemy.dialects import postgresql, sqlite

from backends.database import open_database
from backends.errors import StateError
from backends.jobs.tables import (
    FAILURES,
    JOBS,
    METADATA,
    OPEN,
    TASKS,
    TURNS,
    WORKERS,
    Clip,
    JobState,
    PrelabelOptions,
    State,
    Turn,
    TurnKind,
    TurnState,
    job_state,
)
from backends.settings import Settings

_MOST_FAILURES = 1_000  # that are kept with a reason; all are counted
_PAUSE_S = 60.0  # a longer silence was no work, and does not count into the rate
_KEEP_S = 30 * 86_400.0
_AT_ONCE = 500  # values in one IN list: databases limit them


class Lost(Exception):
    """Another worker has taken the turn over, or its job is no longer open: stop, note nothing."""


class JobStore:
    """Reads and writes of jobs. Safe among threads and processes."""

    def __init__(self, settings: Settings) -> None:
        self.engine = open_database(settings)
        try:
            METADATA.create_all(self.engine)
        except sa.exc.DBAPIError:  # another process made the tables in the same moment
            METADATA.create_all(self.engine)

    # Reading

    def job(self, job_id: str) -> JobState:
        """One job. Errors: `StateError` if there is none."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one_or_none()
            if row is None:
                raise StateError(f"there is no job {job_id}")
            return job_state(row, _clips(connection, [job_id]).get(job_id, ()))

    def recent(self, limit: int) -> list[JobState]:
        """Open jobs first, then the newest."""
        is_open = sa.case((JOBS.c.state.in_(OPEN), 0), else_=1)
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(JOBS).order_by(is_open, JOBS.c.created_at.desc()).limit(limit)
            ).all()
            clips = _clips(connection, [row.id for row in rows])
        return [job_state(row, clips.get(row.id, ())) for row in rows]

    def any_open(self) -> bool:
        """Whether there is work."""
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(JOBS.c.id).where(JOBS.c.state.in_(OPEN)).limit(1))
            return found.first() is not None

    def unfinished(self, project_key: str, version: str, options: str | None) -> str | None:
        """The open job that was asked for in just this way."""
        with self.engine.connect() as connection:
            return connection.execute(
                sa.select(JOBS.c.id)
                .where(
                    JOBS.c.project_key == project_key,
                    JOBS.c.version == version,
                    JOBS.c.options == options if options else JOBS.c.options.is_(None),
                    JOBS.c.state.in_(OPEN),
                )
                .order_by(JOBS.c.created_at)
                .limit(1)
            ).scalar()

    def pending(self, project_key: str, version: str) -> frozenset[int]:
        """Tasks that wait or are being labelled."""
        with self.engine.connect() as connection:
            return frozenset(
                connection.execute(
                    sa.select(TASKS.c.task_id).where(
                        TASKS.c.project_key == project_key, TASKS.c.version == version
                    )
                ).scalars()
            )

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

    # Jobs

    def create(
        self,
        project_key: str,
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
                    project_key=project_key,
                    version=version,
                    options=options.text() if options else None,
                    state=State.QUEUED,
                    listed=int(options is None),
                    created_at=now,
                    updated_at=now,
                )
            )
            if options is not None:
                _add_turn(connection, job_id, TurnKind.LIST)
            self._add(connection, (job_id, project_key, version), ids)
            _end_if_done(connection, job_id)
            _forget_old(connection, now)
        return job_id

    def add(self, job_id: str, ids: Iterable[Sequence[int]]) -> bool:
        """More tasks for an open job, one list per turn; False if it is no longer open.

        Tasks that are under way for its project and version are left out.
        """
        with self._locked(job_id) as connection:
            row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one()
            if row.state not in OPEN:
                return False
            self._add(connection, (job_id, row.project_key, row.version), ids)
        return True

    def end(self, job_id: str, state: State, note: str) -> None:
        """End an open job; what is left of it is dropped."""
        with self._locked(job_id) as connection:
            _end(connection, job_id, state, note)

    def tell(self, job_id: str, note: str) -> None:
        """Say what a job waits for; "" for nothing."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == job_id, JOBS.c.state.in_(OPEN), JOBS.c.note != note)
                .values(note=note)
            )

    # Turns

    def unsent(self, limit: int = 1_000) -> list[tuple[str, int]]:
        """(turn, attempt) of turns whose time has come and that DBOS does not know of."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(TURNS.c.id, TURNS.c.attempt)
                .where(TURNS.c.state == TurnState.NEW, TURNS.c.not_before <= time.time())
                .limit(limit)
            ).all()
        return [(row.id, row.attempt) for row in rows]

    def mark_sent(self, turns: Sequence[tuple[str, int]]) -> None:
        """Note that DBOS knows of them."""
        with self.engine.begin() as connection:
            for turn_id, attempt in turns:
                connection.execute(
                    sa.update(TURNS)
                    .where(
                        TURNS.c.id == turn_id,
                        TURNS.c.attempt == attempt,
                        TURNS.c.state == TurnState.NEW,
                    )
                    .values(state=TurnState.SENT)
                )

    def begin(self, turn_id: str, attempt: int) -> Turn | None:
        """Take a turn; None if there is nothing more to do."""
        with self.engine.connect() as connection:
            job_id = connection.execute(
                sa.select(TURNS.c.job_id).where(TURNS.c.id == turn_id)
            ).scalar()
        if job_id is None:
            return None
        owner = uuid.uuid4().hex
        with self._locked(job_id) as connection:
            taken = connection.execute(
                sa.update(TURNS)
                .where(
                    TURNS.c.id == turn_id,
                    TURNS.c.attempt == attempt,
                    TURNS.c.state != TurnState.DONE,
                )
                .values(owner=owner, starts=TURNS.c.starts + 1, state=TurnState.SENT)
            )
            if not taken.rowcount:
                return None
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == job_id, JOBS.c.state == State.QUEUED)
                .values(state=State.RUNNING)
            )
            job = job_state(connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).one())
            row = connection.execute(sa.select(TURNS).where(TURNS.c.id == turn_id)).one()
        return Turn(turn_id, TurnKind(row.kind), owner, row.starts, row.delays, job)

    def check(self, turn: Turn) -> None:
        """Errors: `Lost`."""
        with self.engine.connect() as connection:
            _held(connection, turn)

    def task_ids(self, turn: Turn) -> list[int]:
        """The tasks of a turn that are not done yet."""
        with self.engine.connect() as connection:
            return list(
                connection.execute(
                    sa.select(TASKS.c.task_id)
                    .where(TASKS.c.turn_id == turn.id)
                    .order_by(TASKS.c.task_id)
                ).scalars()
            )

    def listed_to(self, turn: Turn) -> tuple[int, int]:
        """(the last task id that was listed, how many tasks were)."""
        with self.engine.connect() as connection:
            last = connection.execute(
                sa.select(JOBS.c.listed_to).where(JOBS.c.id == turn.job.id)
            ).scalar_one()
            many = connection.execute(
                sa.select(sa.func.count()).where(TASKS.c.job_id == turn.job.id)
            ).scalar_one()
        return last, many + self.job(turn.job.id).finished

    def note_page(
        self, turn: Turn, ids: Iterable[Sequence[int]], *, last: int, expected: int
    ) -> None:
        """Add a page of listed tasks. `expected`: how many the job will have. Errors: `Lost`."""
        job = turn.job
        with self._locked(job.id) as connection:
            _held(connection, turn)
            self._add(connection, (job.id, job.project_key, job.version), ids)
            connection.execute(
                sa.update(JOBS).where(JOBS.c.id == job.id).values(listed_to=last, total=expected)
            )

    def note_listed(self, turn: Turn) -> None:
        """The listing is complete: from now on the total is exact. Errors: `Lost`."""
        job_id = turn.job.id
        with self._locked(job_id) as connection:
            _held(connection, turn)
            left = sa.select(sa.func.count()).where(TASKS.c.job_id == job_id).scalar_subquery()
            finished = JOBS.c.stored + JOBS.c.skipped + JOBS.c.failed
            connection.execute(
                sa.update(JOBS).where(JOBS.c.id == job_id).values(listed=1, total=finished + left)
            )

    def note(
        self,
        turn: Turn,
        *,
        stored: Sequence[int] = (),
        skipped: Sequence[int] = (),
        failed: Mapping[int, str] | None = None,
    ) -> None:
        """Count tasks as done, each once however often it is told. Errors: `Lost`."""
        failed, job_id = failed or {}, turn.job.id
        with self._locked(job_id, works=True) as connection:
            _held(connection, turn)
            counts = {
                "stored": _take_away(connection, turn, stored),
                "skipped": _take_away(connection, turn, skipped),
                "failed": _take_away(connection, turn, list(failed)),
            }
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == job_id)
                .values({name: JOBS.c[name] + count for name, count in counts.items()})
            )
            connection.execute(sa.update(TURNS).where(TURNS.c.id == turn.id).values(starts=0))
            known = connection.execute(
                sa.select(sa.func.count()).where(FAILURES.c.job_id == job_id)
            ).scalar_one()
            rows = [
                {"job_id": job_id, "task_id": task_id, "reason": reason}
                for task_id, reason in list(failed.items())[: max(0, _MOST_FAILURES - known)]
            ]
            if rows:
                connection.execute(self._insert(FAILURES).on_conflict_do_nothing(), rows)

    def note_frames(self, turn: Turn, task_id: int, *, done: int, frames: int) -> None:
        """How far a video is."""
        with self._locked(turn.job.id, works=True) as connection:
            connection.execute(
                sa.update(TASKS)
                .where(TASKS.c.turn_id == turn.id, TASKS.c.task_id == task_id)
                .values(frames_done=done, frames=frames)
            )

    def put_back(self, turn: Turn, *, delay_s: float = 0.0) -> None:
        """Leave a turn to whoever comes next, after `delay_s`."""
        with self._locked(turn.job.id) as connection:
            connection.execute(
                sa.update(TURNS)
                .where(TURNS.c.id == turn.id, TURNS.c.owner == turn.owner)
                .values(
                    state=TurnState.NEW,
                    attempt=TURNS.c.attempt + 1,
                    starts=0,
                    delays=TURNS.c.delays + 1 if delay_s else 0,
                    not_before=time.time() + delay_s,
                    owner=None,
                )
            )

    def begun(self) -> list[tuple[str, int]]:
        """(turn, attempt) of turns that workers have in hand."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(TURNS.c.id, TURNS.c.attempt).where(
                    TURNS.c.state == TurnState.SENT, TURNS.c.owner.is_not(None)
                )
            ).all()
        return [(row.id, row.attempt) for row in rows]

    def take_back(self, turns: Sequence[tuple[str, int]]) -> None:
        """Have turns done anew whose workers are dead."""
        with self.engine.begin() as connection:
            for turn_id, attempt in turns:
                connection.execute(
                    sa.update(TURNS)
                    .where(
                        TURNS.c.id == turn_id,
                        TURNS.c.attempt == attempt,
                        TURNS.c.state == TurnState.SENT,
                    )
                    .values(state=TurnState.NEW, attempt=attempt + 1, owner=None)
                )

    def finish(self, turn: Turn) -> None:
        """A turn is done; with the last one, so is its job."""
        job_id = turn.job.id
        with self._locked(job_id) as connection:
            connection.execute(
                sa.update(TURNS)
                .where(TURNS.c.id == turn.id, TURNS.c.owner == turn.owner)
                .values(state=TurnState.DONE)
            )
            _end_if_done(connection, job_id)

    # Workers

    def seen(self, name: str, *, dead_after_s: float) -> list[str]:
        """Note that a worker lives; those that were not seen for long."""
        now = time.time()
        with self.engine.begin() as connection:
            connection.execute(
                self._insert(WORKERS)
                .values(executor_id=name, seen_at=now)
                .on_conflict_do_update(index_elements=["executor_id"], set_={"seen_at": now})
            )
            return list(
                connection.execute(
                    sa.select(WORKERS.c.executor_id).where(WORKERS.c.seen_at < now - dead_after_s)
                ).scalars()
            )

    def forget(self, names: Sequence[str]) -> None:
        """These workers are gone, and what they had in hand is taken care of."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(WORKERS).where(WORKERS.c.executor_id.in_(names)))

    @contextmanager
    def _locked(self, job_id: str, *, works: bool = False) -> Iterator[sa.Connection]:
        """A transaction that alone changes this job. `works`: it took time that counts."""
        now = time.time()
        pause = now - JOBS.c.updated_at
        busy = sa.case((pause.between(0, _PAUSE_S), pause), else_=0.0)
        values: dict[str, Any] = {"updated_at": now}
        if works:
            values["worked_s"] = JOBS.c.worked_s + busy
        with self.engine.begin() as connection:
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(values))
            yield connection

    def _add(
        self,
        connection: sa.Connection,
        job: tuple[str, str, str],
        ids: Iterable[Sequence[int]],
    ) -> None:
        job_id, project_key, version = job
        for some in ids:
            turn_id = uuid.uuid4().hex
            connection.execute(
                self._insert(TASKS).on_conflict_do_nothing(),
                [
                    {
                        "project_key": project_key,
                        "version": version,
                        "task_id": task_id,
                        "job_id": job_id,
                        "turn_id": turn_id,
                    }
                    for task_id in some
                ],
            )
            count = connection.execute(
                sa.select(sa.func.count()).where(TASKS.c.turn_id == turn_id)
            ).scalar_one()
            if count:
                _add_turn(connection, job_id, TurnKind.LABEL, turn_id)
                connection.execute(
                    sa.update(JOBS).where(JOBS.c.id == job_id).values(total=JOBS.c.total + count)
                )

    def _insert(self, table: sa.Table) -> Any:
        """INSERT with ON CONFLICT, which both databases know, each in its dialect."""
        on_postgres = self.engine.dialect.name == "postgresql"
        return postgresql.insert(table) if on_postgres else sqlite.insert(table)


def _add_turn(
    connection: sa.Connection, job_id: str, kind: TurnKind, turn_id: str | None = None
) -> None:
    connection.execute(
        sa.insert(TURNS).values(
            id=turn_id or uuid.uuid4().hex, job_id=job_id, kind=kind, state=TurnState.NEW
        )
    )


def _held(connection: sa.Connection, turn: Turn) -> None:
    """Errors: `Lost` unless the turn is still this worker's and its job open."""
    row = connection.execute(
        sa.select(TURNS.c.owner, JOBS.c.state)
        .join(JOBS, JOBS.c.id == TURNS.c.job_id)
        .where(TURNS.c.id == turn.id)
    ).one_or_none()
    if row is None or row.owner != turn.owner or row.state not in OPEN:
        raise Lost


def _take_away(connection: sa.Connection, turn: Turn, ids: Sequence[int]) -> int:
    return sum(
        connection.execute(
            sa.delete(TASKS).where(
                TASKS.c.turn_id == turn.id, TASKS.c.task_id.in_(ids[start : start + _AT_ONCE])
            )
        ).rowcount
        for start in range(0, len(ids), _AT_ONCE)
    )


def _end(connection: sa.Connection, job_id: str, state: State, note: str) -> None:
    ended = connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.id == job_id, JOBS.c.state.in_(OPEN))
        .values(state=state, note=note, finished_at=time.time())
    )
    if ended.rowcount:
        connection.execute(sa.delete(TASKS).where(TASKS.c.job_id == job_id))
        connection.execute(sa.delete(TURNS).where(TURNS.c.job_id == job_id))


def _end_if_done(connection: sa.Connection, job_id: str) -> None:
    left = sa.select(TURNS.c.id).where(TURNS.c.job_id == job_id, TURNS.c.state != TurnState.DONE)
    if connection.execute(left.limit(1)).first() is None:
        _end(connection, job_id, State.DONE, "")


def _forget_old(connection: sa.Connection, now: float) -> None:
    old = sa.select(JOBS.c.id).where(JOBS.c.finished_at < now - _KEEP_S)
    connection.execute(sa.delete(FAILURES).where(FAILURES.c.job_id.in_(old)))
    connection.execute(sa.delete(JOBS).where(JOBS.c.finished_at < now - _KEEP_S))


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
