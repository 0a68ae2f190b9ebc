"""Which tasks are withheld from models: audits, that prove how good they are, and spot checks.

The tools that draw them stand far above; whoever answers tasks or learns from them asks here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum

import sqlalchemy as sa

from backends.database import METADATA, Store, insert
from backends.label_studio.tasks import pages
from backends.settings import Settings

_AT_ONCE = 500  # values in one IN list: databases limit them
_AUDITS = sa.Table(
    "audits",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("drawn_at", sa.Float, nullable=False),
    sa.Column("spent_on", sa.String(64), nullable=False),
)
# All that were ever drawn: people may have labelled them while they were withheld.
_EVER = sa.Table(
    "audits_ever",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
)
# Annotations of ours that a certificate in force vouches for.
_CERTIFIED = sa.Table(
    "certified_annotations",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
    sa.Column("annotation_id", sa.Integer, nullable=False),
)


class Withheld(StrEnum):
    """Why a task is withheld: AUDIT from answers and from learning, CHECK from answers alone."""

    AUDIT = "audit"
    CHECK = "check"


@dataclass(frozen=True)
class Drawn:
    """A task that was drawn; people are to label them in the order of `place`.

    `spent_on`: the certificate under which tasks like this one were accepted, "" for none. What
    is spent stands for nothing that is left, and is still not to be learned from.
    """

    task_id: int
    kind: Withheld
    place: int
    drawn_at: float
    spent_on: str = ""


class AuditBook(Store):
    """Remembers drawn tasks by project.

    `blind` and `untaught` answer from what was read at most `refresh_s` ago.
    """

    def __init__(self, settings: Settings, *, refresh_s: float = 1.0) -> None:
        super().__init__(settings, of="audits")
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._known: dict[str, tuple[tuple[Drawn, ...], float]] = {}

    def blind(self, project_key: str) -> frozenset[int]:
        """Tasks that people are to label without seeing any answer of ours."""
        return frozenset(one.task_id for one in self._lately(project_key))

    def untaught(self, project_key: str) -> frozenset[int]:
        """Tasks that no model of the project may learn from."""
        drawn = self._lately(project_key)
        return frozenset(one.task_id for one in drawn if one.kind is Withheld.AUDIT)

    def drawn(self, project_key: str) -> list[Drawn]:
        """All tasks that are drawn now, in the order of their places."""
        query = sa.select(_AUDITS).where(_AUDITS.c.project_key == project_key)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(_AUDITS.c.place, _AUDITS.c.task_id)).all()
        return [
            Drawn(row.task_id, Withheld(row.kind), row.place, row.drawn_at, row.spent_on)
            for row in rows
        ]

    def ever(self, project_key: str) -> frozenset[int]:
        """Tasks that were drawn once, whether or not they are withheld still."""
        queries = [
            sa.select(table.c.task_id).where(table.c.project_key == project_key)
            for table in (_EVER, _AUDITS)
        ]
        with self._reading() as connection:
            return frozenset(n for query in queries for n in connection.execute(query).scalars())

    def last_place(self, project_key: str) -> int:
        """The highest place of a drawn task, 0 without any."""
        query = sa.select(sa.func.max(_AUDITS.c.place)).where(_AUDITS.c.project_key == project_key)
        with self._reading() as connection:
            return int(connection.execute(query).scalar() or 0)

    def draw(self, project_key: str, drawn: Sequence[Drawn]) -> None:
        """Withhold these tasks from now on; those that are drawn already stay as they are."""
        rows = [{"project_key": project_key, **asdict(one)} for one in drawn]
        if not rows:
            return
        ever = [{"project_key": project_key, "task_id": one.task_id} for one in drawn]
        with self._forgetting(project_key) as connection:
            connection.execute(insert(connection, _AUDITS).on_conflict_do_nothing(), rows)
            connection.execute(insert(connection, _EVER).on_conflict_do_nothing(), ever)

    def spend(self, project_key: str, ids: Collection[int], certificate: str) -> None:
        """These stand for tasks that were accepted under a certificate; the first one counts."""
        with self._forgetting(project_key) as connection:
            for some in pages(sorted(ids), _AT_ONCE):
                connection.execute(
                    sa.update(_AUDITS)
                    .where(_AUDITS.c.project_key == project_key, _AUDITS.c.task_id.in_(some))
                    .where(_AUDITS.c.spent_on == "")
                    .values(spent_on=certificate)
                )

    def release(self, project_key: str, ids: Collection[int] | None = None) -> None:
        """Withhold these no longer; None: all of the project."""
        of_project = _AUDITS.c.project_key == project_key
        with self._forgetting(project_key) as connection:
            if ids is None:
                connection.execute(sa.delete(_AUDITS).where(of_project))
                return
            for some in pages(sorted(ids), _AT_ONCE):
                connection.execute(
                    sa.delete(_AUDITS).where(of_project, _AUDITS.c.task_id.in_(some))
                )

    def certified(self, project_key: str) -> dict[int, int]:
        """The annotations of ours that may be learned from as pseudo-labels, by task id."""
        query = sa.select(_CERTIFIED).where(_CERTIFIED.c.project_key == project_key)
        with self._reading() as connection:
            return {row.task_id: row.annotation_id for row in connection.execute(query)}

    def certify(self, project_key: str, annotations: Mapping[int, int] | None) -> None:
        """These, by task id, may be learned from, and no others; None: none at all any more."""
        rows = [
            {"project_key": project_key, "task_id": task_id, "annotation_id": annotation_id}
            for task_id, annotation_id in (annotations or {}).items()
        ]
        with self._forgetting(project_key) as connection:
            connection.execute(sa.delete(_CERTIFIED).where(_CERTIFIED.c.project_key == project_key))
            if rows:
                connection.execute(sa.insert(_CERTIFIED), rows)

    def _lately(self, project_key: str) -> tuple[Drawn, ...]:
        with self._lock:
            drawn, read_at = self._known.get(project_key, ((), float("-inf")))
            if time.monotonic() - read_at < self._refresh_s:
                return drawn
        found = tuple(self.drawn(project_key))
        with self._lock:
            if len(self._known) > 10_000:  # anyone may ask for keys that nobody knows
                self._known.clear()
            self._known[project_key] = found, time.monotonic()
        return found

    @contextmanager
    def _forgetting(self, project_key: str) -> Iterator[sa.Connection]:
        """A change, after which what was read of the project is read anew."""
        try:
            with self._changing() as connection:
                yield connection
        finally:
            with self._lock:
                self._known.pop(project_key, None)
