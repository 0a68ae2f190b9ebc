"""The one database, opened by several at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
