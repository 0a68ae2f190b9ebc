"""What `/setup` told about each project, kept across restarts."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from backends.database import METADATA, Store
from backends.settings import Settings

_UNKNOWN_S = 1.0  # how long a key stays unknown before the database is asked again
_MOST_IN_MEMORY = 10_000
_PROJECTS = sa.Table(
    "projects",
    METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("access_token", sa.Text),
    sa.Column("label_config", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)


@dataclass(frozen=True)
class KnownProject:
    """A project as `/setup` described it; `host` is the URL that Label Studio gave for itself.

    `updated_at`: when it last changed, in seconds since 1970.
    """

    key: str
    host: str
    access_token: str | None = field(repr=False)
    label_config: str
    updated_at: float = 0.0

    @property
    def id(self) -> int:
        """The id that Label Studio's API takes."""
        return int(self.key.split(".")[0])


class ProjectBook(Store):
    """Remembers projects by key; `get` answers from memory.

    Several processes may share one database: `get` looks there for keys it does not know and for
    what it read more than `refresh_s` ago.
    """

    def __init__(self, settings: Settings, *, refresh_s: float = 30.0) -> None:
        super().__init__(settings, of="projects")
        self._refresh_s = refresh_s
        self._known: dict[str, tuple[KnownProject | None, float]] = {}
        self._lock = threading.Lock()

    def remember(
        self, key: str, *, host: str, access_token: str | None, label_config: str
    ) -> KnownProject:
        """Store a project, replacing all that was known: a new host never gets an old token."""
        project = KnownProject(key, host, access_token or None, label_config, time.time())
        with self._lock:
            old, _ = self._known.get(key, (None, 0.0))
            if old is not None and _said(old) == _said(project):
                return old  # /setup comes at every page view
            self._write(project)
            self._known[key] = (project, time.monotonic())
        return project

    def get(self, key: str) -> KnownProject | None:
        """The project, or None if no `/setup` ever named it."""
        with self._lock:
            project, read_at = self._known.get(key, (None, float("-inf")))
            good_for_s = self._refresh_s if project else min(_UNKNOWN_S, self._refresh_s)
            if time.monotonic() - read_at < good_for_s:
                return project
            with self._reading() as connection:
                row = connection.execute(
                    sa.select(_PROJECTS).where(_PROJECTS.c.key == key)
                ).one_or_none()
            if len(self._known) > _MOST_IN_MEMORY:
                self._known.clear()  # anyone may ask for keys that nobody knows
            project = _project(row) if row else None
            self._known[key] = (project, time.monotonic())
            return project

    def all(self) -> list[KnownProject]:
        """Every known project, the one that changed last first."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(_PROJECTS).order_by(_PROJECTS.c.updated_at.desc())
            ).all()
        return [_project(row) for row in rows]

    def _write(self, project: KnownProject) -> None:
        # Delete and insert in one transaction is an upsert that every database knows.
        values = dict(zip(_PROJECTS.c.keys(), _values(project), strict=True))
        with self._changing() as connection:
            connection.execute(sa.delete(_PROJECTS).where(_PROJECTS.c.key == project.key))
            connection.execute(sa.insert(_PROJECTS).values(**values))


def _values(project: KnownProject) -> tuple[str, str, str | None, str, float]:
    return (
        project.key,
        project.host,
        project.access_token,
        project.label_config,
        project.updated_at,
    )


def _said(project: KnownProject) -> tuple[str, str | None, str]:
    return project.host, project.access_token, project.label_config


def _project(row: sa.Row[Any]) -> KnownProject:
    return KnownProject(row.key, row.host, row.access_token, row.label_config, row.updated_at)
