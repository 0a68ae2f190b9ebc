"""The one database, opened by several at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from backends.database import make_tables, open_database
from backends.settings import Settings

TOGETHER = 6


def test_tables_are_made_by_many_at_once(tmp_path: Path) -> None:
    metadata = sa.MetaData()
    for number in range(5):
        sa.Table(f"table_{number}", metadata, sa.Column("id", sa.Integer, primary_key=True))
    for again in range(4):
        settings = Settings(data_dir=tmp_path / str(again))
        engines = [open_database(settings) for _ in range(TOGETHER)]
        begin = threading.Barrier(TOGETHER)

        def make(engine: sa.Engine, begin: threading.Barrier = begin) -> list[str]:
            begin.wait()
            make_tables(engine, metadata)
            return sa.inspect(engine).get_table_names()

        with ThreadPoolExecutor(TOGETHER) as threads:
            assert all(len(names) == 5 for names in threads.map(make, engines))


def test_columns_of_a_later_release_are_added_by_many_at_once(tmp_path: Path) -> None:
    before, after = sa.MetaData(), sa.MetaData()

    def old() -> list[sa.Column[Any]]:
        return [sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text)]

    sa.Table("things", before, *old())
    things = sa.Table(
        "things",
        after,
        *old(),
        sa.Column("kind", sa.String(16), nullable=False, server_default="plain"),
        sa.Column("place", sa.Integer, nullable=False, server_default="0"),
    )
    for again in range(4):
        settings = Settings(data_dir=tmp_path / str(again))
        engines = [open_database(settings) for _ in range(TOGETHER)]
        make_tables(engines[0], before)
        with engines[0].begin() as connection:
            connection.execute(sa.text("INSERT INTO things (name) VALUES ('old')"))
        begin = threading.Barrier(TOGETHER)

        def make(engine: sa.Engine, begin: threading.Barrier = begin) -> None:
            begin.wait()
            make_tables(engine, after)

        with ThreadPoolExecutor(TOGETHER) as threads:
            list(threads.map(make, engines))
        with engines[0].begin() as connection:
            # A process of the earlier release goes on writing as it did.
            connection.execute(sa.text("INSERT INTO things (name) VALUES ('new')"))
            rows = connection.execute(sa.select(things).order_by(things.c.id)).all()
        assert [tuple(row) for row in rows] == [(1, "old", "plain", 0), (2, "new", "plain", 0)]
