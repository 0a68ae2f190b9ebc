"""Reviews in the database: the last one of each project, and what people answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from backends.database import METADATA, Store, clock, insert
from backends.review.nouns import Case, Line, Review, Summary, Suspect, Tally, headline
from backends.settings import Settings
from micro_models.label_errors import ErrorKind
from micro_models.region_json import from_json, to_json
from micro_models.regions import Region

_REVIEWS = sa.Table(
    "reviews",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("judged", sa.Integer, nullable=False),
    sa.Column("notes", sa.Text, nullable=False),
    sa.Column("problems", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
)
# Of cases that were answered the row stays when a later review no longer has them: its position
# is then null.
_CASES = sa.Table(
    "review_cases",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("position", sa.Integer),
    sa.Column("task_id", sa.Integer, nullable=False),
    sa.Column("suspect", sa.Text, nullable=False),
    sa.Column("known", sa.Integer),
    sa.Column("verdict", sa.Integer),
    sa.Column("answered_at", sa.Float),
)
_KEPT = frozenset({"project_key", "id", "verdict", "answered_at"})
_ROWS_AT_ONCE = 200


class ReviewStore(Store):
    """Reads and writes reviews."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, of="reviews")

    def put(self, review: Review) -> None:
        """Keep a review in place of the project's last one; answers stay. One atomic step."""
        key = review.project_key
        rows = [_values(key, position, case) for position, case in enumerate(review.cases)]
        row = {
            "project_key": key,
            "version": review.version,
            "made_at": review.made_at,
            "judged": review.judged,
            "notes": json.dumps(review.notes),
            "problems": json.dumps(review.problems),
            "host": review.host,
        }
        with self._changing() as connection:
            self._leave(connection, key)
            _upsert(connection, _REVIEWS, [row], ["project_key"], row.keys() - {"project_key"})
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                some = rows[start : start + _ROWS_AT_ONCE]
                _upsert(connection, _CASES, some, ["project_key", "id"], some[0].keys() - _KEPT)

    def drop(self, project_key: str) -> bool:
        """Forget a project's review, but not what people answered; whether there was one."""
        with self._changing() as connection:
            self._leave(connection, project_key)
            gone = connection.execute(
                sa.delete(_REVIEWS).where(_REVIEWS.c.project_key == project_key)
            )
        return bool(gone.rowcount)

    def review(self, project_key: str) -> Review | None:
        """The last review of a project with all its cases and answers."""
        with self._reading() as connection:
            found = connection.execute(
                sa.select(_REVIEWS).where(_REVIEWS.c.project_key == project_key)
            ).one_or_none()
        if found is None:
            return None
        return Review(
            project_key=project_key,
            version=found.version,
            made_at=found.made_at,
            judged=found.judged,
            cases=tuple(self._cases(project_key, _CASES.c.position.is_not(None))),
            notes=tuple(json.loads(found.notes)),
            problems={int(task): why for task, why in json.loads(found.problems).items()},
            host=found.host,
        )

    def summary(self, project_key: str, *, unanswered: int, answered: int) -> Summary | None:
        """The last review: the first so many unanswered cases and the last so many answered ones,
        in their order.
        """
        now = sa.and_(_CASES.c.project_key == project_key, _CASES.c.position.is_not(None))
        waits, done = _CASES.c.verdict.is_(None), _CASES.c.verdict.is_not(None)
        place, rows = _CASES.c.position, sa.select(_CASES).where(now)
        count = sa.select(sa.func.count()).select_from(_CASES).where(now)
        with self._reading() as connection:
            found = connection.execute(
                sa.select(_REVIEWS).where(_REVIEWS.c.project_key == project_key)
            ).one_or_none()
            if found is None:
                return None
            some = [
                *connection.execute(rows.where(waits).order_by(place).limit(unanswered)),
                *connection.execute(rows.where(done).order_by(place.desc()).limit(answered)),
            ]
            suspects = connection.scalar(count.where(_CASES.c.known.is_(None))) or 0
            waiting = connection.scalar(count.where(waits)) or 0
        return Summary(
            version=found.version,
            made_at=found.made_at,
            judged=found.judged,
            suspects=suspects,
            unanswered=waiting,
            lines=tuple(_line(row) for row in sorted(some, key=lambda row: int(row.position))),
            notes=tuple(json.loads(found.notes)),
            host=found.host,
        )

    def case(self, project_key: str, case_id: str) -> Case | None:
        """One case of the last review."""
        found = self._cases(
            project_key, _CASES.c.position.is_not(None), _CASES.c.id == case_id[:16]
        )
        return found[0] if found and len(case_id) == 16 else None

    def answered(self, project_key: str) -> list[Case]:
        """All cases that were ever answered, also in earlier reviews."""
        return self._cases(project_key, _CASES.c.verdict.is_not(None))

    def answer(self, project_key: str, case_id: str, *, verdict: bool | None) -> bool:
        """Keep whether a person calls a label wrong; None takes an answer back.

        False if the last review has no such case.
        """
        with self._changing() as connection:
            changed = connection.execute(
                sa.update(_CASES)
                .where(_CASES.c.project_key == project_key, _CASES.c.id == case_id)
                .where(_CASES.c.position.is_not(None))
                .values(
                    verdict=None if verdict is None else int(verdict),
                    answered_at=None if verdict is None else clock(connection),
                )
            )
        return bool(changed.rowcount)

    def tally(self, project_key: str) -> Tally:
        """How people answered: suspects of the last review, known cases of all reviews."""
        counted = sa.or_(_CASES.c.known.is_not(None), _CASES.c.position.is_not(None))
        query = (
            sa.select(_CASES.c.known, _CASES.c.verdict, sa.func.count())
            .where(_CASES.c.project_key == project_key, _CASES.c.verdict.is_not(None), counted)
            .group_by(_CASES.c.known, _CASES.c.verdict)
        )
        with self._reading() as connection:
            n = {(known, verdict): count for known, verdict, count in connection.execute(query)}
        return Tally(
            real=n.get((None, 0), 0) + n.get((None, 1), 0),
            called_wrong=n.get((None, 1), 0),
            known_right=n.get((0, 0), 0) + n.get((0, 1), 0),
            false_yes=n.get((0, 1), 0),
            known_wrong=n.get((1, 0), 0) + n.get((1, 1), 0),
            false_no=n.get((1, 0), 0),
        )

    def _cases(self, project_key: str, *where: sa.ColumnElement[bool]) -> list[Case]:
        query = sa.select(_CASES).where(_CASES.c.project_key == project_key, *where)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(_CASES.c.position, _CASES.c.id)).all()
        return [_case(row) for row in rows]

    def _leave(self, connection: sa.Connection, project_key: str) -> None:
        """What was answered is in no review any more, the rest is gone."""
        of_project = _CASES.c.project_key == project_key
        connection.execute(sa.delete(_CASES).where(of_project, _CASES.c.verdict.is_(None)))
        connection.execute(sa.update(_CASES).where(of_project).values(position=None))


