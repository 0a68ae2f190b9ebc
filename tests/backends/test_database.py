"""The one database: opened by several at once, brought to this release's tables, shared."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations

import backends.serving.services  # noqa: F401 - all tables
from backends import database
from backends.database import (
    METADATA,
    VERSION_TABLE,
    close_database,
    database_url,
    open_database,
    revisions,
)
from backends.jobs.store import JobStore
from backends.jobs.tables import State
from backends.label_studio.audits import AuditBook
from backends.micro.store import MicroStore
from backends.migrations.versions import r0001_first_release as first_release
from backends.settings import Settings

TOGETHER = 6
DUMP = Path(__file__).parents[1] / "release_0_1_0.sql"
KEY = "99.1795326914"


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").add_database()
    made = Settings(_env_file=None, data_dir=tmp_path, database_url=url)
    yield made
    while (engine := database._engines.get(sa.make_url(database_url(made)))) is not None:
        close_database(engine)


def test_the_last_one_closes_the_connections(settings: Settings) -> None:
    stores = [MicroStore(settings) for _ in range(3)]
    engine = stores[0]._engine
    for one in stores[:2]:
        one.close()
        assert open_database(settings) is engine
        close_database(engine)
        stores[2].note_event([KEY], submissions=1)
    stores[2].close()
    assert not database._users[engine]
    stores[2].note_event([KEY], submissions=1)  # a later use opens new ones
    engine.dispose()
    again = open_database(settings)
    assert again is not engine


def test_tables_are_made_once_by_many_threads(settings: Settings) -> None:
    begin = threading.Barrier(TOGETHER)

    def start(_number: int) -> sa.Engine:
        begin.wait()
        return open_database(settings)

    with ThreadPoolExecutor(TOGETHER) as threads:
        engines = list(threads.map(start, range(TOGETHER)))
    assert all(engine is engines[0] for engine in engines)
    assert schema(engines[0]) == (set(METADATA.tables) | {VERSION_TABLE}, [revisions()[-1]])


def test_tables_are_made_once_by_many_processes(settings: Settings) -> None:
    url = sa.make_url(database_url(settings)).render_as_string(hide_password=False)
    code = (
        "import sys; from backends.settings import Settings; from backends.database import *;"
        f"s = Settings(_env_file=None, data_dir={str(settings.data_dir)!r}, database_url={url!r});"
        "sys.stdin.read(1); open_database(s)"
    )
    starting = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) for _ in range(3)
    ]
    for one in starting:
        assert one.stdin
        one.stdin.write(b".")
        one.stdin.close()
    assert [one.wait(60) for one in starting] == [0, 0, 0]
    assert schema(open_database(settings))[1] == [revisions()[-1]]


def test_another_process_that_ends_takes_nothing_away_from_this_one(tmp_path: Path) -> None:
    """SQLite's locks are the process's: to open and close the file by hand would drop them all."""
    settings = Settings(_env_file=None, data_dir=tmp_path)
    first = MicroStore(settings)
    first.note_event([KEY], submissions=1)  # its connection stays open
    others = [MicroStore(settings), JobStore(settings)]
    log = (tmp_path / "state.db-wal").stat().st_ino
    code = (
        "from backends.settings import Settings; from backends.micro.store import MicroStore;"
        f"s = MicroStore(Settings(_env_file=None, data_dir={str(tmp_path)!r}));"
        f"s.note_event([{KEY!r}], submissions=1); s.close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "state.db-wal").stat().st_ino == log
    first.note_event([KEY], submissions=1)
    with first._reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    for one in (first, *others):
        one.close()


def test_the_steps_lead_to_the_tables_that_the_program_uses(settings: Settings) -> None:
    with open_database(settings).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []


def test_a_database_of_the_release_before_goes_on(settings: Settings) -> None:
    rows = restore_first_release(settings)
    for _ in range(2):  # the second time there is nothing to do
        store, jobs, audits = MicroStore(settings), JobStore(settings), AuditBook(settings)
    assert schema(jobs.engine)[1] == [revisions()[-1]]
    with jobs.engine.connect() as connection:
        kept = {name: count(connection, METADATA.tables[name]) for name in rows}
    assert kept == rows
    assert rows["micro_labelled"] == 50
    assert len(store.labelled(KEY)) == 50
    (current,) = store.current(KEY).values()
    assert current.id in [one.id for one in store.versions(KEY)]
    assert [one.state for one in jobs.recent(10)] == 3 * [State.DONE]
    assert not audits.blind(KEY)


def test_processes_of_the_release_before_can_go_on_beside_this_one(settings: Settings) -> None:
    """Steps only add: what the release before reads and writes is there, and needs no more."""
    restore_first_release(settings)
    engine = sa.create_engine(database_url(settings))
    before = columns(engine)
    engine.dispose()
    now = columns(open_database(settings))
    assert before
    for table, known in before.items():
        for name, column in known.items():
            there = now[table][name]
            assert (str(there["type"]), there["nullable"]) == (
                str(column["type"]),
                column["nullable"],
            ), f"{table}.{name}"
        for name in now[table].keys() - known.keys():
            added = now[table][name]
            assert added["nullable"] or added["default"] is not None, f"{table}.{name}"


def test_work_that_the_release_before_left_open_goes_on(settings: Settings) -> None:
    restore_first_release(settings)
    engine = sa.create_engine(database_url(settings))
    with engine.begin() as connection:
        columns = "id, project_key, version, config_digest, state, note, listed_to, listed, total"
        values = "'open', :key, 'yolo-1', 'x', 'queued', '', 0, 1, 1"
        connection.execute(
            sa.text(
                f"INSERT INTO jobs ({columns}, stored, skipped, failed, worked_s, created_at, "
                f"updated_at) VALUES ({values}, 0, 0, 0, 0, 1, 1)"
            ),
            {"key": KEY},
        )
        connection.execute(
            sa.text(
                "INSERT INTO job_turns (id, job_id, kind, state, attempt, starts, delays, "
                "not_before) VALUES ('turn', 'open', 'label', 'sent', 2, 0, 0, 0)"
            )
        )
    engine.dispose()
    jobs = JobStore(settings)
    assert jobs.any_open()
    turn = jobs.turns.begin("turn", 2)
    assert turn is not None
    assert turn.job.state is State.RUNNING


def columns(engine: sa.Engine) -> dict[str, dict[str, Any]]:
    """Each column of each of our tables."""
    there = sa.inspect(engine)
    names = set(there.get_table_names()) & METADATA.tables.keys()
    return {name: {one["name"]: one for one in there.get_columns(name)} for name in names}


def test_tables_of_a_later_release_are_left_alone(settings: Settings) -> None:
    engine = open_database(settings)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        connection.execute(sa.text("ALTER TABLE projects ADD COLUMN later INTEGER"))
    assert open_database(settings) is engine
    assert schema(engine)[1] == ["9999"]
    MicroStore(settings).note_event([KEY], submissions=1)


def test_a_postgres_url_is_taken_as_others_write_it(tmp_path: Path) -> None:
    urls = [
        database_url(Settings(_env_file=None, data_dir=tmp_path, database_url=f"{name}://u:p@h/d"))
        for name in ("postgres", "postgresql", "postgresql+psycopg")
    ]
    assert len(set(urls)) == 1
    assert urls[0].startswith("postgresql+psycopg://u:p@h/d?")
    limited = Settings(_env_file=None, database_url="postgresql://h/d?connect_timeout=60")
    assert "connect_timeout=60" in database_url(limited)


def schema(engine: sa.Engine) -> tuple[set[str], list[str]]:
    """Names of the tables, and the revisions that are noted."""
    with engine.connect() as connection:
        noted = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars()
        return set(sa.inspect(connection).get_table_names()), list(noted)


def count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def restore_first_release(settings: Settings) -> dict[str, int]:
    """A database as release 0.1.0 left it, after a real run; its rows, by table."""
    old = sqlite3.connect(":memory:")
    old.executescript(DUMP.read_text())
    tables = sa.MetaData()
    source = sa.create_engine("sqlite://", creator=lambda: old, poolclass=sa.pool.StaticPool)
    engine = sa.create_engine(database_url(settings))
    rows: dict[str, int] = {}
    with source.connect() as reading, engine.begin() as writing:
        tables.reflect(reading)
        with Operations.context(MigrationContext.configure(writing)):
            first_release.upgrade()
        for table in tables.tables.values():
            values = [dict(row._mapping) for row in reading.execute(sa.select(table))]
            rows[table.name] = len(values)
            if values:
                writing.execute(sa.insert(table), values)
    engine.dispose()
    old.close()
    return rows
