"""Blind tasks in background work: labelled, and nobody is shown what was found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backends.interface import Background, Labelled, Task
from backends.jobs import turns
from backends.jobs.answering import answer_in_time
from backends.jobs.jobs import Jobs
from backends.jobs.tables import PrelabelOptions, State
from backends.label_studio.blind import Blindfold, is_blind
from backends.label_studio.tasks import TaskFilter
from backends.settings import Settings
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import SmallStudio

OLD, NEW = "micro-aaaaaaaaaa", "micro-cccccccccc"
SHARE = 0.3


@pytest.fixture
def micro() -> BoxLabeller:
    return BoxLabeller(NEW)


@pytest.fixture
def given(make_settings: MakeSettings, small: SmallStudio) -> Settings:
    settings: Settings = make_settings(small, None)
    return settings.model_copy(update={"blind_share": SHARE, "job_threads": 1})


@pytest.fixture
def jobs(given: Settings, micro: BoxLabeller) -> Iterator[Jobs]:
    with jobs_of(given, BoxLabeller(), micro=micro) as made:
        yield made


def idle(jobs: Jobs) -> None:
    until(lambda: not jobs._store.any_open(), tell=lambda: str(jobs.recent_jobs()))


def blind_of(key: str, ids: list[int]) -> list[int]:
    found = [one for one in ids if is_blind(key, one, SHARE)]
    assert 2 < len(found) < len(ids) - 2, "the lot was drawn so that a test shows something"
    return found


def test_a_refresh_stores_nothing_for_blind_tasks_and_takes_away_what_they_had(
    jobs: Jobs, small: SmallStudio
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 30)
    blind = blind_of(key, ids)
    for task_id in ids[:20]:
        small.predict(task_id, OLD)
    small.predict(blind[0], "yolo-0123456789")
    small.predict(blind[0], "mine-0123456789")
    before = small.predictions(key)[blind[1]][0]
    small.annotate(blind[1], before)
    jobs.refresh(project(key), NEW)
    idle(jobs)
    assert small.versions(key) == {one: [] if one in blind else [NEW] for one in ids} | {
        blind[0]: ["mine-0123456789"],  # somebody else's
        blind[1]: [OLD],  # an annotation was made from it
    }
    (job,) = jobs.recent_jobs()
    assert (job.state, job.total) == (State.DONE, len(ids) - 1)
    assert job.blind == job.skipped == len(blind) - 1
    assert jobs.failures(job.id) == []


def test_what_the_model_would_have_said_is_kept_until_the_task_is_labelled(
    jobs: Jobs, small: SmallStudio, micro: BoxLabeller
) -> None:
    key = small.add_project(CONFIG)
    blind = blind_of(key, small.add_tasks(key, ["x"] * 30))
    micro.present_version = OLD
    jobs.refresh(project(key), OLD)
    idle(jobs)
    small.annotate(blind[0])
    micro.present_version = NEW
    jobs.refresh(project(key), NEW)
    idle(jobs)
    # A person may ask for all; what was there while nobody had labelled the task stays.
    job_id = jobs.prelabel_project(project(key), PrelabelOptions(), prelabeller=micro)
    assert ended(jobs, job_id).state is State.DONE
    kept = jobs.unshown(key)
    assert kept.keys() == set(blind)
    assert {one.version for task, one in kept.items() if task != blind[0]} == {NEW}
    assert kept[blind[0]].version == OLD
    assert kept[blind[0]].result[0]["value"]["rectanglelabels"] == ["Cat"]
    assert small.versions(key)[blind[0]] == []


def test_what_is_drawn_for_an_audit_in_the_middle_of_a_turn_gets_none(
    jobs: Jobs, small: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: set[int] = set()
    encode = turns.encode_prediction

    def draw(*arguments: Any, **more: Any) -> Any:
        drawn.update(ids)  # at the first answer, when all were already looked at
        return encode(*arguments, **more)

    monkeypatch.setattr(turns, "encode_prediction", draw)
    monkeypatch.setattr(
        Blindfold, "hidden", lambda _, __, tasks: frozenset({one.id for one in tasks} & drawn)
    )
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 30)
    jobs.refresh(project(key), NEW)
    idle(jobs)
    (job,) = jobs.recent_jobs()
    assert small.versions(key) == {one: [] for one in ids}
    assert job.blind == len(ids)


def test_a_bad_picture_is_told_and_one_with_nothing_to_store_counts_as_blind(
    jobs: Jobs, small: SmallStudio, micro: BoxLabeller
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 30)
    bad, nothing, *_ = blind_of(key, ids)
    small._tasks[bad]["image"], small._tasks[nothing]["image"] = "bad", "nothing"
    options = PrelabelOptions(TaskFilter(only_unlabelled=True))
    jobs.start()
    job = ended(jobs, jobs.prelabel_project(project(key), options, prelabeller=micro))
    assert [task for task, _ in jobs.failures(job.id)] == [bad]
    assert job.blind == len(blind_of(key, ids)) - 1
    assert job.finished == job.total == len(ids)
    assert nothing not in jobs.unshown(key)


class Noted(Background):
    """Background work that is only noted."""

    def __init__(self) -> None:
        self.left: list[int] = []

    def prelabel(self, project, version, task_ids) -> None:
        self.left += task_ids

    def pending(self, project, version, task_ids):
        return ()


def test_an_answer_leaves_blind_tasks_out_and_nothing_for_later() -> None:
    key, noted, labelled = "1.1700000000", Noted(), []
    tasks = [Task(number, {"image": "x"}) for number in range(40)]
    labeller = BoxLabeller()

    def label(some) -> Iterator[Labelled]:
        labelled.extend(task.id for task in some)
        yield from labeller.label(project(key), some)

    answers = answer_in_time(
        label,
        tasks,
        project=project(key),
        version="box-1",
        deadline=float("inf"),
        background=noted,
        later=lambda task: (task.id or 0) >= 20,
        blindfold=Blindfold(SHARE),
    )
    blind = {number for number in range(40) if is_blind(key, number, SHARE)}
    assert {n for n, answer in enumerate(answers) if answer is not None} == set(range(20)) - blind
    assert set(labelled) == set(range(20)) - blind
    assert set(noted.left) == set(range(20, 40)) - blind
