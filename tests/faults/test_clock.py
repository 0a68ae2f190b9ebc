"""The clock is set, a day forwards or back, while work goes on: nothing waits for that day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from backends.database import open_database
from backends.jobs import turns, uploads, worker
from backends.jobs.store import JobStore
from backends.jobs.tables import PrelabelOptions
from backends.jobs.worker import Heart
from backends.micro.keeper import Keeper
from backends.micro.store import MicroStore
from backends.settings import Settings
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import SmallStudio
from tests.backends.micro.test_keeper import A, FakeBackground
from tests.faults.unreliable import Unreliable

DAY_S = 86_400.0
JUMPS = pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S], ids=["forwards", "back"])
MANY = 600
Jump = Callable[[float], None]


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Set the clock of this process, and with it SQLite's, DBOS's and everybody's."""
    now = time.time
    return lambda by_s: monkeypatch.setattr(time, "time", lambda: now() + by_s)


@pytest.fixture
def settings(small: SmallStudio, make_settings: MakeSettings) -> Settings:
    return make_settings(small, None)


@pytest.fixture
def store(settings: Settings) -> Iterator[JobStore]:
    made = JobStore(settings)
    yield made
    made.close()


@pytest.fixture
def micro(settings: Settings) -> Iterator[MicroStore]:
    made = MicroStore(settings)
    yield made
    made.close()


@JUMPS
def test_a_job_goes_on(settings: Settings, small: SmallStudio, jump: Jump, jump_s: float) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * MANY)
    with jobs_of(settings, BoxLabeller(task_s=0.005)) as jobs:
        job_id = jobs.prelabel_project(project(key), PrelabelOptions())
        jobs.start()
        until(lambda: jobs.job(job_id).finished)
        jump(jump_s)
        job = ended(jobs, job_id)
    assert (job.state, job.finished, job.failed) == ("done", MANY, 0)
    assert small.versions(key) == {one: ["box-1"] for one in ids}


@JUMPS
def test_what_waits_for_label_studio_does_not_wait_for_that_day(
    settings: Settings,
    small: SmallStudio,
    monkeypatch: pytest.MonkeyPatch,
    jump: Jump,
    jump_s: float,
) -> None:
    monkeypatch.setattr(turns, "FIRST_DELAY_S", 600.0)
    proxy = Unreliable(small.url)
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 3)
    there = settings.model_copy(update={"label_studio_url": proxy.url})
    monkeypatch.setattr(uploads, "WAITS_S", (0.05,))
    with jobs_of(there, BoxLabeller()) as jobs:
        proxy.spoil = lambda _asked, _answer: (200, {"Content-Type": "text/html"}, b"<html>")
        job_id = jobs.prelabel_project(project(key), PrelabelOptions())
        jobs.start()
        until(lambda: "waits" in jobs.job(job_id).note, tell=lambda: str(jobs.job(job_id)))
        proxy.spoil = None
        jump(jump_s)
        assert ended(jobs, job_id).stored == 3
    assert small.versions(key) == {one: ["box-1"] for one in ids}
    proxy.close()


@JUMPS
def test_the_living_are_not_called_dead_and_the_dead_are(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, jump: Jump, jump_s: float
) -> None:
    monkeypatch.setattr(worker, "DEAD_AFTER_S", 1.0)
    monkeypatch.setattr(worker, "CARE_EVERY_S", 0.3)
    living, looking = Heart(store, "living"), Heart(store, "looking")
    Heart(store, "dying").beat()
    living.beat()
    assert looking.beat() == []
    jump(jump_s)
    began = time.monotonic()
    while not (silent := looking.beat()):
        assert time.monotonic() - began < 30
        living.beat()
        time.sleep(0.1)
    assert silent == ["dying"]
    assert time.monotonic() - began >= 1.0


@JUMPS
def test_a_training_is_asked_for(
    settings: Settings, micro: MicroStore, jump: Jump, jump_s: float
) -> None:
    background = FakeBackground()
    keeper = Keeper(settings, micro, background, lambda _: None)
    micro.note_event([A], submissions=1)
    keeper.look()
    jump(jump_s)
    keeper.look()
    assert background.trained == [A]


@JUMPS
def test_predictions_are_refreshed(micro: MicroStore, jump: Jump, jump_s: float) -> None:
    assert micro.claim_announcing(A, for_s=30)
    assert not micro.claim_announcing(A, for_s=30)
    jump(jump_s)  # and whoever claimed it has died
    assert micro.claim_announcing(A, for_s=30)
    assert not micro.claim_announcing(A, for_s=30)


def test_a_backup_is_restored_after_the_clock_was_put_back(
    settings: Settings, store: JobStore, jump: Jump
) -> None:
    from backends.backup.restoring import _check_free

    store.seen("machine-1", dead_after_s=40)
    jump(-DAY_S)
    with open_database(settings).connect() as connection:
        _check_free(connection, force=True)
