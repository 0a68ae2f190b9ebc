"""Nothing is stored twice, though nobody saw what became of a prediction that was sent."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

import pytest

from backends.jobs import uploads
from backends.jobs.jobs import Jobs
from backends.jobs.tables import PrelabelOptions
from backends.label_studio import tasks
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project
from tests.backends.jobs.studios import SmallStudio
from tests.backends.jobs.workers import worker_process

ALL = PrelabelOptions()


class Imports:
    """Calls `each[n]` when the n-th import has arrived, and has not been carried out yet."""

    def __init__(self, studio: SmallStudio, *each: Callable[[], object]) -> None:
        self._each, self._lock = iter(each), threading.Lock()
        self.count, self.arrived = 0, threading.Event()
        studio.before = self

    def __call__(self, method: str, path: str) -> None:
        if path.endswith("import/predictions"):
            with self._lock:
                self.count += 1
                act = next(self._each, lambda: None)
            self.arrived.set()
            act()


def test_an_import_may_take_longer_than_other_requests(
    small: SmallStudio, make_settings: MakeSettings
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 3)
    imports = Imports(small, lambda: time.sleep(3))
    settings = make_settings(small, None).model_copy(update={"media_timeout_s": 2.0})
    with jobs_of(settings, BoxLabeller()) as jobs:
        jobs.start()
        assert ended(jobs, jobs.prelabel_project(project(key), ALL)).stored == 3
    assert imports.count == 1
    assert small.versions(key) == {one: ["box-1"] for one in ids}


def test_a_send_without_an_answer_is_waited_for(
    quick: Jobs, small: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "IMPORT_S", 1.0)
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 20)
    imports = Imports(small, lambda: time.sleep(2.5))
    quick.start()
    assert ended(quick, quick.prelabel_project(project(key), ALL)).stored == 20
    assert imports.count == 1
    assert small.versions(key) == {one: ["box-1"] for one in ids}


def test_what_was_stored_twice_all_the_same_is_mended(
    quick: Jobs, small: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "IMPORT_S", 1.0)
    monkeypatch.setattr(uploads, "LANDS_WITHIN_S", 0.0)
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 20)
    again, landed = threading.Event(), threading.Event()

    def second() -> None:
        again.set()
        landed.wait(30)

    def after(method: str, path: str) -> None:
        if path.endswith("import/predictions"):
            landed.set()

    Imports(small, lambda: again.wait(30), second)
    small.after = after
    small.predict(ids[0], "other-1")
    quick.start()
    assert ended(quick, quick.prelabel_project(project(key), ALL)).stored == 20
    assert small.versions(key) == {one: ["box-1"] for one in ids} | {ids[0]: ["box-1", "other-1"]}


def test_a_worker_killed_during_an_import_doubles_nothing(
    quick: Jobs, small: SmallStudio, make_settings: MakeSettings
) -> None:
    """Label Studio carries it out long after the next worker has begun."""
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 20)
    told, done = threading.Event(), threading.Event()

    def slow() -> None:
        told.wait(60)
        time.sleep(1)
        done.set()

    imports = Imports(small, slow)
    job_id = quick.prelabel_project(project(key), ALL)
    with worker_process(make_settings(small, None)) as process:
        assert imports.arrived.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
    quick.start()
    deadline = time.monotonic() + 60
    while "sent before" not in quick.job(job_id).note and time.monotonic() < deadline:
        time.sleep(0.05)
    told.set()
    assert ended(quick, job_id).finished == 20
    assert done.wait(60)
    assert imports.count == 1
    assert small.versions(key) == {one: ["box-1"] for one in ids}
