"""What is kept of accepting, as tables."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from backends.autoaccept.nouns import Check, Entry, Fate, Issued
from backends.database import METADATA
from micro_models.certificates import Certificate
from micro_models.region_json import from_json, to_json

STANDINGS = sa.Table(
    "autoaccept_standings",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("audits_to", sa.Integer, nullable=False, default=0),
    sa.Column("suspended", sa.Text, nullable=False, default=""),
    sa.Column("resumed_at", sa.Float, nullable=False, default=0.0),
    # Who works on the project now, and until when that counts unless it is renewed.
    sa.Column("runner", sa.String(64), nullable=False, default=""),
    sa.Column("runner_until", sa.Float, nullable=False, default=0.0),
    # What the page shows of the last run, JSON.
    sa.Column("last", sa.Text, nullable=False, default="{}"),
)
CERTIFICATES = sa.Table(
    "autoaccept_certificates",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("project_key", sa.String(64), nullable=False, index=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("max_error", sa.Float, nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("threshold", sa.Float, nullable=False),
    sa.Column("audited", sa.Integer, nullable=False),
    sa.Column("above", sa.Integer, nullable=False),
    sa.Column("errors", sa.Integer, nullable=False),
    sa.Column("upper", sa.Float, nullable=False),
    sa.Column("accepted", sa.Integer, nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("min_iou", sa.Float, nullable=False, server_default="0.5"),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("withdrawn_at", sa.Float),
    # Certificates of classes by name, JSON.
    sa.Column("groups", sa.Text, nullable=False, server_default="{}"),
)
_ISSUED = ("id", "project_key", "version", "min_iou", "made_at", "withdrawn_at")
_MADE = tuple(one.name for one in CERTIFICATES.columns if one.name not in {*_ISSUED, "groups"})
# One row a task and certificate, written before the annotation is: no task is accepted twice.
LOG = sa.Table(
    "autoaccept_log",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
    sa.Column("certificate", sa.String(64), primary_key=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("fate", sa.String(32), nullable=False),
    sa.Column("annotation_id", sa.Integer),
    sa.Column("stored_at", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
# Every model, with its terms and verdicts, that the present audits were tried on.
LOOKS = sa.Table(
    "autoaccept_looks",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
)
CHECKS = sa.Table(
    "autoaccept_checks",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
    sa.Column("certificate", sa.String(64), nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("drawn_at", sa.Float, nullable=False),
    sa.Column("wrong", sa.Integer),
    sa.Column("judged_at", sa.Float),
)


def issued_values(one: Issued) -> dict[str, Any]:
    """A noun as a row of `CERTIFICATES`."""
    made = asdict(one.certificate)
    values = {name: getattr(one, name) for name in _ISSUED} | {name: made[name] for name in _MADE}
    return values | {"groups": json.dumps(made["groups"])}


def issued(row: sa.Row[Any]) -> Issued:
    """The way back."""
    groups = {name: Certificate(**one) for name, one in json.loads(row.groups).items()}
    made = {name: getattr(row, name) for name in _MADE}
    certificate = Certificate(**made, missing=0, groups=groups)
    return Issued(**{name: getattr(row, name) for name in _ISSUED}, certificate=certificate)


def entry_values(key: str, one: Entry) -> dict[str, Any]:
    """A noun as a row of `LOG`."""
    names = [column.name for column in LOG.columns if column.name != "project_key"]
    return {"project_key": key} | {name: getattr(one, name) for name in names}


def entry(row: sa.Row[Any]) -> Entry:
    """The way back."""
    names = [column.name for column in LOG.columns if column.name != "project_key"]
    return Entry(**{name: getattr(row, name) for name in names} | {"fate": Fate(row.fate)})


def check_values(key: str, one: Check) -> dict[str, Any]:
    """A noun as a row of `CHECKS`."""
    content = {"regions": [to_json(region) for region in one.regions], "size_px": one.size_px}
    return {
        "project_key": key,
        "task_id": one.task_id,
        "certificate": one.certificate,
        "version": one.version,
        "score": one.score,
        "content": zlib.compress(json.dumps(content).encode(), 1),
        "drawn_at": one.drawn_at,
        "wrong": None if one.wrong is None else int(one.wrong),
        "judged_at": one.judged_at,
    }


def check(row: sa.Row[Any]) -> Check:
    """The way back."""
    content = json.loads(zlib.decompress(row.content))
    width, height = content["size_px"]
    return Check(
        task_id=row.task_id,
        certificate=row.certificate,
        version=row.version,
        score=row.score,
        regions=tuple(from_json(one) for one in content["regions"]),
        size_px=(width, height),
        drawn_at=row.drawn_at,
        wrong=None if row.wrong is None else bool(row.wrong),
        judged_at=row.judged_at,
    )
