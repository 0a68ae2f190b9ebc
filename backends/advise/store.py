"""What was measured and advised, in the database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version

import sqlalchemy as sa

from backends.advise.nouns import Advice, Measured
from backends.advise.targets import Metric
from backends.database import METADATA, Store, insert
from backends.settings import Settings

_KEY = sa.String(200)
_POINTS = sa.Table(
    "advise_points",
    METADATA,
    sa.Column("project_key", _KEY, primary_key=True),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("made_by", sa.String(40), nullable=False),
    sa.Column("family", sa.String(40), nullable=False),
    sa.Column("budget_s", sa.Float, nullable=False),
    sa.Column("scores", sa.Text, nullable=False),
    sa.Column("train", sa.Text, nullable=False),
    sa.Column("test", sa.Text, nullable=False),
    sa.Column("took_s", sa.Float, nullable=False),
)
_ADVICE = sa.Table(
    "advise_plans",
    METADATA,
    sa.Column("project_key", _KEY, primary_key=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("figures", sa.Text, nullable=False),
)


class AdviseStore(Store):
    """Reads and writes points of learning curves and plans."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, of="learning curves")

    def points(self, project_key: str, scope: str) -> list[Measured]:
        """What was measured of a scope by this release, in the order of sizes."""
        query = sa.select(_POINTS).where(_of(project_key, scope), _POINTS.c.made_by == _release())
        with self._reading() as connection:
            found = [_measured(row) for row in connection.execute(query)]
        return sorted(found, key=lambda one: (one.size, one.family, sorted(one.train)))

    def add_point(self, project_key: str, scope: str, one: Measured) -> None:
        """Keep a point; the same one once more replaces it."""
        values = {
            "project_key": project_key,
            "scope": scope,
            "id": _id(one),
            "made_by": _release(),
            "family": one.family,
            "budget_s": one.budget_s,
            "scores": json.dumps({str(name): value for name, value in one.scores.items()}),
            "train": " ".join(sorted(one.train)),
            "test": " ".join(sorted(one.test)),
            "took_s": one.took_s,
        }
        with self._changing() as connection:
            connection.execute(
                insert(connection, _POINTS)
                .values(**values)
                .on_conflict_do_update(index_elements=["project_key", "scope", "id"], set_=values)
            )

    def drop_points(self, project_key: str, scope: str, *, still: Collection[str]) -> None:
        """Forget points of labels that are not `still` the same, and of other releases."""
        there = frozenset(still)
        query = sa.select(_POINTS).where(_of(project_key, scope))
        with self._reading() as connection:
            rows = list(connection.execute(query))
        gone = [
            row.id
            for row in rows
            if row.made_by != _release() or not {*row.train.split(), *row.test.split()} <= there
        ]
        if gone:
            with self._changing() as connection:
                for one in gone:
                    connection.execute(
                        sa.delete(_POINTS).where(_of(project_key, scope), _POINTS.c.id == one)
                    )

    def put_advice(self, advice: Advice) -> None:
        """Keep the newest plan of a project."""
        values = {
            "project_key": advice.project_key,
            "scope": advice.scope,
            "figures": json.dumps(advice.figures, allow_nan=False),
            "made_at": advice.made_at,
        }
        with self._changing() as connection:
            connection.execute(
                insert(connection, _ADVICE)
                .values(**values)
                .on_conflict_do_update(index_elements=["project_key"], set_=values)
            )

    def advice(self, project_key: str) -> Advice | None:
        """The newest plan of a project; None before the first."""
        query = sa.select(_ADVICE).where(_ADVICE.c.project_key == project_key)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return Advice(row.project_key, row.scope, row.made_at, json.loads(row.figures))


def _of(project_key: str, scope: str) -> sa.ColumnElement[bool]:
    return sa.and_(_POINTS.c.project_key == project_key, _POINTS.c.scope == scope)


def _measured(row: sa.Row[tuple[object, ...]]) -> Measured:
    found = row._mapping
    return Measured(
        found["family"],
        found["budget_s"],
        {Metric(name): value for name, value in json.loads(found["scores"]).items()},
        frozenset(found["train"].split()),
        frozenset(found["test"].split()),
        found["took_s"],
    )


def _id(one: Measured) -> str:
    what = (one.family, one.budget_s, sorted(one.train), sorted(one.test))
    return hashlib.sha256(repr(what).encode()).hexdigest()[:40]


def _release() -> str:
    """Models of another release may be better or worse."""
    try:
        return version("labelpilot")
    except PackageNotFoundError:
        return "unknown"
