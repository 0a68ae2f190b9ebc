"""The one database: SQLite in the data folder, or what `LABELPILOT_DATABASE_URL` names."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from backends.errors import Damaged, Unavailable
from backends.settings import Settings

# All tables are in it. Whoever changes one writes a step in `backends/migrations/versions`.
METADATA = sa.MetaData()
VERSION_TABLE = "labelpilot_schema"
_MIGRATIONS = Path(__file__).parent / "migrations"
# Of Postgres' advisory locks, which all programs of a database share: any number that nobody else
# would choose.
_UPGRADE_LOCK = 5_717_201_904
# A server that vanished is noticed after some 15 s, not after the system's quarter of an hour.
_POSTGRES_LIMITS = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


_opening = threading.Lock()
_engines: dict[sa.URL, sa.Engine] = {}
_users: Counter[sa.Engine] = Counter()


class Store:
    """Base of what keeps its state in tables of its own. Safe among threads and processes.

    `of`: what is kept, for messages. Errors of all methods, those of heirs too: `Unavailable`
    when the database cannot be used.
    """

    def __init__(self, settings: Settings, *, of: str) -> None:
        self._of = of
        with self._told():
            self._engine = open_database(settings)

    def close(self) -> None:
        """The last one of this process closes its connections; a later use opens new ones."""
        close_database(self._engine)

    def now(self) -> float:
        """Seconds since 1970 by the database's clock, by which all that it keeps is dated."""
        with self._reading() as connection:
            return clock(connection)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._told(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        """One transaction. Begin it with a write: SQLite refuses one who read and then writes."""
        with self._told(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise explained(error, of=f"the database of {self._of}") from error


def explained(error: sa.exc.SQLAlchemyError, *, of: str = "the database") -> Unavailable:
    """What a person can do about it; `of` begins the sentence."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF  # of any kind
    if code in _DAMAGED:
        return Damaged(
            f"{of} is damaged: state.db in the data folder",
            advice="stop labelpilot, move state.db, state.db-wal and state.db-shm away, and bring "
            "a backup back with `labelpilot restore`; without one start anew: labels are in Label "
            "Studio",
        )
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"{of} cannot be written: the disk is full",
            advice="free some space under LABELPILOT_DATA_DIR",
        )
    return Unavailable(
        f"{of} failed ({type(error).__name__})",
        advice="see whether LABELPILOT_DATABASE_URL can be reached, or the data folder written to",
    )


def clock(connection: sa.Connection) -> float:
    """Seconds since 1970 by the one clock that all workers share: SQLite is of one machine."""
    if connection.dialect.name != "postgresql":
        return time.time()
    return float(
        connection.execute(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).scalar_one()
    )


def insert(connection: sa.Connection, table: sa.Table) -> Any:
    """INSERT with ON CONFLICT, which both databases know, each in its dialect."""
    on_postgres = connection.dialect.name == "postgresql"
    return postgresql.insert(table) if on_postgres else sqlite.insert(table)


def open_database(settings: Settings) -> sa.Engine:
    """The engine of this process, its tables those of this release; all who ask share it.

    Each of them says `close_database` at its end.
    """
    url = sa.make_url(database_url(settings))
    with _opening:
        if settings.database_url is None:
            settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_private(settings.data_path / "state.db")
        engine = _engines.get(url) or _made(url)
        try:
            upgrade(engine)
        except BaseException:
            if engine not in _users:
                engine.dispose()
            raise
        _engines[url] = engine
        _users[engine] += 1
    return engine


def close_database(engine: sa.Engine) -> None:
    """This one needs it no more; the last one closes its connections."""
    with _opening:
        _users[engine] -= 1
        if _users[engine] > 0:
            return
        del _users[engine]
        _engines.pop(engine.url, None)
    engine.dispose()


def database_url(settings: Settings) -> str:
    """Its URL, for a library that opens it by itself; holds a password."""
    if settings.database_url is None:
        return f"sqlite:///{settings.data_path / 'state.db'}"
    url = sa.make_url(settings.database_url.get_secret_value())
    if url.drivername in ("postgres", "postgresql"):  # as other programs write it
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg":
        url = url.set(query={**_POSTGRES_LIMITS, **url.query})
    return url.render_as_string(hide_password=False)


def upgrade(engine: sa.Engine) -> None:
    """Bring tables to this release's, once, whoever else starts at this moment.

    Tables of a later release are left alone: it only added to these.
    """
    with engine.connect() as connection:
        if not _is_older(connection):
            return
    from alembic import command
    from alembic.config import Config

    with engine.begin() as connection:
        _wait_for_others(connection)
        if not _is_older(connection):
            return
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def tables_of_projects(connection: sa.Connection) -> list[sa.TableClause]:
    """Each table that there is with a column `project_key`, whoever made it, by name."""
    there = sa.inspect(connection)
    return [
        sa.table(name, sa.column("project_key"))
        for name in sorted(there.get_table_names())
        if any(column["name"] == "project_key" for column in there.get_columns(name))
    ]


def _made(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    # Kept open: to open one and set it up takes ten times as long as a row's change.
    engine = sa.create_engine(url, pool_size=5, max_overflow=-1)

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _is_older(connection: sa.Connection) -> bool:
    """Whether the tables are of an earlier release, or not there."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return True
    table = sa.table(VERSION_TABLE, sa.column("version_num"))
    revision = connection.execute(sa.select(table.c.version_num)).scalar()
    *before, _ = revisions()
    return revision is None or revision in before


@cache
def revisions() -> tuple[str, ...]:
    """Those that this release knows, in order: `r0001_first_release.py` is "0001"."""
    names = sorted(path.name for path in (_MIGRATIONS / "versions").glob("r*.py"))
    return tuple(name[1:].partition("_")[0] for name in names)


def _wait_for_others(connection: sa.Connection) -> None:
    """Whoever comes second goes on when the first has committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
    elif connection.dialect.name == "sqlite":
        connection.detach()  # nobody else shall wait so long
        connection.exec_driver_sql("PRAGMA busy_timeout=60000")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_private(path: Path) -> None:
    """Make an empty file that only its owner reads; SQLite gives its WAL the same mode.

    One that is there is never opened: to close it would drop the locks of all this process's
    connections, and another process would take away the WAL under them
    (sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    path.chmod(0o600)
