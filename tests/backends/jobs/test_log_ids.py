"""What is logged of background work says of which job, turn and project it is."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from backends import logs
from backends.errors import TrainingFailed
from backends.interface import Task
from backends.jobs.jobs import Jobs
from backends.jobs.tables import PrelabelOptions
from backends.micro.training import Process
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller
from tests.backends.jobs.conftest import ended, project
from tests.backends.jobs.studios import SmallStudio

log = logging.getLogger("backends.test")


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, str]]]]:
    told: list[tuple[str, dict[str, str]]] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append((record.getMessage(), dict(record.ids)))  # type: ignore[attr-defined]

    ear = Ear()
    ear.addFilter(logs.AddIds())
    logging.getLogger().addHandler(ear)
    yield told
    logging.getLogger().removeHandler(ear)


def test_of_a_turn(
    quick: Jobs,
    small: SmallStudio,
    labeller: BoxLabeller,
    heard: list[tuple[str, dict[str, str]]],
) -> None:
    turns: set[str] = set()

    def before(task: Task) -> None:
        with quick._store.engine.connect() as connection:
            turns.update(connection.execute(sa.text("SELECT id FROM job_turns")).scalars())
        log.warning("labels task %s", task.id)

    labeller.before = before
    key = small.add_project(CONFIG)
    small.add_tasks(key, ["x"] * 3)
    job_id = quick.prelabel_project(project(key), PrelabelOptions())
    quick.start()
    ended(quick, job_id)
    of_tasks = [ids for message, ids in heard if message.startswith("labels task")]
    assert len(of_tasks) == 3
    for ids in of_tasks:
        assert (ids["job_id"], ids["project"]) == (job_id, key)
        assert ids["turn_id"] in turns
    assert logs.ids() == {}


def test_of_a_process_that_trains(tmp_path: Path, heard: list[tuple[str, dict[str, str]]]) -> None:
    """The module is none, so that it ends at once, with a line on its standard error."""
    with (
        logs.about(job_id="j1", turn_id="t1"),
        Process("backends.no_such_module", tmp_path, most_s=60) as process,
    ):
        assert list(process.messages(lambda: None)) == []
        with pytest.raises(TrainingFailed):
            process.check()
    (found,) = [one for one in heard if "a training ended with" in one[0]]
    assert "No module named" in found[0]
    assert Path(sys.executable).name in found[0]
    assert found[1] == {"job_id": "j1", "turn_id": "t1"}
