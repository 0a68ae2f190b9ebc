"""Trainings: one at a time for each project, done to the end whatever ends processes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backends.errors import (
    LabelpilotError,
    LabelStudioError,
    LabelStudioRefused,
    MediaError,
    StateError,
)
from backends.jobs import turns
from backends.jobs.jobs import Jobs
from backends.jobs.store import JobStore
from backends.jobs.tables import JobKind, PrelabelOptions, State
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, Diarist, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import SmallStudio
from tests.backends.jobs.workers import worker_process

KEY = "7.1700000000"


@dataclass
class Learner:
    """Does `act(go_on, tell)`; `learned` are the projects, `stopped` what `go_on` raised."""

    act: Callable[[Callable[[], None], Callable[[str], None]], None] = lambda go_on, tell: None
    learned: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    hiccups: int = 0  # so often `give_up` finds the database away

    def give_up(self, project_key: str, reason: str) -> None:
        if self.hiccups:
            self.hiccups -= 1
            raise StateError("the database failed")
        self.given_up.append(reason)

    def learn(
        self, project_key: str, *, go_on: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        self.learned.append(project_key)

        def noted() -> None:
            try:
                go_on()
            except Exception as error:
                self.stopped.append(type(error).__name__)
                raise

        self.act(noted, tell)


def for_ever(go_on: Callable[[], None], tell: Callable[[str], None]) -> None:
    while True:
        go_on()
        time.sleep(0.02)


@pytest.fixture
def learner(quick: Jobs) -> Learner:
    quick.learner = made = Learner()
    return made


def over(jobs: Jobs, key: str = KEY) -> None:
    until(lambda: not jobs.is_training(key))


def test_a_training_is_done_once_for_all_who_ask_while_it_waits_or_goes_on(
    quick: Jobs, learner: Learner
) -> None:
    going, enough = threading.Event(), threading.Event()

    def act(go_on: Callable[[], None], tell: Callable[[str], None]) -> None:
        tell("step 3 of 9")
        going.set()
        enough.wait(30)

    learner.act = act
    assert (quick.is_training(KEY), quick.training(KEY)) == (False, None)
    for _ in range(3):
        quick.train(KEY)
    assert going.wait(30)
    quick.train(KEY)
    job = quick.training(KEY)
    assert job is not None
    assert (job.kind, job.state, job.note) == (JobKind.TRAIN, State.RUNNING, "step 3 of 9")
    assert (job.total, job.left_s, job.project_id) == (0, None, 7)
    assert quick.is_training(KEY)
    assert not quick.is_training("8.1700000000")
    enough.set()
    over(quick)
    assert learner.learned == [KEY]
    quick.train(KEY)
    over(quick)
    assert learner.learned == [KEY, KEY]
    assert [one.state for one in quick.recent_trainings()] == ["done", "done"]
    assert quick.recent_jobs() == []


def test_many_who_ask_at_once_make_one_training(
    make_settings: MakeSettings, small: SmallStudio, database_url: str | None
) -> None:
    settings = make_settings(small, database_url)
    stores = [JobStore(settings) for _ in range(6)]
    begin = threading.Barrier(len(stores))

    def ask(store: JobStore) -> bool:
        begin.wait()
        return store.trainings.add(KEY)

    with ThreadPoolExecutor(len(stores)) as threads:
        assert sum(threads.map(ask, stores)) == 1
    assert len(stores[0].trainings.recent(10)) == 1
    assert stores[0].trainings.cancel(KEY)
    assert not stores[0].trainings.cancel(KEY)
    assert stores[0].trainings.add(KEY)
    for store in stores:
        store.close()


def test_pre_labelling_goes_on_beside_a_training(
    make_settings: MakeSettings, small: SmallStudio
) -> None:
    key = small.add_project(CONFIG)
    small.add_tasks(key, ["x"] * 3)
    settings = make_settings(small, None).model_copy(update={"job_threads": 1})
    learner = Learner(for_ever)
    with jobs_of(settings, BoxLabeller(), learner=learner) as jobs:
        jobs.train(key)
        until(lambda: learner.learned)
        assert ended(jobs, jobs.prelabel_project(project(key), PrelabelOptions())).stored == 3
        jobs.train("8.1700000000")  # of another project: after this one
        time.sleep(1)
        assert learner.learned == [key]
        assert jobs.cancel_training(key)
        until(lambda: learner.learned == [key, "8.1700000000"])


def test_a_cancelled_training_stops(quick: Jobs, learner: Learner) -> None:
    learner.act = for_ever
    assert not quick.cancel_training(KEY)
    quick.train(KEY)
    until(lambda: learner.learned)
    assert quick.cancel_training(KEY)
    until(lambda: learner.stopped == ["Lost"])
    job = quick.training(KEY)
    assert job is not None
    assert job.state == State.CANCELLED
    assert not quick.is_training(KEY)


@pytest.mark.parametrize("hides_it", [False, True])
def test_a_training_goes_on_in_the_next_process(
    make_settings: MakeSettings, small: SmallStudio, hides_it: bool
) -> None:
    settings = make_settings(small, None)

    def stubborn(go_on: Callable[[], None], tell: Callable[[str], None]) -> None:
        try:
            for_ever(go_on, tell)
        except Exception as error:
            if hides_it:
                raise MediaError("it was killed") from error
            raise

    one, other = Learner(stubborn), Learner()
    with jobs_of(settings, BoxLabeller(), learner=one) as jobs:
        jobs.train(KEY)
        until(lambda: one.learned)
    assert one.stopped == ["Stopped"]
    with jobs_of(settings, BoxLabeller(), learner=other) as jobs:
        jobs.start()
        over(jobs)
        assert other.learned == [KEY]
        assert [job.state for job in jobs.recent_trainings()] == ["done"]


@pytest.mark.parametrize(
    ("error", "delay", "note"),
    [
        (LabelStudioError("no answer"), "FIRST_DELAY_S", "waits for Label Studio: no answer"),
        (StateError("the database failed"), "DATABASE_AGAIN_S", "waits: the database failed"),
    ],
)
def test_what_is_away_for_a_while_is_waited_for(
    quick: Jobs,
    learner: Learner,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    delay: str,
    note: str,
) -> None:
    monkeypatch.setattr(turns, delay, 0.5)
    away = threading.Event()
    away.set()

    def act(go_on: Callable[[], None], tell: Callable[[str], None]) -> None:
        if away.is_set():
            raise error

    learner.act = act
    quick.train(KEY)
    until(lambda: getattr(quick.training(KEY), "note", "") == note)
    assert quick.is_training(KEY)
    away.clear()
    over(quick)
    assert len(learner.learned) >= 2
    assert learner.given_up == []
    assert getattr(quick.training(KEY), "state", None) == State.DONE


def test_what_is_away_for_too_long_leaves_all_to_be_learned_by_another_training(
    quick: Jobs, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(turns, "_MOST_DELAYS", 2)

    def act(go_on: Callable[[], None], tell: Callable[[str], None]) -> None:
        raise LabelStudioError("no answer")

    learner.act = act
    quick.train(KEY)
    over(quick)
    assert len(learner.learned) == 3
    assert learner.given_up == []
    assert getattr(quick.training(KEY), "state", None) == State.FAILED


def test_a_database_that_is_away_when_a_training_fails_does_not_keep_it_open(
    quick: Jobs, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "DATABASE_AGAIN_S", 0.01)

    def act(go_on: Callable[[], None], tell: Callable[[str], None]) -> None:
        raise LabelStudioRefused("there is no project 7")

    learner.act, learner.hiccups = act, 1
    quick.train(KEY)
    over(quick)
    assert len(learner.learned) == 2
    assert learner.given_up == ["there is no project 7"]


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (LabelStudioRefused("there is no project 7"), "there is no project 7"),
        (LabelpilotError("no labels", advice="draw some"), "no labels; draw some"),
        (ZeroDivisionError("secret"), "a fault in labelpilot (ZeroDivisionError)"),
    ],
)
def test_a_training_that_fails_says_why(
    quick: Jobs, learner: Learner, error: Exception, note: str
) -> None:
    def act(go_on: Callable[[], None], tell: Callable[[str], None]) -> None:
        raise error

    learner.act = act
    quick.train(KEY)
    over(quick)
    job = quick.training(KEY)
    assert job is not None
    assert (job.state, job.note) == (State.FAILED, note)
    assert learner.given_up == [note]


def test_a_training_that_ends_its_workers_ends_at_last(quick: Jobs, learner: Learner) -> None:
    class Killed(BaseException):
        pass

    def die(go_on: Callable[[], None], tell: Callable[[str], None]) -> None:
        raise Killed

    learner.act = die
    store = quick._store
    assert store.trainings.add(KEY)
    while quick.is_training(KEY):
        ((turn_id, attempt),) = store.turns.unsent()
        store.turns.mark_sent([(turn_id, attempt)])
        try:
            quick._turns.run(turn_id, attempt)
        except Killed:
            assert len(learner.learned) < 30
            store.turns.take_back([(turn_id, attempt)])
    job = quick.training(KEY)
    assert job is not None
    assert (job.state, job.note) == (State.FAILED, "it ended 5 workers")
    assert learner.given_up == ["it ended 5 workers"]
    assert len(learner.learned) == 5


def test_a_worker_without_a_learner_leaves_trainings_to_others(
    make_settings: MakeSettings, small: SmallStudio
) -> None:
    key = small.add_project(CONFIG)
    small.add_tasks(key, ["x"])
    settings = make_settings(small, None)
    with jobs_of(settings, BoxLabeller()) as jobs:
        jobs.train(key)
        assert ended(jobs, jobs.prelabel_project(project(key), PrelabelOptions())).stored == 1
        assert jobs.is_training(key)
    learner = Learner()
    with jobs_of(settings, BoxLabeller(), learner=learner) as jobs:
        jobs.start()
        over(jobs, key)
    assert learner.learned == [key]


def test_a_killed_worker_costs_no_training(
    make_settings: MakeSettings, small: SmallStudio, tmp_path: Path
) -> None:
    settings = make_settings(small, None)
    learner = Diarist(settings.data_path)
    with jobs_of(settings, BoxLabeller(), learner=learner) as jobs:
        assert jobs._store.trainings.add(KEY)
        for begun in (1, 2):
            with worker_process(settings, learn_s=600) as process:
                until(lambda begun=begun: len(learner.diary()) == begun)  # type: ignore[misc]
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert not jobs._store.trainings.add(KEY)
        assert jobs.is_training(KEY)
        jobs.start()
        over(jobs)
        assert learner.diary() == ["begun", "begun", "begun", "done"]
        assert [job.state for job in jobs.recent_trainings()] == ["done"]
        time.sleep(1.5)  # nobody does it again
    assert learner.diary() == ["begun", "begun", "begun", "done"]
