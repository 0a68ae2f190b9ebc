"""Rows of tables as lines of JSON, which every database reads alike."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import IO, Any

import sqlalchemy as sa

from backends.database import METADATA
from backends.jobs.tables import TASKS, TURNS, TurnState

# Importing it imports whatever has a table.
from backends.serving import services as _services  # noqa: F401

_AT_ONCE = 500
# Signs of life of processes that are gone by then, and what somebody points at right now.
LEFT_OUT = frozenset({"job_workers", "sam_prompts"})
# Where a secret stands, or what only holds for the database or the store that it was made with.
_EMPTIED: dict[str, dict[str, Any]] = {
    "projects": {"access_token": None},
    "micro_versions": {"archive": None, "archive_bytes": 0},
}
# DBOS is not in a backup. Nobody has begun what it knows nothing of.
_UNSENT = {"state": TurnState.NEW, "owner": None, "starts": 0, "delays": 0, "not_before": 0.0}


def tables() -> list[sa.Table]:
    """Those that a backup has, by name."""
    found = (table for table in METADATA.tables.values() if table.name not in LEFT_OUT)
    return sorted(found, key=lambda table: table.name)


def lines(connection: sa.Connection, table: sa.Table) -> Iterator[bytes]:
    """The rows of a table, a line each; none of a secret."""
    names, emptied = table.c.keys(), _EMPTIED.get(table.name, {})
    found = connection.execution_options(yield_per=_AT_ONCE).execute(sa.select(table))
    for row in found:
        values = {**dict(zip(names, row, strict=True)), **emptied}
        told = {name: _told(value) for name, value in values.items()}
        yield json.dumps(told, separators=(",", ":")).encode() + b"\n"


def read(file: IO[bytes], table: sa.Table) -> Iterator[dict[str, Any]]:
    """What `lines` wrote. Errors: ValueError for what is no row of the table."""
    names = set(table.c.keys())
    for line in file:
        told = json.loads(line)
        if not isinstance(told, dict) or not told.keys() <= names:
            raise ValueError("no row of this table")
        yield {name: _value(value) for name, value in told.items()}


def insert(connection: sa.Connection, table: sa.Table, rows: Iterable[dict[str, Any]]) -> int:
    """Add rows; columns that they lack take their defaults. How many. Errors: the database's."""
    some, count = [], 0
    for row in rows:
        some.append(row)
        if len(some) == _AT_ONCE:
            connection.execute(sa.insert(table), some)
            count += len(some)
            some = []
    if some:
        connection.execute(sa.insert(table), some)
    return count + len(some)


class Anew:
    """Makes unfinished turns wait for a worker again, each under a name that DBOS never heard."""

    def __init__(self) -> None:
        self._namespace = uuid.uuid4()

    def row(self, table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
        """The row as it is to be restored."""
        if table.name == TURNS.name:
            row = {**row, "id": self._name(row["id"])}
            return row if row["state"] == TurnState.DONE else {**row, **_UNSENT}
        if table.name == TASKS.name:
            return {**row, "turn_id": self._name(row["turn_id"])}
        return row

    def _name(self, turn_id: str) -> str:
        return uuid.uuid5(self._namespace, turn_id).hex


def _told(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _value(told: Any) -> Any:
    return base64.b64decode(told["base64"], validate=True) if isinstance(told, dict) else told
