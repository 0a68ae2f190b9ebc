"""Brings back what a backup holds, all of it or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from backends.backup.archive import BadBackup, Manifest, Reader, Tell, chunks, opened
from backends.backup.rows import Anew, insert, read, tables
from backends.database import METADATA, clock, close_database, open_database, revisions
from backends.errors import StateError
from backends.jobs.tables import WORKERS
from backends.jobs.worker import DEAD_AFTER_S
from backends.micro.nouns import ModelVersion
from backends.micro.registry import Registry
from backends.micro.store import MicroStore
from backends.micro.tables import VERSIONS
from backends.settings import Settings


@dataclass(frozen=True)
class Restored:
    """What came back."""

    made_at: str
    rows: int
    models: int


def restore(
    settings: Settings,
    path: Path,
    *,
    force: bool,
    tell: Tell = lambda _text, _part: None,
) -> Restored:
    """Put the rows and models of a backup into an empty database, with `force` in place of its own.

    Nobody may be working on it. Unfinished jobs go on as soon as somebody does.
    Errors: `StateError`, and nothing has changed.
    """
    with opened(path, lambda text, part: tell(text, part / 2)) as backup:
        manifest = backup.manifest
        _check_release(manifest)
        _check_tables(manifest)
        with _written_to(settings), _room(settings, manifest) as room:
            folders = _unpack_models(settings, backup, room)
            tell("writes tables", 0.7)
            with _moves() as move, _changing(settings) as connection:
                _check_free(connection, force=force)
                for table in METADATA.tables.values():
                    connection.execute(sa.delete(table))
                rows = _load(connection, backup)
                _put_in_place(room, folders, move)
    return Restored(manifest.made_at, rows, len(folders))


def _check_release(manifest: Manifest) -> None:
    if manifest.revision not in revisions():
        raise BadBackup(
            f"the backup was made by a later release, {manifest.labelpilot}",
            advice="restore it with that release or a later one",
        )


def _check_tables(manifest: Manifest) -> None:
    known = {f"tables/{table.name}.jsonl" for table in tables()}
    for name in manifest.members:
        is_model = name.startswith("micro/") and name.count("/") == 4
        if name not in known and not is_model:
            raise BadBackup(f"the backup holds what no release has: {name[:80]!r}")


def _rows(backup: Reader, table: sa.Table) -> Iterator[dict[str, Any]]:
    name = f"tables/{table.name}.jsonl"
    if name not in backup.manifest.members:  # of an earlier release
        return
    try:
        with backup.open(name) as file:
            yield from read(file, table)
    except (ValueError, TypeError, KeyError) as error:
        raise BadBackup(f"{name} holds something else than its rows") from error


def _load(connection: sa.Connection, backup: Reader) -> int:
    anew, count = Anew(), 0
    for table in tables():
        rows = (anew.row(table, row) for row in _rows(backup, table))
        count += insert(connection, table, rows)
    return count


@contextmanager
def _changing(settings: Settings) -> Iterator[sa.Connection]:
    """One transaction, with nobody else writing."""
    engine = open_database(settings)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        raise StateError(
            f"the database did not take the backup ({type(error).__name__}); it is as it was",
            advice="see whether it can be reached and written to, and has room",
        ) from error
    finally:
        close_database(engine)


def _check_free(connection: sa.Connection, *, force: bool) -> None:
    """Errors: `StateError` if somebody works on it, or there is something that would be lost."""
    now = clock(connection)
    lately = WORKERS.c.seen_at.between(now - DEAD_AFTER_S, now + DEAD_AFTER_S)
    alive = sa.select(sa.func.count()).where(lately)
    if connection.execute(alive).scalar_one():
        raise StateError(
            "a server or worker works on this database",
            advice=f"stop all of them; one that crashed counts for {DEAD_AFTER_S:.0f} s more",
        )
    if force:
        return
    for table in tables():
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise StateError(
                f"the database is not empty (table {table.name})",
                advice="restore into an empty one, or say --force to delete what is there",
            )


@contextmanager
def _written_to(settings: Settings) -> Iterator[None]:
    try:
        settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield
    except OSError as error:
        raise StateError(
            f"the data folder cannot be written to: {error.strerror or type(error).__name__}",
            advice="make room there, or set LABELPILOT_DATA_DIR to another folder",
        ) from error


@contextmanager
def _room(settings: Settings, manifest: Manifest) -> Iterator[Path]:
    """A folder beside the models that has room for them."""
    size = sum(one.size for name, one in manifest.members.items() if name.startswith("micro/"))
    free = shutil.disk_usage(settings.data_path).free
    if size > free:
        raise StateError(
            f"the models need {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free",
            advice="make room in the data folder",
        )
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=settings.data_path) as room:
        yield Path(room)


def _unpack_models(settings: Settings, backup: Reader, room: Path) -> list[tuple[Path, Path]]:
    """(folder in the room, where it belongs) of each model; of those alone that have a row."""
    with closing(MicroStore(settings)) as store:
        registry = Registry(settings, store)
        try:
            belongs = [registry.folder(_version(row)) for row in _rows(backup, VERSIONS)]
        except (KeyError, TypeError, StateError) as error:
            raise BadBackup("the backup names a model that cannot be") from error
    known = {"/".join(folder.parts[-3:]): folder for folder in belongs}
    found: dict[str, Path] = {}
    for name in backup.manifest.members:
        _, _, inner = name.partition("micro/")
        of, _, file_name = inner.rpartition("/")
        if not name.startswith("micro/"):
            continue
        if of not in known:
            raise BadBackup("the backup holds a model that its tables do not name")
        folder = found.setdefault(of, room / f"new-{len(found)}")
        folder.mkdir(exist_ok=True)
        with backup.open(name) as source, (folder / file_name).open("xb") as target:
            for chunk in chunks(source):
                target.write(chunk)
    return [(folder, known[of]) for of, folder in found.items()]


def _version(row: dict[str, Any]) -> ModelVersion:
    """As far as it is needed to know where it lies."""
    names = ("id", "project_key", "scope", "made_at", "labels", "data", "why")
    return ModelVersion(*(row[name] for name in names))


def _put_in_place(
    room: Path, folders: Collection[tuple[Path, Path]], move: Callable[[Path, Path], None]
) -> None:
    """Each by one rename. What a crash leaves has no row, and goes later as all leftovers do."""
    for number, (new, target) in enumerate(folders):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if target.exists():
            move(target, room / f"old-{number}")
        move(new, target)


@contextmanager
def _moves() -> Iterator[Callable[[Path, Path], None]]:
    """Moves folders; back, if the block fails."""
    done: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        source.rename(target)
        done.append((source, target))

    try:
        yield move
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise
