"""Consensus in the database: the last report of each project, and which tasks we annotated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from backends.consensus.nouns import Rated, Report
from backends.database import METADATA, Store, insert
from backends.settings import Settings

_REPORTS = sa.Table(
    "consensus_reports",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("report", sa.Text, nullable=False),
)
_ANNOTATED = sa.Table(
    "consensus_annotated",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
)
_AT_ONCE = 500


class ConsensusStore(Store):
    """Reads and writes reports."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, of="consensus")

    def put(self, report: Report) -> None:
        """Keep a report in place of the project's last one."""
        row = {"project_key": report.project_key, "report": json.dumps(asdict(report))}
        with self._changing() as connection:
            put = insert(connection, _REPORTS).values(**row)
            new = {"report": put.excluded["report"]}
            connection.execute(put.on_conflict_do_update(index_elements=["project_key"], set_=new))

    def report(self, project_key: str) -> Report | None:
        """The last report of a project."""
        query = sa.select(_REPORTS.c.report).where(_REPORTS.c.project_key == project_key)
        with self._reading() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else _report(json.loads(found))

    def drop(self, project_key: str) -> None:
        """Forget a project's report."""
        with self._changing() as connection:
            connection.execute(sa.delete(_REPORTS).where(_REPORTS.c.project_key == project_key))

    def note_annotated(self, project_key: str, task_ids: Sequence[int]) -> None:
        """These tasks have, or are about to get, an annotation of ours."""
        rows = [{"project_key": project_key, "task_id": task_id} for task_id in task_ids]
        with self._changing() as connection:
            put = insert(connection, _ANNOTATED).values(rows)
            connection.execute(put.on_conflict_do_nothing())

    def annotated(self, project_key: str) -> list[int]:
        """The tasks with an annotation of ours, and some that may have one; by id."""
        query = sa.select(_ANNOTATED.c.task_id).where(_ANNOTATED.c.project_key == project_key)
        with self._reading() as connection:
            return sorted(connection.execute(query).scalars())

    def drop_annotated(self, project_key: str, task_ids: Sequence[int]) -> None:
        """These tasks have none any more."""
        with self._changing() as connection:
            for start in range(0, len(task_ids), _AT_ONCE):
                some = list(task_ids[start : start + _AT_ONCE])
                connection.execute(
                    sa.delete(_ANNOTATED).where(
                        _ANNOTATED.c.project_key == project_key, _ANNOTATED.c.task_id.in_(some)
                    )
                )


def _report(stored: dict[str, Any]) -> Report:
    people = tuple(Rated(**one) for one in stored["people"])
    worst = tuple((int(task), float(agreement)) for task, agreement in stored["worst"])
    problems = {int(task): str(why) for task, why in stored["problems"].items()}
    return Report(**{**stored, "people": people, "worst": worst, "problems": problems})
