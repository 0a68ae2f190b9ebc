"""Worker processes: several share the work, and one that is killed costs nothing."""

from __future__ import annotations

import errno
import fcntl
import itertools
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.errors import StateError
from backends.interface import Task
from backends.jobs import jobs as jobs_module
from backends.jobs import uploads, worker
from backends.jobs.engine import Engine
from backends.jobs.jobs import Jobs
from backends.jobs.queues import queues
from backends.jobs.slots import Slot
from backends.jobs.store import JobStore
from backends.jobs.tables import PrelabelOptions
from backends.jobs.worker import CARE_EVERY_S, DEAD_AFTER_S, Heart
from backends.label_studio import tasks
from backends.settings import Settings
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import SmallStudio, Studio
from tests.backends.jobs.workers import worker_process
from tests.postgres import PostgresServer

ALL = PrelabelOptions()


def test_two_workers_share_a_job(jobs: Jobs, studio: Studio, settings: Settings) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 200)
    with worker_process(settings, of=2) as one, worker_process(settings, of=2) as other:
        job_id = jobs.prelabel_project(project(key), ALL)
        assert ended(jobs, job_id).stored == 200
        shares = []
        for process in (one, other):
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=30)
            shares.append(int(said))
    assert sum(shares) == 200
    assert min(shares) > 0
    assert studio.versions(key) == {one: ["box-1"] for one in ids}


def test_killed_workers_lose_and_double_nothing(
    jobs: Jobs, studio: Studio, settings: Settings
) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 200)
    job_id = jobs.prelabel_project(project(key), ALL)
    for some in (1, 60):
        with worker_process(settings, task_s=0.04) as process:
            until(lambda some=some: jobs.job(job_id).finished >= some)
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert jobs.job(job_id).open
    jobs.start()  # the same data folder: it gets the name of the dead, and what they had in hand
    job = ended(jobs, job_id)
    assert (job.state, job.finished, job.failed) == ("done", 200, 0)
    assert studio.versions(key) == {one: ["box-1"] for one in ids}


def test_a_dead_worker_of_another_machine_is_replaced(
    small: SmallStudio,
    make_settings: MakeSettings,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(small, postgres.add_database())
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 60)
    with (
        worker_process(settings, settings.data_path / "far", task_s=0.05) as far,
        jobs_of(settings, BoxLabeller()) as jobs,
    ):
        job_id = jobs.prelabel_project(project(key), ALL)
        until(lambda: jobs.job(job_id).listed and jobs._store.turns.begun())
        far.send_signal(signal.SIGKILL)
        far.wait()
        monkeypatch.setattr(worker, "DEAD_AFTER_S", 1.0)
        jobs.start()
        assert ended(jobs, job_id).finished == 60
    assert small.versions(key) == {one: ["box-1"] for one in ids}


