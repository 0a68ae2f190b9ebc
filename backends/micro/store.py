"""Training on submit in the database: standings, labelled tasks, what is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import sqlalchemy as sa

from backends.database import clock, insert, tables_of_projects
from backends.jobs.changes import AT_ONCE
from backends.jobs.tables import JOBS, TASKS
from backends.micro.nouns import Acceptance, LabelledTask, Shown, Standing, Step
from backends.micro.tables import (
    CURRENT,
    LABELLED,
    SHOWN,
    STANDINGS,
    labelled_task,
    labelled_values,
    pack_shown,
    standing,
    unpack_captions,
    unpack_shown,
)
from backends.micro.version_store import VersionStore

_TASKS_AT_ONCE = 50  # rows with brush masks in one statement
_OF_ACCEPTANCE = {"predicted", "unchanged", "seconds"}
_OF_TASK = {"updated_at", "content", "own_only"}
_Part = TypeVar("_Part")


class MicroStore(VersionStore):
    """Reads and writes what is kept of training on submit. Safe among threads and processes.

    Errors of all methods: `StateError` when the database cannot be used.
    """

    # Standings

    def note_event(
        self,
        project_keys: Sequence[str],
        *,
        submissions: int,
        asked: bool = False,
        tasks_came: bool = False,
    ) -> None:
        """Something happened in these projects, `submissions` annotations in each; quick."""
        with self._changing() as connection:
            now = clock(connection)
            changes = STANDINGS.c.changes + 1
            again: dict[str, Any] = {
                "changes": changes,
                "since": STANDINGS.c.since + submissions,
                "touched_at": now,
            }
            again |= {"asked_in": changes} if asked else {}
            again |= {"tasks_came_in": changes} if tasks_came else {}
            for key in sorted(set(project_keys)):  # one order for all: nobody waits in a ring
                first = insert(connection, STANDINGS).values(
                    project_key=key,
                    changes=1,
                    since=submissions,
                    touched_at=now,
                    asked_in=int(asked),
                    tasks_came_in=int(tasks_came),
                )
                connection.execute(
                    first.on_conflict_do_update(index_elements=["project_key"], set_=again)
                )

    def standing(self, key: str) -> Standing:
        """Where a project stands; all zero where nothing is known of it."""
        found = self._standings(STANDINGS.c.project_key == key)
        return found[0] if found else Standing(key)

    def standings(self) -> list[Standing]:
        """Every project in which something happened, in the order of their keys."""
        return self._standings(sa.true())

    def waiting(self) -> list[Standing]:
        """Projects with events that no training took note of, the longest quiet first."""
        found = self._standings(STANDINGS.c.changes > STANDINGS.c.seen)
        return sorted(found, key=lambda one: one.touched_at)

    def note_seen(self, began: Standing, *, labels: int) -> None:
        """A training took note of all that had happened when `began` was read.

        What happened since stays news. To say the same again changes nothing.
        """
        key = STANDINGS.c.project_key == began.project_key
        with self._changing() as connection:
            connection.execute(
                sa.update(STANDINGS)
                .where(key, STANDINGS.c.seen < began.changes)
                .values(seen=began.changes, since=STANDINGS.c.since - began.since)
            )
            connection.execute(sa.update(STANDINGS).where(key).values(labels=labels))

    def note_begun(self, began: Standing) -> None:
        """A training begins, and takes note of all that had happened when `began` was read."""
        self._note(began.project_key, begun=began.changes)

    def note_labels(self, key: str, labels: int) -> None:
        """How many labelled tasks there are."""
        self._note(key, labels=labels)

    def note(self, key: str, text: str) -> None:
        """Say what a project waits for, or why nothing was trained; "" for nothing."""
        self._note(key, note=_plain(text))

    def note_failure(self, key: str, text: str) -> None:
        """Say why the last training failed; "" when one has not."""
        self._note(key, failure=_plain(text))

    def note_step(self, key: str, step: Step | None) -> None:
        """Say how far a training is; None when none goes on."""
        if step is not None:
            self._note(key, step=json.dumps(asdict(step)))
            return
        is_known = STANDINGS.c.project_key == key
        with self._changing() as connection:
            connection.execute(sa.update(STANDINGS).where(is_known).values(step=None))

    def note_announced(self, key: str, version: str, *, models: Mapping[str, str]) -> None:
        """Predictions are refreshed to this version, which stands for `models`, ids by scope."""
        self._note(key, announced=version, announced_of=json.dumps(sorted(models.items())))

    def claim_announcing(self, key: str, *, for_s: float) -> bool:
        """Whether this process is to refresh predictions; for so long no other one is."""
        with self._changing() as connection:
            known = insert(connection, STANDINGS).values(project_key=key)
            connection.execute(known.on_conflict_do_nothing())
            now = clock(connection)
            claimed = connection.execute(
                sa.update(STANDINGS)
                .where(
                    STANDINGS.c.project_key == key,
                    # Nobody claims it for longer: the clock was put back.
                    sa.or_(
                        STANDINGS.c.announcing_until <= now,
                        STANDINGS.c.announcing_until > now + for_s,
                    ),
                )
                .values(announcing_until=now + for_s)
            )
            return claimed.rowcount > 0

    def release_announcing(self, key: str) -> None:
        """It has done so, or could not; another one may."""
        self._note(key, announcing_until=0.0)

    def unannounced(self) -> list[str]:
        """Projects whose current models are not those of the last `note_announced`."""
        with self._reading() as connection:
            told = connection.execute(
                sa.select(STANDINGS.c.project_key, STANDINGS.c.announced_of)
            ).all()
            models = connection.execute(sa.select(CURRENT)).all()
        now: dict[str, list[list[str]]] = {}
        for row in models:
            now.setdefault(row.project_key, []).append([row.scope, row.id])
        of = {row.project_key: json.loads(row.announced_of) for row in told}
        return sorted(key for key in {*now, *of} if sorted(now.get(key, [])) != of.get(key, []))

    # Labelled tasks

    def labelled(self, key: str, *, task_id: int | None = None) -> list[LabelledTask]:
        """The tasks of a project that people labelled, in id order; or just one."""
        query = sa.select(LABELLED).where(_by_people(key))
        if task_id is not None:
            query = query.where(LABELLED.c.task_id == task_id)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(LABELLED.c.task_id))
            return [labelled_task(row) for row in rows]

    def own_only(self, key: str) -> list[LabelledTask]:
        """The tasks that have only annotations which labelpilot stored itself, in id order."""
        query = sa.select(LABELLED).where(LABELLED.c.project_key == key, LABELLED.c.own_only == 1)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(LABELLED.c.task_id))
            return [labelled_task(row) for row in rows]

    def count_labelled(self, key: str) -> int:
        """How many tasks people labelled."""
        query = sa.select(sa.func.count()).select_from(LABELLED).where(_by_people(key))
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def known(self, key: str) -> dict[int, str]:
        """The `updated_at` of each task with annotations, by id, whoever made them."""
        query = sa.select(LABELLED.c.task_id, LABELLED.c.updated_at)
        with self._reading() as connection:
            rows = connection.execute(query.where(LABELLED.c.project_key == key))
            return {row.task_id: row.updated_at for row in rows}

    def synced_to(self, key: str) -> str:
        """The newest change in Label Studio when all was compared last; "" if it never was."""
        query = sa.select(STANDINGS.c.synced_to).where(STANDINGS.c.project_key == key)
        with self._reading() as connection:
            return connection.execute(query).scalar() or ""

    def note_synced(self, key: str, moment: str) -> None:
        """All that Label Studio changed until then is kept."""
        self._note(key, synced_to=moment)

    def put_labelled(
        self, key: str, tasks: Sequence[LabelledTask], acceptance: Mapping[int, Acceptance]
    ) -> None:
        """Keep tasks, new or changed; whose acceptance is not given keeps what it had.

        Once a prediction is deleted, nothing tells any more what an annotation was made of it.
        """
        told = [task for task in tasks if task.id in acceptance]
        others = [task for task in tasks if task.id not in acceptance]
        with self._changing() as connection:
            for some, columns in ((told, _OF_TASK | _OF_ACCEPTANCE), (others, _OF_TASK)):
                rows = [labelled_values(key, task, acceptance.get(task.id)) for task in some]
                for at_once in _parts(rows, _TASKS_AT_ONCE):
                    put = insert(connection, LABELLED)
                    connection.execute(
                        put.on_conflict_do_update(
                            index_elements=["project_key", "task_id"],
                            set_={name: put.excluded[name] for name in columns},
                        ),
                        at_once,
                    )

    def drop_labelled(self, key: str, ids: Sequence[int]) -> None:
        """Forget tasks that are gone or lost their annotations."""
        with self._changing() as connection:
            for some in _parts(ids, AT_ONCE):
                connection.execute(
                    sa.delete(LABELLED).where(
                        LABELLED.c.project_key == key, LABELLED.c.task_id.in_(some)
                    )
                )

    def acceptance(self, key: str) -> Acceptance:
        """Of all labelled tasks of a project together."""
        columns = (LABELLED.c.predicted, LABELLED.c.unchanged, LABELLED.c.seconds)
        sums = (sa.func.coalesce(sa.func.sum(column), 0) for column in columns)
        with self._reading() as connection:
            row = connection.execute(sa.select(*sums).where(LABELLED.c.project_key == key)).one()
        return Acceptance(int(row[0]), int(row[1]), float(row[2]))

    # What the status page shows

    def put_shown(self, key: str, version: str, shown: Sequence[Shown]) -> None:
        """Keep what a version says of a few tasks of a project, in place of what was kept."""
        values = {"version": version, "content": pack_shown(shown)}
        with self._changing() as connection:
            row = insert(connection, SHOWN).values(project_key=key, **values)
            connection.execute(
                row.on_conflict_do_update(index_elements=["project_key"], set_=values)
            )

    def shown(self, key: str) -> list[Shown]:
        """The tasks that were put, in their order."""
        content = self._shown(key)
        return unpack_shown(content) if content else []

    def captions(self, key: str) -> list[Shown]:
        """As `shown`, quickly and without shapes: every region is of the whole image."""
        content = self._shown(key)
        return unpack_captions(content) if content else []

    def forget(self, key: str) -> None:
        """Forget all about a project that is gone: its models, and what any tool keeps of it.

        Jobs stay: it may be one of them that found the project gone. Old ones are deleted anyway.
        """
        with self._reading() as connection:
            found = tables_of_projects(connection)
        with self._changing() as connection:
            for table in found:
                if table.name not in (JOBS.name, TASKS.name):
                    connection.execute(sa.delete(table).where(table.c.project_key == key))

    def _standings(self, where: sa.ColumnElement[bool]) -> list[Standing]:
        query = sa.select(STANDINGS).where(where).order_by(STANDINGS.c.project_key)
        with self._reading() as connection:
            return [standing(row) for row in connection.execute(query)]

    def _shown(self, key: str) -> bytes | None:
        query = sa.select(SHOWN.c.content).where(SHOWN.c.project_key == key)
        with self._reading() as connection:
            content: bytes | None = connection.execute(query).scalar()
        return content

    def _note(self, key: str, **values: Any) -> None:
        with self._changing() as connection:
            row = insert(connection, STANDINGS).values(project_key=key, **values)
            connection.execute(
                row.on_conflict_do_update(index_elements=["project_key"], set_=values)
            )


def _by_people(key: str) -> sa.ColumnElement[bool]:
    return sa.and_(LABELLED.c.project_key == key, LABELLED.c.own_only == 0)


def _parts(values: Sequence[_Part], size: int) -> Iterator[list[_Part]]:
    return (list(values[start : start + size]) for start in range(0, len(values), size))


def _plain(text: str) -> str:
    """Text that every database takes: Postgres has no character 0."""
    return text.replace("\0", "")
