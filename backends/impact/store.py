"""The last comparison of each project, for the status page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from backends.database import METADATA, Store, insert
from backends.impact.nouns import Impact
from backends.settings import Settings
from micro_models.impact import Shift, SpeedUp, Standing

_IMPACTS = sa.Table(
    "impacts",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)


class ImpactStore(Store):
    """Reads and writes comparisons."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, of="comparisons")

    def put(self, impact: Impact) -> None:
        """Keep a comparison in place of the project's last one."""
        values = {"made_at": impact.made_at, "content": json.dumps(as_json(impact))}
        with self._changing() as connection:
            row = insert(connection, _IMPACTS).values(project_key=impact.project_key, **values)
            connection.execute(
                row.on_conflict_do_update(index_elements=["project_key"], set_=values)
            )

    def get(self, project_key: str) -> Impact | None:
        """The last one of a project; None without."""
        query = sa.select(_IMPACTS.c.content).where(_IMPACTS.c.project_key == project_key)
        with self._reading() as connection:
            content: str | None = connection.execute(query).scalar()
        return None if content is None else read_json(json.loads(content))

    def forget(self, project_key: str) -> bool:
        """Forget that of a project; False if there was none."""
        query = sa.delete(_IMPACTS).where(_IMPACTS.c.project_key == project_key)
        with self._changing() as connection:
            return bool(connection.execute(query).rowcount)


def as_json(impact: Impact) -> dict[str, Any]:
    """Its figures for JSON; what nothing bounds is null."""
    found: dict[str, Any] = _plain(asdict(impact))
    people = found.pop("by_annotator")
    return found | {"by_annotator": {str(person): one for person, one in people.items()}}


def read_json(value: Mapping[str, Any]) -> Impact:
    """What `as_json` wrote."""
    people = value["by_annotator"].items()
    nouns: dict[str, Any] = {
        "since": _or_inf(value["since"]),
        "speed": _speed(value["speed"]),
        "by_annotator": {int(person): _speed(one) for person, one in people},
        "shifts": tuple(Shift(**one) for one in value["shifts"]),
        "standing": {kind: Standing(**one) for kind, one in value["standing"].items()},
        "notes": tuple(value["notes"]),
    }
    return Impact(**{**value, **nouns})


def _speed(value: Mapping[str, Any]) -> SpeedUp:
    return SpeedUp(**{**value, "high": _or_inf(value["high"])})


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
