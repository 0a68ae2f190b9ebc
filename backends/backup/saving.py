"""Makes a backup: all tables at one moment, and the models that they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path

import sqlalchemy as sa

from backends.backup.archive import Tell, Writer, chunks, written
from backends.backup.rows import lines, tables
from backends.database import close_database, open_database, revisions
from backends.errors import ModelMissing, StateError
from backends.micro.nouns import ModelVersion
from backends.micro.registry import Registry
from backends.micro.store import MicroStore
from backends.settings import Settings

_MODELS_BEGIN = 0.3  # of the bar


@dataclass(frozen=True)
class Saved:
    """What is in a backup: rows, models, and versions whose files could not be had."""

    rows: int
    models: int
    missing: tuple[str, ...]


def back_up(settings: Settings, path: Path, *, tell: Tell = lambda _text, _part: None) -> Saved:
    """Write a backup of the state and of models, while whoever wants works on.

    Errors: `StateError` where the database, the store of models or the file cannot be used.
    """
    with closing(MicroStore(settings)) as store, written(path) as writer:
        rows, versions = _add_tables(settings, writer, tell)
        registry = Registry(settings, store)
        there = [
            one
            for one in store.all_versions()
            if one.is_on_disk and (one.project_key, one.scope, one.id) in versions
        ]
        missing = []
        for number, version in enumerate(there):
            tell("models", _MODELS_BEGIN + (1 - _MODELS_BEGIN) * number / len(there))
            if not _add_model(registry, version, writer):
                missing.append(version.id)
        writer.finish(
            labelpilot=installed_version("labelpilot"),
            revision=revisions()[-1],
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    return Saved(rows, len(there) - len(missing), tuple(missing))


def _add_tables(
    settings: Settings, writer: Writer, tell: Tell
) -> tuple[int, set[tuple[str, str, str]]]:
    """All rows, how many there are, and the (project, scope, id) of models among them."""
    rows, versions = 0, set()
    saved = tables()
    with _at_one_moment(settings) as connection:
        for number, table in enumerate(saved):
            tell("tables", _MODELS_BEGIN * number / len(saved))
            counted = _Counted(lines(connection, table))
            writer.add(f"tables/{table.name}.jsonl", iter(counted))
            rows += counted.count
        named = sa.table("micro_versions", *map(sa.column, ("project_key", "scope", "id")))
        versions = {tuple(row) for row in connection.execute(sa.select(named))}
    return rows, versions


class _Counted:
    """Counts what passes."""

    def __init__(self, items: Iterator[bytes]) -> None:
        self._items, self.count = items, 0

    def __iter__(self) -> Iterator[bytes]:
        for item in self._items:
            self.count += 1
            yield item


@contextmanager
def _at_one_moment(settings: Settings) -> Iterator[sa.Connection]:
    """Whatever others write meanwhile, it reads what was there at its beginning."""
    engine = open_database(settings)
    try:
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":  # Python's module begins at the first write only
                connection.exec_driver_sql("BEGIN")
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise StateError(
            f"the database could not be read ({type(error).__name__})",
            advice="see whether LABELPILOT_DATABASE_URL can be reached",
        ) from error
    finally:
        close_database(engine)


def _add_model(registry: Registry, version: ModelVersion, writer: Writer) -> bool:
    """Whether its files were there; a server may remove an old model meanwhile."""
    with suppress(ModelMissing, FileNotFoundError):
        folder = registry.fetch(version)
        files = sorted(path for path in folder.iterdir() if path.is_file())
        opened = [(path.name, path.open("rb")) for path in files if path.name[0] != "."]
        try:
            for name, file in opened:
                writer.add(f"micro/{'/'.join(folder.parts[-3:])}/{name}", chunks(file))
        finally:
            for _, file in opened:
                file.close()
        return bool(opened)
    return False
