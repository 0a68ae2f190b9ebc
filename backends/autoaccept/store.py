"""Certificates, the audit log and spot checks in the database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from backends.autoaccept.nouns import Check, Entry, Fate, Issued, Standing
from backends.autoaccept.tables import (
    CERTIFICATES,
    CHECKS,
    LOG,
    LOOKS,
    STANDINGS,
    check,
    check_values,
    entry,
    entry_values,
    issued,
    issued_values,
)
from backends.database import Store, clock, insert
from backends.settings import Settings


class AutoacceptStore(Store):
    """Reads and writes what is kept of accepting."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, of="certificates")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Many changes come: SQLite tidies up whenever the last connection is closed."""
        with self._reading() as connection:
            connection.execute(sa.select(1))
            connection.rollback()
            yield

    # Where a project stands

    def standing(self, key: str) -> Standing:
        """As it was noted; all empty where nothing is known."""
        row = self._standing(key)
        return Standing(row.audits_to, row.suspended, row.resumed_at) if row else Standing()

    def last(self, key: str) -> dict[str, Any]:
        """What the last run noted for the page; {} before any."""
        row = self._standing(key)
        found: dict[str, Any] = json.loads(row.last) if row else {}
        return found

    def note(self, key: str, **values: str | float) -> None:
        """Change fields of a project's `Standing`, or `last`."""
        with self._changing() as connection:
            self._note(connection, key, values)

    def take(self, key: str, runner: str, *, for_s: float) -> bool:
        """Whether `runner` works on the project for so long now, alone; also to go on with it."""
        with self._changing() as connection:
            self._note(connection, key, {})
            now = clock(connection)
            is_free = sa.or_(STANDINGS.c.runner == runner, STANDINGS.c.runner_until < now)
            taken = connection.execute(
                sa.update(STANDINGS)
                .where(STANDINGS.c.project_key == key, is_free)
                .values(runner=runner, runner_until=now + for_s)
            )
            return bool(taken.rowcount)

    def leave(self, key: str, runner: str) -> None:
        """The work is done; whoever comes next need not wait."""
        with self._changing() as connection:
            connection.execute(
                sa.update(STANDINGS)
                .where(STANDINGS.c.project_key == key, STANDINGS.c.runner == runner)
                .values(runner="", runner_until=0.0)
            )

    # Certificates

    def issue(self, one: Issued) -> Issued:
        """Keep a certificate; the one of the same id that is kept already stays, and is returned.

        One that had been withdrawn is in force again.
        """
        with self._changing() as connection:
            values = issued_values(one) | {"made_at": clock(connection), "withdrawn_at": None}
            row = insert(connection, CERTIFICATES).values(**values)
            connection.execute(
                row.on_conflict_do_update(index_elements=["id"], set_={"withdrawn_at": None})
            )
            kept = sa.select(CERTIFICATES).where(CERTIFICATES.c.id == one.id)
            return issued(connection.execute(kept).one())

    def withdraw(self, key: str) -> None:
        """None of a project's certificates is in force any more."""
        with self._changing() as connection:
            connection.execute(
                sa.update(CERTIFICATES)
                .where(CERTIFICATES.c.project_key == key, CERTIFICATES.c.withdrawn_at.is_(None))
                .values(withdrawn_at=clock(connection))
            )

    def look(self, key: str, name: str) -> int:
        """The number of a look at the present audits, 1 for the first; the same name, the same."""
        query = sa.select(LOOKS.c.name, LOOKS.c.number).where(LOOKS.c.project_key == key)
        with self._reading() as connection:
            known = {row.name: int(row.number) for row in connection.execute(query)}
        number = known.get(name, max(known.values(), default=0) + 1)
        with self._changing() as connection:
            row = insert(connection, LOOKS).values(project_key=key, name=name, number=number)
            connection.execute(row.on_conflict_do_nothing())
        return number

    def forget_looks(self, key: str) -> None:
        """The audits are others now."""
        with self._changing() as connection:
            connection.execute(sa.delete(LOOKS).where(LOOKS.c.project_key == key))

    def certificates(self, key: str) -> list[Issued]:
        """All that were ever issued, the newest first."""
        query = sa.select(CERTIFICATES).where(CERTIFICATES.c.project_key == key)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(CERTIFICATES.c.made_at.desc())).all()
        return [issued(row) for row in rows]

    # The log

    def intend(self, key: str, one: Entry) -> bool:
        """Write down what is about to be stored; False if it was written down before.

        What was accepted of the task before is gone then: it has no annotation.
        """
        with self._changing() as connection:
            values = entry_values(key, one) | {"at": clock(connection)}
            row = insert(connection, LOG).values(**values).on_conflict_do_nothing()
            done = connection.execute(row, execution_options={"preserve_rowcount": True})
            if not done.rowcount > 0:
                return False
            earlier = LOG.c.project_key == key, LOG.c.task_id == one.task_id
            connection.execute(
                sa.update(LOG).where(*earlier, LOG.c.fate == Fate.ACCEPTED).values(fate=Fate.GONE)
            )
            return True

    def note_stored(
        self, key: str, one: Entry, annotation_id: int, *, stored_at: str, digest: str
    ) -> None:
        """What was intended is there."""
        self._change_entry(
            key,
            one,
            fate=Fate.ACCEPTED,
            annotation_id=annotation_id,
            stored_at=stored_at,
            digest=digest,
        )

    def note_fate(self, key: str, one: Entry, fate: Fate) -> None:
        """What became of it since."""
        self._change_entry(key, one, fate=fate)

    def drop_intent(self, key: str, one: Entry) -> None:
        """It was never stored."""
        with self._changing() as connection:
            connection.execute(
                sa.delete(LOG).where(_is_entry(key, one), LOG.c.fate == Fate.INTENDED)
            )

    def log(self, key: str, *, fate: Fate | None = None, limit: int | None = None) -> list[Entry]:
        """Lines of the log, the newest first."""
        query = sa.select(LOG).where(LOG.c.project_key == key)
        if fate is not None:
            query = query.where(LOG.c.fate == fate)
        query = query.order_by(LOG.c.at.desc(), LOG.c.task_id.desc()).limit(limit)
        with self._reading() as connection:
            return [entry(row) for row in connection.execute(query)]

    def counts(self, key: str) -> dict[Fate, int]:
        """How many lines there are of each fate."""
        query = sa.select(LOG.c.fate, sa.func.count()).where(LOG.c.project_key == key)
        with self._reading() as connection:
            rows = connection.execute(query.group_by(LOG.c.fate)).all()
        return {Fate(row[0]): int(row[1]) for row in rows}

    # Spot checks

    def add_check(self, key: str, one: Check) -> None:
        """Keep what the model says of a task that people are to check."""
        with self._changing() as connection:
            values = check_values(key, one) | {"drawn_at": clock(connection)}
            row = insert(connection, CHECKS).values(**values)
            connection.execute(row.on_conflict_do_nothing())

    def checks(self, key: str) -> list[Check]:
        """All of a project, those that were judged first before the others."""
        query = sa.select(CHECKS).where(CHECKS.c.project_key == key)
        order = (CHECKS.c.judged_at.is_(None), CHECKS.c.judged_at, CHECKS.c.task_id)
        with self._reading() as connection:
            return [check(row) for row in connection.execute(query.order_by(*order))]

    def note_judged(self, key: str, wrong: Mapping[int, bool]) -> None:
        """What people said of checks, in this order; what was judged before stays so."""
        with self._changing() as connection:
            for task_id, is_wrong in wrong.items():
                connection.execute(
                    sa.update(CHECKS)
                    .where(_is_check(key, task_id), CHECKS.c.wrong.is_(None))
                    .values(wrong=int(is_wrong), judged_at=clock(connection))
                )

    def drop_checks(self, key: str, ids: Sequence[int]) -> None:
        """Forget checks that nobody can answer any more."""
        with self._changing() as connection:
            for task_id in ids:
                connection.execute(sa.delete(CHECKS).where(_is_check(key, task_id)))

    def _standing(self, key: str) -> sa.Row[Any] | None:
        query = sa.select(STANDINGS).where(STANDINGS.c.project_key == key)
        with self._reading() as connection:
            return connection.execute(query).one_or_none()

    def _note(self, connection: sa.Connection, key: str, values: Mapping[str, Any]) -> None:
        row = insert(connection, STANDINGS).values(project_key=key, **values)
        changed = values or {"project_key": key}
        connection.execute(
            row.on_conflict_do_update(index_elements=["project_key"], set_=dict(changed))
        )

    def _change_entry(self, key: str, one: Entry, **values: Any) -> None:
        with self._changing() as connection:
            connection.execute(sa.update(LOG).where(_is_entry(key, one)).values(**values))


def _is_entry(key: str, one: Entry) -> sa.ColumnElement[bool]:
    return sa.and_(
        LOG.c.project_key == key,
        LOG.c.task_id == one.task_id,
        LOG.c.certificate == one.certificate,
    )


def _is_check(key: str, task_id: int) -> sa.ColumnElement[bool]:
    return sa.and_(CHECKS.c.project_key == key, CHECKS.c.task_id == task_id)