def test_an_image_that_kills_workers_costs_no_other(
    quick: Jobs, small: SmallStudio, labeller: BoxLabeller
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 50)
    poison = ids[33]
    job_id = quick._store.create(project(key), "box-1", None, [ids])
    turns, deaths = quick._store.turns, 0

    class Killed(BaseException):
        pass

    def die(task: Task) -> None:
        if task.id == poison:
            raise Killed

    labeller.before = die
    while quick.job(job_id).open:
        for turn_id, attempt in turns.unsent():
            turns.mark_sent([(turn_id, attempt)])
            try:
                quick._turns.run(turn_id, attempt)
            except Killed:
                deaths += 1
                assert deaths < 30
                turns.take_back([(turn_id, attempt)])
    job = quick.job(job_id)
    assert (job.state, job.stored, job.failed) == ("done", 49, 1)
    ((task_id, reason),) = quick.failures(job_id)
    assert task_id == poison
    assert "workers ended" in reason
    assert small.versions(key) == {one: [] if one == poison else ["box-1"] for one in ids}


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_replacement_that_was_cut_short_goes_on(
    quick: Jobs, small: SmallStudio, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Killed between two predictions, or between the last and the deletion of more older ones."""
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 3)
    for task_id in ids:
        small.predict(task_id, "box-2")
        small.predict(task_id, "box-0")
    calls = itertools.count(1)

    class Killed(BaseException):
        pass

    def renew(*arguments: Any) -> None:
        if next(calls) > at:
            raise Killed
        tasks.renew_prediction(*arguments)

    def die(*_: object) -> None:
        raise Killed

    job_id = quick.prelabel_project(project(key), PrelabelOptions(replace=True))
    turns = quick._store.turns
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "renew_prediction", renew)
        patch.setattr(uploads, "delete_predictions", die)
        quick._turns.run(*turns.unsent()[0])  # it lists
        (turn,) = turns.unsent()
        with pytest.raises(Killed):
            quick._turns.run(*turn)
    # Two at a time: which of them comes first is open.
    renewed = [["box-1", "box-2"]] * at + [["box-0", "box-2"]] * (3 - at)
    assert sorted(small.versions(key).values()) == sorted(renewed)
    turns.take_back([turn])
    # What is put in the place of another is never waited for: it cannot be doubled.
    monkeypatch.setattr(uploads, "LANDS_WITHIN_S", 1_000.0)
    quick.start()
    assert ended(quick, job_id).stored == 3
    assert small.versions(key) == {one: ["box-1"] for one in ids}


def test_the_clocks_of_machines_may_differ(
    make_settings: MakeSettings,
    small: SmallStudio,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = JobStore(make_settings(small, postgres.add_database()))
    store.seen("one", dead_after_s=100)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 1_000)
    assert store.seen("two", dead_after_s=100)[0] == []
    store.close()


def test_a_worker_that_cannot_be_started_yet_is_started_later(
    quick: Jobs, small: SmallStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "_IDLE_LOOK_EVERY_S", 0.1)
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 3)
    folder = tmp_path / "data" / "workers"
    folder.write_text("in the way")  # as a full disk or a wrong owner would be
    job_id = quick.prelabel_project(project(key), ALL)
    quick.start()
    time.sleep(0.5)
    folder.unlink()
    assert ended(quick, job_id).stored == 3
    assert small.versions(key) == {one: ["box-1"] for one in ids}


def test_a_file_system_without_locks_has_new_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    first, second = Slot(tmp_path), Slot(tmp_path)
    assert first.name != second.name
    assert list(first.orphans()) == []


def test_machines_with_one_name_and_one_path_have_other_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for machine in ("one", "two"):
        (tmp_path / machine).mkdir()
        monkeypatch.chdir(tmp_path / machine)
        slot = Slot(Path("data"))
        names.append(slot.name)
        slot.close()
        again = Slot(Path("data"))
        assert again.name == slot.name
        again.close()
    assert names[0] != names[1]


def test_names_are_taken_again_after_their_holders_are_gone(tmp_path: Path) -> None:
    first, second = Slot(tmp_path), Slot(tmp_path)
    assert first.name != second.name
    assert list(first.orphans()) == []
    second.close()
    assert list(first.orphans()) == [second.name]
    third = Slot(tmp_path)
    assert third.name == second.name
    fourth = Slot(tmp_path / "other")
    assert fourth.name not in (first.name, third.name)
    assert Slot(tmp_path, fixed="mine").name == "mine"
    for slot in (first, third, fourth):
        slot.close()


def test_a_process_has_one_engine_at_a_time(
    make_settings: MakeSettings, small: SmallStudio
) -> None:
    settings = make_settings(small, None)
    JobStore(settings).close()
    takes = queues(settings, trains=True)
    engine = Engine(settings, "one", lambda turn_id, attempt: None, takes=takes)
    try:
        with pytest.raises(StateError, match="already"):
            Engine(settings, "two", lambda turn_id, attempt: None, takes=takes)
    finally:
        engine.close()
    Engine(settings, "three", lambda turn_id, attempt: None, takes=takes).close()


def test_what_ended_long_ago_is_forgotten_and_what_goes_on_is_not(
    make_settings: MakeSettings, small: SmallStudio, database_url: str | None
) -> None:
    settings = make_settings(small, database_url)
    JobStore(settings).close()
    (takes, _, _) = queues(settings, trains=True)
    held, go_on, done = threading.Event(), threading.Event(), threading.Semaphore(0)

    def run(turn_id: str, attempt: int) -> None:
        if turn_id == "long":
            held.set()
            go_on.wait(30)
        done.release()

    engine = Engine(settings, "one", run, takes=[takes])
    try:
        engine.send(takes, [("short", n) for n in range(5)])
        for _ in range(5):
            assert done.acquire(timeout=30)
        engine.send(takes, [("long", 0)])
        assert held.wait(30)
        assert engine.forget_ended() == 0  # it is no hour ago
        forgot: list[int] = []
        until(lambda: forgot.append(engine.forget_ended(before_s=-60)) or sum(forgot) == 5)
        assert engine.dropped([("long", 0)], []) == []
        assert engine.dropped([("short", 0)], []) == [("short", 0)]
    finally:
        go_on.set()
        engine.close()


def test_a_database_that_is_away_is_told(make_settings: MakeSettings, small: SmallStudio) -> None:
    settings = make_settings(small, "postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StateError, match="cannot be started"):
        Engine(settings, "one", lambda turn_id, attempt: None, takes=())


def test_nobody_is_called_dead_because_the_database_was_away(
    small: SmallStudio, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("backends.jobs.store.clock", lambda _: now)
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now))
    store = JobStore(make_settings(small, None))
    one, other = Heart(store, "one"), Heart(store, "other")
    for _ in range(20):  # both live
        assert (one.beat(), other.beat()) == ([], [])
        now += CARE_EVERY_S
    with monkeypatch.context() as away:
        away.setattr(store, "seen", lambda *_, **__: 1 / 0)
        for _ in range(20):
            for heart in (one, other):
                with pytest.raises(ZeroDivisionError):
                    heart.beat()
            now += CARE_EVERY_S
    assert one.beat() == []  # the other one has not had its turn yet
    died_at = now
    while not (dead := one.beat()):
        now += CARE_EVERY_S
    assert dead == ["other"]
    assert DEAD_AFTER_S <= now - died_at <= DEAD_AFTER_S + CARE_EVERY_S < 60
    store.close()


class Learning:
    """Notes which projects it was to learn."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def learn(self, project_key: str, **_: object) -> None:
        self.keys.append(project_key)

    def give_up(self, project_key: str, reason: str) -> None:
        raise AssertionError(reason)


def test_a_process_does_what_its_queues_say(
    small: SmallStudio, make_settings: MakeSettings, postgres: PostgresServer
) -> None:
    settings = make_settings(small, postgres.add_database())
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 8)
    learner = Learning()

    def takes(queue_names: str) -> Settings:
        return settings.model_copy(update={"queues": queue_names})

    with jobs_of(takes(""), BoxLabeller()) as server:
        server.learner = learner
        server.start()
        job_id = server.prelabel_project(project(key), ALL)
        server.train(key)
        with jobs_of(takes("train"), BoxLabeller()) as trains:
            trains.learner = learner
            trains.start()
            until(lambda: server.training(key).state == "done")
        assert learner.keys == [key]
        assert server.job(job_id).finished == 0
        with jobs_of(takes("predict"), BoxLabeller()) as predicts:
            predicts.learner = learner
            server.train(key)
            predicts.start()
            assert ended(server, job_id).finished == 8
        assert learner.keys == [key]
        assert server.is_training(key)
        assert server._keeper is None
    assert small.versions(key) == {one: ["box-1"] for one in ids}
