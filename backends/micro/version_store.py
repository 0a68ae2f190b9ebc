"""Trained models in the database: what is known of each, and which of them answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from backends.database import Store, clock, insert
from backends.errors import StateError
from backends.micro.nouns import ModelVersion
from backends.micro.tables import CURRENT, VERSIONS, version, version_values
from backends.settings import Settings

ANY = "any"  # instead of whatever answers
# Of a project so many versions are remembered; and each that answers, or is its scope's newest.
KEPT = 200
_HISTORY = frozenset({"project_key", "scope", "id", "parent", "promoted_at"})


class VersionStore(Store):
    """Reads and writes what is known of models."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, of="micro-models")

    def add_version(self, version: ModelVersion) -> None:
        """Keep what is known of a trained model.

        Of one that is there already, trained to the same once more, what was measured is renewed;
        its history stays.
        """
        values = version_values(version)
        with self._changing() as connection:
            row = insert(connection, VERSIONS).values(**values)
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=["project_key", "scope", "id"],
                    set_={name: values[name] for name in values if name not in _HISTORY},
                )
            )

    def promote(
        self, project_key: str, scope: str, version_id: str, *, instead_of: str | None = ANY
    ) -> bool:
        """From now on this version answers for its scope; one atomic step.

        Only `instead_of` that one, None: where none answers. False if it is another one by now.
        Errors: `StateError` if there is no such version.
        """
        with self._changing() as connection:
            pointer = {"project_key": project_key, "scope": scope, "id": version_id}
            if not _pointed(connection, pointer, instead_of):
                return False
            promoted = connection.execute(
                sa.update(VERSIONS)
                .where(_is_of(VERSIONS, project_key, scope), VERSIONS.c.id == version_id)
                .values(promoted_at=clock(connection))
            )
            if not promoted.rowcount:
                raise StateError(f"there is no model {version_id} of {scope}")
        return True

    def versions(self, project_key: str, scope: str | None = None) -> list[ModelVersion]:
        """All versions of a project, or of one of its scopes, the newest first; no reports."""
        where = [VERSIONS.c.project_key == project_key]
        return self._versions(*where, *([] if scope is None else [VERSIONS.c.scope == scope]))

    def current(self, project_key: str) -> dict[str, ModelVersion]:
        """The versions that answer, by scope."""
        of_project = VERSIONS.c.project_key == project_key
        found = self._versions(of_project, CURRENT.c.id.is_not(None), with_reports=True)
        return {one.scope: one for one in found}

    def all_current(self) -> list[ModelVersion]:
        """The versions that answer, of every project, the newest first; no reports."""
        return self._versions(CURRENT.c.id.is_not(None))

    def all_versions(self) -> list[ModelVersion]:
        """The versions of every project, the newest first; no reports."""
        return self._versions()

    def version_by_id(self, id_prefix: str) -> list[ModelVersion]:
        """The versions whose id begins so, of every project and scope, the newest first."""
        has_it = VERSIONS.c.id.startswith(id_prefix, autoescape=True)
        return self._versions(has_it, with_reports=True)

    def note_archive(self, version: ModelVersion) -> None:
        """The store has its files now."""
        with self._changing() as connection:
            connection.execute(
                sa.update(VERSIONS)
                .where(_is(version))
                .values(archive=version.archive, archive_bytes=version.archive_bytes)
            )

    def note_gone(self, versions: Sequence[ModelVersion]) -> None:
        """The files of these versions are no longer on disk."""
        with self._changing() as connection:
            for one in versions:
                connection.execute(sa.update(VERSIONS).where(_is(one)).values(is_on_disk=0))

    def drop_scope_pointer(self, project_key: str, scope: str) -> None:
        """No version answers for this scope any more."""
        with self._changing() as connection:
            connection.execute(sa.delete(CURRENT).where(_is_of(CURRENT, project_key, scope)))

    def forget_old(self) -> None:
        """Forget the oldest versions of each project, but not those of `KEPT`."""
        numbers, scopes = Counter[str](), set[tuple[str, str]]()
        old = []
        for one in self.all_versions():
            scope = one.project_key, one.scope
            if numbers[one.project_key] >= KEPT and scope in scopes and not one.is_current:
                old.append(one)
            numbers[one.project_key] += 1
            scopes.add(scope)
        if old:
            with self._changing() as connection:
                for one in old:
                    connection.execute(sa.delete(VERSIONS).where(_is(one)))

    def _versions(
        self, *where: sa.ColumnElement[bool], with_reports: bool = False
    ) -> list[ModelVersion]:
        """The newest first; reports are much larger than all else."""
        pointer = sa.and_(
            CURRENT.c.project_key == VERSIONS.c.project_key,
            CURRENT.c.scope == VERSIONS.c.scope,
            CURRENT.c.id == VERSIONS.c.id,
        )
        columns = [
            *(one for one in VERSIONS.columns if one.name != "report"),
            VERSIONS.c.report if with_reports else sa.literal("{}").label("report"),
            CURRENT.c.id.is_not(None).label("is_current"),
        ]
        query = (
            sa.select(*columns)
            .outerjoin(CURRENT, pointer)
            .where(*where)
            .order_by(VERSIONS.c.made_at.desc(), VERSIONS.c.id)
        )
        with self._reading() as connection:
            return [version(row) for row in connection.execute(query)]


def _is_of(table: sa.Table, project_key: str, scope: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.project_key == project_key, table.c.scope == scope)


def _is(one: ModelVersion) -> sa.ColumnElement[bool]:
    return sa.and_(_is_of(VERSIONS, one.project_key, one.scope), VERSIONS.c.id == one.id)


def _pointed(connection: sa.Connection, pointer: dict[str, str], instead_of: str | None) -> bool:
    """Whether `CURRENT` was changed."""
    put = insert(connection, CURRENT).values(**pointer)
    if instead_of is None:
        change = put.on_conflict_do_nothing()
    elif instead_of == ANY:
        keys = ["project_key", "scope"]
        change = put.on_conflict_do_update(index_elements=keys, set_={"id": pointer["id"]})
    else:
        change = (
            sa.update(CURRENT)
            .where(_is_of(CURRENT, pointer["project_key"], pointer["scope"]))
            .where(CURRENT.c.id == instead_of)
            .values(id=pointer["id"])
        )
    changed = connection.execute(change, execution_options={"preserve_rowcount": True})
    return changed.rowcount > 0
