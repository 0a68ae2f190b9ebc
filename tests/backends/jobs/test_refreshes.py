"""Refreshes: a project's tasks brought to a new version, the most useful first."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from backends.interface import Task
from backends.jobs.jobs import Jobs
from backends.jobs.tables import JobKind, PrelabelOptions, State
from backends.settings import Settings
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import SmallStudio, Studio
from tests.backends.jobs.workers import worker_process

OLD, MIDDLE, NEW = "micro-aaaaaaaaaa", "micro-bbbbbbbbbb", "micro-cccccccccc"
YOLO = "yolo-0123456789"


@dataclass
class Gate:
    """Before a task: note it, and hold all from the `at`-th on, but `free` ones, until `open`."""

    at: int = 1_000_000
    free: Sequence[int] = ()
    seen: list[int] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)

    def __call__(self, task: Task) -> None:
        assert task.id is not None
        self.seen.append(task.id)
        if len(self.seen) > self.at and task.id not in self.free:
            self.open.wait(60)


@pytest.fixture
def micro() -> BoxLabeller:
    return BoxLabeller(NEW)


@pytest.fixture
def gate(micro: BoxLabeller) -> Iterator[Gate]:
    micro.before = made = Gate()
    yield made
    made.open.set()


def with_micro(settings: Settings, micro: BoxLabeller) -> Iterator[Jobs]:
    settings = settings.model_copy(update={"job_threads": 1})
    yolo = BoxLabeller(YOLO)
    with jobs_of(settings, BoxLabeller(), micro=micro, yolo=yolo) as jobs:
        yield jobs


@pytest.fixture
def either(
    make_settings: MakeSettings, studio: Studio, micro: BoxLabeller, gate: Gate
) -> Iterator[Jobs]:
    """Jobs with each Label Studio."""
    yield from with_micro(make_settings(studio, None), micro)


@pytest.fixture
def some(
    make_settings: MakeSettings, small: SmallStudio, micro: BoxLabeller, gate: Gate
) -> Iterator[Jobs]:
    """Jobs with the small one."""
    yield from with_micro(make_settings(small, None), micro)


def idle(jobs: Jobs) -> None:
    until(lambda: not jobs._store.any_open(), tell=lambda: str(jobs.recent_jobs()))


def test_new_predictions_take_the_place_of_old_ones_the_least_certain_first(
    either: Jobs, studio: Studio, gate: Gate
) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 8)
    before = {
        task_id: studio.predict(task_id, OLD, score)
        for task_id, score in zip(ids, (0.9, 0.5, 0.1, 0.7, 0.3, 0.8), strict=False)
    }
    studio.annotate(ids[0], before[ids[0]])
    studio.annotate(ids[3])
    studio.annotate(ids[5])
    either.refresh(project(key), NEW, first=(ids[4], ids[0], ids[3]))
    idle(either)
    assert gate.seen[:3] == [ids[4], ids[0], ids[3]]
    assert gate.seen[3:] == [ids[2], ids[1], ids[6], ids[7]]
    assert studio.versions(key) == {one: [NEW] for one in ids} | {
        ids[0]: [OLD, NEW],  # what an annotation was made from stays
        ids[5]: [OLD],  # nobody asked for it, and it has an annotation
    }
    # Who has a task open can submit, though a new prediction is there.
    studio.annotate(ids[1], before[ids[1]])
    (job,) = either.recent_jobs()
    assert (job.kind, job.state, job.stored, job.total) == (JobKind.REFRESH, State.DONE, 7, 7)


def test_versions_of_both_backends_go_and_what_people_imported_stays(
    either: Jobs, studio: Studio
) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 3)
    for version in (YOLO, OLD, "micro-of-mine", "yolo-v8", "other-0123456789"):
        studio.predict(ids[0], version)
    studio.predict(ids[1], YOLO)
    either.refresh(project(key), NEW)
    idle(either)
    kept = ["micro-of-mine", "other-0123456789", "yolo-v8"]
    assert studio.versions(key) == {
        ids[0]: sorted([NEW, *kept]),
        ids[1]: [NEW],
        ids[2]: [NEW],
    }


def test_a_prediction_that_label_studio_got_by_itself_is_not_doubled(
    some: Jobs, small: SmallStudio, micro: BoxLabeller
) -> None:
    """It asks live for a task that lacks the present version, when somebody opens it."""
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 2)
    small.predict(ids[0], OLD)
    micro.before = lambda task: small.predict(ids[0], NEW) if task.id == ids[1] else None
    some.refresh(project(key), NEW)
    idle(some)
    assert small.versions(key) == {one: [NEW] for one in ids}


def test_only_the_first_are_refreshed_where_others_are_not_wanted(
    some: Jobs, small: SmallStudio
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 3)
    some.refresh(project(key), NEW, first=(ids[2], ids[2]), others=False)
    idle(some)
    assert small.versions(key) == {ids[0]: [], ids[1]: [], ids[2]: [NEW]}


def test_a_refresh_to_another_version_ends_the_one_before(
    some: Jobs, small: SmallStudio, micro: BoxLabeller, gate: Gate
) -> None:
    key, other = small.add_project(CONFIG), small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 120)
    small.add_tasks(other, ["x"])
    gate.at, micro.present_version = 60, MIDDLE
    some.refresh(project(key), MIDDLE)
    until(lambda: len(gate.seen) > 60)
    some._store.create(project(key), MIDDLE, None, [ids[110:]])
    some._store.create(project(key), YOLO, PrelabelOptions())
    some.refresh(project(other), MIDDLE)
    micro.present_version = NEW
    some.refresh(project(key), NEW)
    open_jobs = {(job.project_key, job.version) for job in some.recent_jobs() if job.open}
    assert open_jobs == {(key, YOLO), (key, NEW), (other, MIDDLE)}
    assert [job.kind for job in some.recent_jobs() if not job.open] == [JobKind.PRELABEL]
    some.refresh(project(other), NEW)
    gate.open.set()
    idle(some)
    assert {NEW} == {
        one for many in small.versions(key).values() for one in many if one.startswith("micro")
    }


def test_what_goes_first_is_added_to_a_refresh_that_goes_on(
    some: Jobs, small: SmallStudio, gate: Gate
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 150)
    gate.at = 10
    some.refresh(project(key), NEW)
    until(lambda: len(gate.seen) > 10)
    gate.free = [ids[140], ids[0], ids[70]]
    some.refresh(project(key), NEW, first=gate.free)
    late = small.add_tasks(key, ["x"])[-1]
    some.refresh(project(key), NEW, others=True)
    until(lambda: ids[70] in gate.seen)
    gate.open.set()
    idle(some)
    (job,) = some.recent_jobs()
    assert (job.state, job.stored, job.failed, job.total) == ("done", 151, 0, 151)
    assert gate.seen[:13] == [*ids[:11], ids[140], ids[70]]
    assert sorted(gate.seen) == [*ids, late]
    assert small.versions(key) == {one: [NEW] for one in [*ids, late]}


def test_a_refresh_that_waits_goes_on_at_once_when_it_is_asked_for_again(
    some: Jobs, small: SmallStudio
) -> None:
    key = small.add_project(CONFIG)
    small.add_tasks(key, ["x"])
    some._store.refreshes.ask(project(key), NEW, first=(), others=True)
    ((turn_id, attempt),) = some._store.turns.unsent()
    turn = some._store.turns.begin(turn_id, attempt)
    assert turn is not None
    some._store.turns.put_back(turn, delay_s=900)
    assert some._store.turns.unsent() == []
    some.refresh(project(key), NEW)
    idle(some)
    assert [job.stored for job in some.recent_jobs()] == [1]


def test_a_refresh_with_nothing_to_do_is_not_listed(some: Jobs, small: SmallStudio) -> None:
    key = small.add_project(CONFIG)
    (task_id,) = small.add_tasks(key, ["x"])
    some.refresh(project(key), NEW)
    idle(some)
    for first in ((), (task_id,)):
        some.refresh(project(key), NEW, first=first)
        idle(some)
    some.refresh(project(key), NEW, others=False)
    assert [job.stored for job in some.recent_jobs() if job.stored] == [1]
    assert small.versions(key) == {task_id: [NEW]}


def test_a_refresh_that_has_ended_writes_no_more_predictions(
    some: Jobs, small: SmallStudio, micro: BoxLabeller
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 60)
    for task_id in ids:
        small.predict(task_id, OLD)
    written: list[str] = []

    def after(method: str, path: str) -> None:
        if method == "PATCH":
            written.append(path)
        if len(written) == 3:
            some.cancel(some.recent_jobs()[0].id)

    small.after, micro.present_version = after, MIDDLE
    some.refresh(project(key), MIDDLE)
    idle(some)
    micro.present_version = NEW
    some.refresh(project(key), NEW, first=ids[:1], others=False)  # after that one's worker is free
    idle(some)
    assert 3 <= len(written) < 10


def test_each_version_is_made_by_its_backend(some: Jobs, small: SmallStudio) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 2)
    yolo = BoxLabeller("yolo-0123456789")
    job = some.prelabel_project(project(key), PrelabelOptions(), prelabeller=yolo)
    assert some.job(job).version == YOLO
    some.prelabel(project(key), NEW, [ids[0]])
    assert ended(some, job).stored == 2
    idle(some)
    assert small.versions(key) == {ids[0]: [NEW, YOLO], ids[1]: [YOLO]}


def test_the_first_predictions_are_stored_soon(
    some: Jobs, small: SmallStudio, micro: BoxLabeller
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 30)
    micro.task_s = 0.2
    made: list[int] = []

    def before(method: str, path: str) -> None:
        if path.endswith("import/predictions"):
            made.append(len(micro.labelled))

    small.before = before
    some.refresh(project(key), NEW, first=ids[:20])
    until(lambda: made)
    assert made[0] < 20
    some.refresh(project(key), MIDDLE)
    micro.task_s, micro.present_version = 0.0, MIDDLE
    idle(some)


def test_a_worker_killed_during_a_refresh_loses_and_doubles_nothing(
    quick: Jobs, small: SmallStudio, make_settings: MakeSettings
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 60)
    old = {task_id: [small.predict(task_id, "box-0")] for task_id in ids[:50]}
    quick._store.refreshes.ask(project(key), "box-1", first=ids[:30], others=True)
    renewed = itertools.count(1)
    at, killed = threading.Event(), threading.Event()

    def after(method: str, path: str) -> None:
        if method == "PATCH" and next(renewed) == 7:
            at.set()
            killed.wait(60)

    small.after = after
    with worker_process(make_settings(small, None)) as process:
        assert at.wait(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed.set()
    quick.start()
    idle(quick)
    assert small.versions(key) == {one: ["box-1"] for one in ids}
    assert {one: small.predictions(key)[one] for one in old} == old
    (job,) = quick.recent_jobs()
    assert (job.state, job.finished, job.failed) == ("done", 60, 0)
