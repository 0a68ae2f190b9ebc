"""What models say of blind tasks: kept here, and not in Label Studio."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from backends.database import insert
from backends.jobs.tables import UNSHOWN

Json = dict[str, Any]


@dataclass(frozen=True)
class Unshown:
    """A prediction as it would have been stored: its results in Label Studio's JSON."""

    version: str
    result: tuple[Json, ...]


class UnshownStore:
    """Reads and writes of predictions that nobody is shown, one a task. Safe among processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def put(self, project_key: str, items: Mapping[int, Json], *, replace: bool) -> None:
        """Keep predictions by task id; without `replace` what is kept already stays."""
        if not items:
            return
        with self._engine.begin() as connection:
            for task_id, item in items.items():
                content = {"version": item.get("model_version"), "result": item.get("result")}
                values = {"content": zlib.compress(json.dumps(content).encode(), 1)}
                row = insert(connection, UNSHOWN).values(
                    project_key=project_key, task_id=task_id, **values
                )
                keys = ["project_key", "task_id"]
                connection.execute(
                    row.on_conflict_do_update(index_elements=keys, set_=values)
                    if replace
                    else row.on_conflict_do_nothing()
                )

    def of(self, project_key: str) -> dict[int, Unshown]:
        """All of a project, by task id."""
        query = sa.select(UNSHOWN.c.task_id, UNSHOWN.c.content).where(
            UNSHOWN.c.project_key == project_key
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return {row.task_id: _read(row.content) for row in rows}


def _read(content: bytes) -> Unshown:
    value = json.loads(zlib.decompress(content))
    return Unshown(value["version"] or "", tuple(value["result"] or ()))