def _upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[dict[str, Any]],
    keys: Sequence[str],
    changed: Any,
) -> None:
    put = insert(connection, table).values(rows)
    new = {name: put.excluded[name] for name in changed}
    connection.execute(put.on_conflict_do_update(index_elements=list(keys), set_=new))


def _values(project_key: str, position: int, case: Case) -> dict[str, Any]:
    one = case.suspect
    stored = {
        "scope": one.scope,
        "kind": str(one.kind),
        "score": one.score,
        "reason": one.reason,
        "given": to_json(one.given) if one.given else None,
        "suggested": to_json(one.suggested) if one.suggested else None,
        "iou": one.iou,
    }
    return {
        "project_key": project_key,
        "id": one.id,
        "position": position,
        "task_id": one.task_id,
        "suspect": json.dumps(stored),
        "known": None if case.known is None else int(case.known),
    }


def _case(row: sa.Row[Any]) -> Case:
    stored = json.loads(row.suspect)
    suspect = Suspect(
        id=row.id,
        task_id=row.task_id,
        scope=stored["scope"],
        kind=ErrorKind(stored["kind"]),
        score=stored["score"],
        reason=stored["reason"],
        given=_region(stored["given"]),
        suggested=_region(stored["suggested"]),
        iou=stored["iou"],
    )
    return Case(
        suspect,
        None if row.known is None else bool(row.known),
        None if row.verdict is None else bool(row.verdict),
    )


def _line(row: sa.Row[Any]) -> Line:
    """Of the shapes nothing is decoded: a mask takes a byte for each pixel of its picture."""
    stored = json.loads(row.suspect)
    given, suggested = (one and one["label"] for one in (stored["given"], stored["suggested"]))
    kind = ErrorKind(stored["kind"])
    return Line(
        id=row.id,
        task_id=row.task_id,
        kind=kind,
        headline=headline(kind, stored["score"], given, suggested),
        iou=stored["iou"],
        verdict=None if row.verdict is None else bool(row.verdict),
    )


def _region(stored: Any) -> Region | None:
    return None if stored is None else from_json(stored)
