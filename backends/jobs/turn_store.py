"""Turns in the database: who does what of a job, and what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence

import sqlalchemy as sa

from backends.database import clock, insert
from backends.jobs.changes import (
    AT_ONCE,
    add_tasks,
    add_turn,
    end_if_done,
    held,
    locked,
    take_away,
)
from backends.jobs.tables import (
    FAILURES,
    JOBS,
    LONGEST_DELAY_S,
    TASKS,
    TURNS,
    Sent,
    State,
    Turn,
    TurnKind,
    TurnState,
    job_state,
)
from backends.label_studio.tasks import pages

_MOST_FAILURES = 1_000  # that are kept with a reason; all are counted


class TurnStore:
    """Reads and writes of turns. Safe among threads and processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def unsent(
        self, kinds: Collection[TurnKind] = tuple(TurnKind), *, ahead: int = 1_000
    ) -> list[tuple[str, int]]:
        """(turn, attempt) of turns of these kinds whose time has come and that DBOS does not know
        of, in their order; so many that at most `ahead` wait there to be begun.

        A job's listing waits until what goes first is done.
        """
        now = sa.bindparam("now", type_=sa.Float)
        other = TURNS.alias()
        goes_first = (
            sa.select(other.c.id)
            .where(
                other.c.job_id == TURNS.c.job_id,
                other.c.kind == TurnKind.FIRST,
                other.c.state != TurnState.DONE,
            )
            .exists()
        )
        wanted = sa.and_(
            TURNS.c.kind.in_(kinds),
            TURNS.c.state == TurnState.NEW,
            sa.or_(
                TURNS.c.not_before <= now,
                # Nothing is put off for longer: the clock was put back.
                TURNS.c.not_before > now + LONGEST_DELAY_S,
            ),
            sa.or_(TURNS.c.kind != TurnKind.LIST, ~goes_first),
        )
        waiting = sa.select(sa.func.count()).where(
            TURNS.c.kind.in_(kinds), TURNS.c.state == TurnState.SENT, TURNS.c.owner.is_(None)
        )
        with self._engine.connect() as connection:
            room = ahead - connection.execute(waiting).scalar_one()
            rows = connection.execute(
                sa.select(TURNS.c.id, TURNS.c.attempt)
                .where(wanted)
                .order_by(TURNS.c.made_at)
                .limit(max(0, room)),
                {"now": clock(connection)},
            ).all()
        return [(row.id, row.attempt) for row in rows]

    def mark_sent(self, turns: Sequence[tuple[str, int]]) -> None:
        """Note that DBOS knows of them."""
        with self._engine.begin() as connection:
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
        with self._engine.connect() as connection:
            job_id = connection.execute(
                sa.select(TURNS.c.job_id).where(TURNS.c.id == turn_id)
            ).scalar()
        if job_id is None:
            return None
        owner = uuid.uuid4().hex
        with locked(self._engine, job_id) as connection:
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
        with self._engine.connect() as connection:
            held(connection, turn)

    def task_ids(self, turn: Turn) -> list[int]:
        """The tasks of a turn that are not done yet, in the order to label them in."""
        with self._engine.connect() as connection:
            return list(
                connection.execute(
                    sa.select(TASKS.c.task_id)
                    .where(TASKS.c.turn_id == turn.id)
                    .order_by(TASKS.c.position, TASKS.c.task_id)
                ).scalars()
            )

    def note_sent(self, turn: Turn, ids: Sequence[int], how: Sent = Sent.ADDED) -> None:
        """Predictions of these tasks are about to be sent. Errors: `Lost`."""
        with locked(self._engine, turn.job.id) as connection:
            held(connection, turn)
            for some in pages(ids, AT_ONCE):
                connection.execute(
                    sa.update(TASKS)
                    .where(TASKS.c.turn_id == turn.id, TASKS.c.task_id.in_(some))
                    .values(sent=int(how))
                )

    def sent(self, turn: Turn) -> dict[int, Sent]:
        """Tasks whose predictions were sent and perhaps not stored, by whoever had the turn."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(TASKS.c.task_id, TASKS.c.sent).where(
                    TASKS.c.turn_id == turn.id, TASKS.c.sent != int(Sent.NO)
                )
            ).all()
        return {row.task_id: Sent(row.sent) for row in rows}

    def split(self, turn: Turn, ids: Sequence[int]) -> None:
        """Make a turn of its own of these tasks. Errors: `Lost`."""
        with locked(self._engine, turn.job.id) as connection:
            held(connection, turn)
            turn_id = add_turn(connection, turn.job.id, turn.kind)
            for some in pages(ids, AT_ONCE):
                connection.execute(
                    sa.update(TASKS)
                    .where(TASKS.c.turn_id == turn.id, TASKS.c.task_id.in_(some))
                    .values(turn_id=turn_id)
                )

    def listed_to(self, turn: Turn) -> tuple[int, int]:
        """(the last task id that was listed, how many tasks were)."""
        finished = JOBS.c.stored + JOBS.c.skipped + JOBS.c.failed
        left = sa.select(sa.func.count()).where(TASKS.c.job_id == turn.job.id).scalar_subquery()
        with self._engine.connect() as connection:
            row = connection.execute(
                sa.select(JOBS.c.listed_to, (finished + left).label("many")).where(
                    JOBS.c.id == turn.job.id
                )
            ).one()
        return row.listed_to, row.many

    def note_page(
        self, turn: Turn, ids: Iterable[Sequence[int]], *, last: int, expected: int
    ) -> None:
        """Add a page of listed tasks. `expected`: how many the job will have. Errors: `Lost`."""
        job = turn.job
        with locked(self._engine, job.id) as connection:
            held(connection, turn)
            add_tasks(connection, (job.id, job.project_key, job.version), ids)
            connection.execute(
                sa.update(JOBS).where(JOBS.c.id == job.id).values(listed_to=last, total=expected)
            )

    def note_listed(self, turn: Turn) -> None:
        """The listing is complete: from now on the total is exact. Errors: `Lost`."""
        job_id = turn.job.id
        with locked(self._engine, job_id) as connection:
            held(connection, turn)
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
        blind: Sequence[int] = (),
    ) -> None:
        """Count tasks as done, each once however often it is told. Errors: `Lost`.

        `blind`: what is withheld of them; they count as skipped too.
        """
        failed, job_id = failed or {}, turn.job.id
        with locked(self._engine, job_id, works=True) as connection:
            held(connection, turn)
            counts = {
                "stored": take_away(connection, turn, stored),
                "skipped": take_away(connection, turn, skipped),
                "failed": take_away(connection, turn, list(failed)),
                "blind": take_away(connection, turn, blind),
            }
            counts["skipped"] += counts["blind"]
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == job_id)
                .values({name: JOBS.c[name] + count for name, count in counts.items()})
            )
            if any(counts.values()):
                connection.execute(sa.update(TURNS).where(TURNS.c.id == turn.id).values(starts=0))
            known = connection.execute(
                sa.select(sa.func.count()).where(FAILURES.c.job_id == job_id)
            ).scalar_one()
            now = clock(connection)
            rows = [
                {"job_id": job_id, "task_id": task_id, "reason": reason, "failed_at": now}
                for task_id, reason in list(failed.items())[: max(0, _MOST_FAILURES - known)]
            ]
            if rows:
                connection.execute(insert(connection, FAILURES).on_conflict_do_nothing(), rows)

    def note_frames(self, turn: Turn, task_id: int, *, done: int, frames: int) -> None:
        """How far a video is."""
        with locked(self._engine, turn.job.id, works=True) as connection:
            connection.execute(
                sa.update(TASKS)
                .where(TASKS.c.turn_id == turn.id, TASKS.c.task_id == task_id)
                .values(frames_done=done, frames=frames)
            )

    def put_back(self, turn: Turn, *, delay_s: float = 0.0) -> None:
        """Leave a turn to whoever comes next, after `delay_s`."""
        with locked(self._engine, turn.job.id) as connection:
            connection.execute(
                sa.update(TURNS)
                .where(TURNS.c.id == turn.id, TURNS.c.owner == turn.owner)
                .values(
                    state=TurnState.NEW,
                    attempt=TURNS.c.attempt + 1,
                    starts=0,
                    delays=TURNS.c.delays + 1 if delay_s else 0,
                    not_before=clock(connection) + delay_s,
                    owner=None,
                )
            )

    def begun(self) -> list[tuple[str, int]]:
        """(turn, attempt) of turns that workers have in hand, or DBOS for them."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(TURNS.c.id, TURNS.c.attempt).where(TURNS.c.state == TurnState.SENT)
            ).all()
        return [(row.id, row.attempt) for row in rows]

    def take_back(self, turns: Sequence[tuple[str, int]]) -> None:
        """Have turns done anew whose workers are dead."""
        with self._engine.begin() as connection:
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
        with locked(self._engine, job_id) as connection:
            connection.execute(
                sa.update(TURNS)
                .where(TURNS.c.id == turn.id, TURNS.c.owner == turn.owner)
                .values(state=TurnState.DONE)
            )
            end_if_done(connection, job_id)
