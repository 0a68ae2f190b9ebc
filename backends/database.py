"""The one database: SQLite in the data folder, or what `LABELPILOT_DATABASE_URL` names."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

from backends.errors import StateError
from backends.settings import Settings


class Store:
    """Base of what keeps its state in tables of its own. Safe among threads and processes.

    `of`: what is kept, for messages. Errors of all methods, those of heirs too: `StateError` when
    the database cannot be used.
    """

    def __init__(self, settings: Settings, tables: sa.MetaData, *, of: str) -> None:
        self._engine, self._of = open_database(settings), of
        with self._told():
            make_tables(self._engine, tables)

    def close(self) -> None:
        """Close connections to the database; a later use opens new ones."""
        self._engine.dispose()

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
            raise StateError(
                f"the database of {self._of} failed ({type(error).__name__})",
                advice="see whether LABELPILOT_DATABASE_URL can be reached, or the data folder "
                "written to",
            ) from error


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
    """An engine of its own for whoever asks; tables are made by whoever uses them."""
    if settings.database_url is not None:
        return sa.create_engine(settings.database_url.get_secret_value(), pool_pre_ping=True)
    path = settings.data_path / "state.db"
    settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
    _make_private(path)
    # One connection per use: SQLite's are cheap and must not wander between threads.
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=NullPool)

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def database_url(settings: Settings) -> str:
    """Its URL, for a library that opens it by itself; holds a password."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{settings.data_path / 'state.db'}"


def make_tables(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Make the tables and columns that are not there, also while another process makes them.

    A column that came after its table's first release is nullable or has a server's default:
    processes of that release may go on beside this one.
    """
    _create(engine, metadata)
    for table in metadata.tables.values():
        there = _columns(engine, table)
        for column in table.columns:
            if column.name not in there:
                _add_column(engine, column)


def tables_of_projects(connection: sa.Connection) -> list[sa.TableClause]:
    """Each table that there is with a column `project_key`, whoever made it, by name."""
    there = sa.inspect(connection)
    return [
        sa.table(name, sa.column("project_key"))
        for name in sorted(there.get_table_names())
        if any(column["name"] == "project_key" for column in there.get_columns(name))
    ]


def _create(engine: sa.Engine, metadata: sa.MetaData) -> None:
    for _ in metadata.tables:
        try:
            return metadata.create_all(engine)
        except sa.exc.DBAPIError:  # the other was faster with one; so it may be with the next
            time.sleep(0.05)
    return metadata.create_all(engine)


def _add_column(engine: sa.Engine, column: sa.Column[Any]) -> None:
    what = sa.schema.CreateColumn(column).compile(dialect=engine.dialect)
    try:
        with engine.begin() as connection:
            connection.execute(sa.text(f'ALTER TABLE "{column.table.name}" ADD COLUMN {what}'))
    except sa.exc.DBAPIError:  # the other was faster
        if column.name not in _columns(engine, column.table):
            raise


def _columns(engine: sa.Engine, table: sa.Table) -> set[str]:
    return {column["name"] for column in sa.inspect(engine).get_columns(table.name)}


def _make_private(path: Path) -> None:
    """Make an empty file that only its owner reads; SQLite gives its WAL the same mode."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)
