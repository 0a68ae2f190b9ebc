"""What is kept of training on submit: where projects stand, their labels, their models."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from backends.database import METADATA
from backends.interface import LabelledTask
from backends.micro.nouns import Acceptance, ModelVersion, Shown, Standing, Step
from micro_models.region_json import from_json, to_json
from micro_models.regions import Region, WholeImage

# `changes` only grows, and so do the two counts that were taken of it when somebody asked for a
# training or tasks came: both are news for as long as they are greater than `seen`.
STANDINGS = sa.Table(
    "micro_standings",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("changes", sa.Integer, nullable=False, default=0),
    sa.Column("seen", sa.Integer, nullable=False, default=0),
    sa.Column("since", sa.Integer, nullable=False, default=0),
    sa.Column("touched_at", sa.Float, nullable=False, default=0.0),
    sa.Column("asked_in", sa.Integer, nullable=False, default=0),
    sa.Column("tasks_came_in", sa.Integer, nullable=False, default=0),
    sa.Column("labels", sa.Integer, nullable=False, default=0),
    # What was changed in Label Studio until then, by its clock, is kept here.
    sa.Column("synced_to", sa.Text, nullable=False, default=""),
    sa.Column("announced", sa.Text, nullable=False, default=""),
    # The models that this version stands for: (scope, id) in order, as JSON.
    sa.Column("announced_of", sa.Text, nullable=False, default="[]"),
    sa.Column("note", sa.Text, nullable=False, default=""),
    sa.Column("failure", sa.Text, nullable=False, default=""),
    sa.Column("step", sa.Text),
    # What had changed when the last training began.
    sa.Column("begun", sa.Integer, nullable=False, default=0, server_default="0"),
    # Until then one process refreshes predictions, and others leave it to that one.
    sa.Column("announcing_until", sa.Float, nullable=False, default=0.0, server_default="0"),
)
LABELLED = sa.Table(
    "micro_labelled",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
    sa.Column("updated_at", sa.String(64), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("predicted", sa.Integer, nullable=False),
    sa.Column("unchanged", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    # 1: all that it has labelpilot stored itself, and nobody labelled it.
    sa.Column("own_only", sa.Integer, nullable=False, server_default="0"),
)
VERSIONS = sa.Table(
    "micro_versions",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("scope", sa.String(500), primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("labels", sa.Integer, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("quality", sa.Float),
    sa.Column("baseline", sa.Float),
    sa.Column("f1", sa.Float),
    sa.Column("rival", sa.Float),
    sa.Column("parent", sa.Text),
    sa.Column("promoted_at", sa.Float),
    sa.Column("is_on_disk", sa.Integer, nullable=False),
    sa.Column("report", sa.Text, nullable=False),
    sa.Column("lost", sa.Float),
    sa.Column("archive", sa.String(64)),
    sa.Column("archive_bytes", sa.BigInteger, nullable=False, server_default="0"),
)
# Which version answers: one row, so that changing it is one step.
CURRENT = sa.Table(
    "micro_current",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("scope", sa.String(500), primary_key=True),
    sa.Column("id", sa.String(64), nullable=False),
)
SHOWN = sa.Table(
    "micro_shown",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)


def standing(row: sa.Row[Any]) -> Standing:
    """A row of `STANDINGS` as a noun."""
    return Standing(
        project_key=row.project_key,
        changes=row.changes,
        seen=row.seen,
        since=row.since,
        touched_at=row.touched_at,
        asked=row.asked_in > row.seen,
        tasks_came=row.tasks_came_in > row.seen,
        labels=row.labels,
        begun=row.begun,
        announced=row.announced,
        note=row.note,
        failure=row.failure,
        step=Step(**json.loads(row.step)) if row.step else None,
    )


def version_values(version: ModelVersion) -> dict[str, Any]:
    """A noun as a row of `VERSIONS`; `is_current` is in `CURRENT`."""
    names = [column.name for column in VERSIONS.columns]
    values = {name: getattr(version, name) for name in names}
    return values | {
        "is_on_disk": int(version.is_on_disk),
        "report": json.dumps(dict(version.report)),
    }


def version(row: sa.Row[Any]) -> ModelVersion:
    """A row of `VERSIONS`, with its `is_current`, as a noun."""
    values = {column.name: getattr(row, column.name) for column in VERSIONS.columns}
    values |= {"is_on_disk": bool(row.is_on_disk), "report": json.loads(row.report)}
    values["lost"] = row.lost or 0.0
    return ModelVersion(**values, is_current=bool(row.is_current))


def labelled_values(key: str, task: LabelledTask, accepted: Acceptance | None) -> dict[str, Any]:
    """A noun as a row of `LABELLED`, compressed: brush masks are lists of numbers, and large."""
    content = {"data": dict(task.data), "annotations": list(task.annotations)}
    content |= {"own": list(task.own)} if task.own else {}
    return {
        "project_key": key,
        "task_id": task.id,
        "updated_at": task.updated_at,
        "content": _packed(content),
        "own_only": int(bool(task.own) and not task.annotations),
        **asdict(accepted or Acceptance()),
    }


def labelled_task(row: sa.Row[Any]) -> LabelledTask:
    """A row of `LABELLED` as a noun."""
    content = _unpacked(row.content)
    annotations, own = tuple(content["annotations"]), tuple(content.get("own", ()))
    return LabelledTask(row.task_id, row.updated_at, content["data"], annotations, own)


def pack_shown(shown: Sequence[Shown]) -> bytes:
    """All shown tasks of a project."""
    return _packed(
        [
            {
                "task_id": one.task_id,
                "score": one.score,
                "regions": [to_json(region) for region in one.regions],
            }
            for one in shown
        ]
    )


def unpack_shown(content: bytes) -> list[Shown]:
    """What `pack_shown` wrote."""
    return [
        Shown(one["task_id"], one["score"], tuple(from_json(item) for item in one["regions"]))
        for one in _unpacked(content)
    ]


def unpack_captions(content: bytes) -> list[Shown]:
    """The same without the shapes, of which masks are slow: every region is of the whole image."""
    return [
        Shown(
            one["task_id"],
            one["score"],
            tuple(Region(item["label"], WholeImage(), item["score"]) for item in one["regions"]),
        )
        for one in _unpacked(content)
    ]


def _packed(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def _unpacked(content: bytes) -> Any:
    return json.loads(zlib.decompress(content))
