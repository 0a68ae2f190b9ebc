"""Jobs end to end, on both databases, with the small Label Studio and (e2e) the real one."""

from __future__ import annotations

import itertools
import random
import threading
import time
from pathlib import Path

import pytest

from backends.errors import BadRequest
from backends.interface import Task
from backends.jobs import jobs as jobs_module
from backends.jobs import turns, uploads
from backends.jobs.jobs import Jobs
from backends.jobs.tables import PrelabelOptions, State
from backends.label_studio.tasks import TaskFilter
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import Broken, SmallStudio, Studio

TWO_LABELS = CONFIG.replace("</Rect", '<Label value="Dog"/></Rect')
ALL = PrelabelOptions()


def before(task_id: int) -> TaskFilter:
    item = {"filter": "filter:tasks:id", "operator": "less", "type": "Number", "value": task_id}
    return TaskFilter((item,))


def test_a_project_is_labelled_once_and_what_fails_is_named(
    jobs: Jobs, studio: Studio, labeller: BoxLabeller
) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 117 + ["bad", "nothing", "dog"])
    job_id = jobs.prelabel_project(project(key), ALL)
    jobs.start()
    job = ended(jobs, job_id)
    assert (job.state, job.stored, job.skipped, job.failed, job.total) == ("done", 117, 1, 2, 120)
    reasons = dict(jobs.failures(job_id))
    assert reasons.keys() == {ids[117], ids[119]}
    assert reasons[ids[117]] == "the image is gone; upload it again"
    assert "Dog" in reasons[ids[119]]
    assert studio.versions(key) == {one: ["box-1"] if one < ids[117] else [] for one in ids}
    assert job.rate > 0

    labeller.labelled.clear()
    again = jobs.prelabel_project(project(key), ALL)
    assert again != job_id
    assert ended(jobs, again).total == 3
    assert sorted(labeller.labelled) == ids[117:]


def test_the_rest_of_a_request_is_submitted_in_a_burst_and_stored_once(
    jobs: Jobs, studio: Studio, labeller: BoxLabeller
) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 150)
    callers = [
        threading.Thread(target=jobs.prelabel, args=(project(key), "box-1", ids[start:]))
        for start in (0, 0, 50, 70, 149)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert set(jobs.pending(project(key), "box-1", ids)) <= set(ids)
    until(lambda: not jobs.pending(project(key), "box-1", ids))
    assert studio.versions(key) == {one: ["box-1"] for one in ids}
    assert sorted(labeller.labelled) == ids
    until(lambda: not any(job.open for job in jobs.recent_jobs()))


def test_options_select_tasks_and_replace_older_predictions(
    jobs: Jobs, studio: Studio, labeller: BoxLabeller
) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 6)
    studio.annotate(ids[0])
    for task_id in ids:
        studio.predict(task_id, "box-0")
        studio.predict(task_id, "other-1")
        studio.predict(task_id, "box-import")  # a person's own
    tasks = TaskFilter(before(ids[4]).items, only_unlabelled=True)
    jobs.start()
    first = jobs.prelabel_project(project(key), PrelabelOptions(tasks, replace=True, limit=2))
    assert ended(jobs, first).stored == 2
    new = ["box-1", "box-import", "other-1"]
    old = ["box-0", "box-import", "other-1"]
    assert list(studio.versions(key).values()) == [old, new, new, old, old, old]

    either = TaskFilter(
        (
            *before(ids[1]).items,
            {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": ids[4]},
        ),
        any_fits=True,
    )
    second = jobs.prelabel_project(project(key), PrelabelOptions(either))
    assert ended(jobs, second).stored == 2
    both = ["box-0", "box-1", "box-import", "other-1"]
    assert list(studio.versions(key).values()) == [both, new, new, old, old, both]


def test_what_label_studio_drops_is_named(
    jobs: Jobs, studio: Studio, labeller: BoxLabeller
) -> None:
    key = studio.add_project(TWO_LABELS)
    ids = studio.add_tasks(key, ["x", "dog", "x"])
    once = iter([lambda: studio.set_config(key, CONFIG)])
    labeller.before = lambda task: next(once, lambda: None)()
    jobs.start()
    job = ended(jobs, jobs.prelabel_project(project(key), ALL))
    assert (job.stored, job.failed) == (2, 1)
    ((task_id, reason),) = jobs.failures(job.id)
    assert task_id == ids[1]
    assert "Label Studio dropped it" in reason
    assert studio.versions(key) == {ids[0]: ["box-1"], ids[1]: [], ids[2]: ["box-1"]}


def test_tasks_deleted_meanwhile_cost_the_others_nothing(
    jobs: Jobs, studio: Studio, labeller: BoxLabeller
) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 5)
    jobs.prelabel(project(key), "box-1", [*ids, 10_000_000])
    gone = iter([ids[1], ids[3]])

    def delete(task: Task) -> None:
        for task_id in gone:
            studio.delete_task(task_id)

    labeller.before = delete
    until(lambda: not any(job.open for job in jobs.recent_jobs()))
    (job,) = jobs.recent_jobs()
    assert (job.state, job.stored, job.skipped, job.failed) == ("done", 3, 3, 0)
    assert set(studio.versions(key)) == {ids[0], ids[2], ids[4]}


def test_a_deleted_project_ends_its_job_with_a_reason(jobs: Jobs, studio: Studio) -> None:
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * 3)
    studio.delete_project(key)
    jobs.prelabel(project(key), "box-1", ids)
    until(lambda: not any(job.open for job in jobs.recent_jobs()))
    (job,) = jobs.recent_jobs()
    assert job.state == "failed"
    assert f"404 while reading project {project(key).id}" in job.note
    assert not jobs.pending(project(key), "box-1", ids)


def test_a_changed_label_config_ends_the_job(
    quick: Jobs, small: SmallStudio, labeller: BoxLabeller
) -> None:
    key = small.add_project(CONFIG)
    small.add_tasks(key, ["x"] * 200)
    numbers = itertools.count()

    def change(task: Task) -> None:
        if next(numbers) == 60:
            small.set_config(key, TWO_LABELS)
            labeller.present_version = "box-2"

    labeller.before = change
    quick.start()
    job = ended(quick, quick.prelabel_project(project(key), ALL))
    assert job.state == State.SUPERSEDED
    assert "box-2" in job.note
    # What was computed for the old config, and what for the new one, never share a version.
    assert {one for many in small.versions(key).values() for one in many} <= {"box-1"}


@pytest.mark.parametrize("lacks", ["the model", "the settings"])
def test_a_worker_without_the_model_leaves_the_job_to_others(
    make_settings: MakeSettings, small: SmallStudio, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    monkeypatch.setattr(turns, "FIRST_DELAY_S", 0.2)
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 120)
    settings = make_settings(small, None)
    unfit = BoxLabeller("box-2")
    if lacks == "the model":
        unfit = BoxLabeller("no-weights", missing=True)
    with jobs_of(settings, BoxLabeller()) as jobs:
        job_id = jobs.prelabel_project(project(key), ALL)
        with jobs_of(settings, unfit) as other:
            other.start()
            until(lambda: "waits for a worker with its model" in jobs.job(job_id).note)
        assert unfit.labelled == []
        jobs.start()
        job = ended(jobs, job_id)
    assert (job.state, job.stored, job.note) == ("done", 120, "")
    assert small.versions(key) == {one: ["box-1"] for one in ids}


def test_the_job_is_made_for_the_version_of_the_model_when_it_is_here(
    quick: Jobs, small: SmallStudio, labeller: BoxLabeller
) -> None:
    key = small.add_project(CONFIG)
    labeller.present_version, labeller.comes = "not-yet", "box-1"
    assert quick.job(quick.prelabel_project(project(key), ALL)).version == "box-1"


def test_a_model_that_is_nowhere_ends_the_job_at_last(
    quick: Jobs, small: SmallStudio, labeller: BoxLabeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(turns, "_MOST_DELAYS", 2)
    key = small.add_project(CONFIG)
    small.add_tasks(key, ["x"] * 3)
    job_id = quick.prelabel_project(project(key), ALL)
    labeller.present_version = "box-2"
    quick.start()
    job = ended(quick, job_id)
    assert job.state == State.SUPERSEDED
    assert "box-2" in job.note


def test_a_cancelled_job_stops(quick: Jobs, small: SmallStudio, labeller: BoxLabeller) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 400)
    labeller.task_s = 0.02
    quick.start()
    job_id = quick.prelabel_project(project(key), ALL)
    until(lambda: labeller.labelled)
    quick.cancel(job_id)
    assert not quick.pending(project(key), "box-1", ids)
    until(lambda: labeller.closed)
    assert quick.job(job_id).state == State.CANCELLED
    assert len(labeller.labelled) < len(ids)


def test_label_studio_may_be_away_for_a_while(
    quick: Jobs, small: SmallStudio, labeller: BoxLabeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it fails after it has stored: nothing is lost, nothing doubled."""
    monkeypatch.setattr(uploads, "WAITS_S", (0.05,) * 40)
    monkeypatch.setattr(uploads, "LANDS_WITHIN_S", 0.0)
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 30)
    dice = random.Random(0)

    def maybe(method: str, path: str) -> None:
        if dice.random() < 0.3:
            raise Broken(503)

    small.before = small.after = maybe
    quick.start()
    job = ended(quick, quick.prelabel_project(project(key), ALL))
    assert (job.state, job.total) == ("done", 30), job
    assert small.versions(key) == {one: ["box-1"] for one in ids}


def test_a_long_absence_delays_the_work(
    quick: Jobs, small: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "WAITS_S", (0.0,))
    monkeypatch.setattr(turns, "FIRST_DELAY_S", 0.5)
    key = small.add_project(CONFIG)
    small.add_tasks(key, ["x"] * 3)
    away = threading.Event()
    away.set()

    def refuse(method: str, path: str) -> None:
        if away.is_set():
            raise Broken(502)

    small.before = refuse
    quick.start()
    job_id = quick.prelabel_project(project(key), ALL)
    until(lambda: quick.job(job_id).note)
    assert "waits for Label Studio: Label Studio answered 502" in quick.job(job_id).note
    away.clear()
    job = ended(quick, job_id)
    assert (job.state, job.stored, job.note) == ("done", 3, "")


def test_an_unfinished_job_goes_on_and_restart_makes_a_new_one(
    make_settings: MakeSettings, small: SmallStudio, database_url: str | None
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 300)
    settings = make_settings(small, database_url)
    slow = BoxLabeller(task_s=0.02)
    with jobs_of(settings, slow) as jobs:
        job_id = jobs.prelabel_project(project(key), ALL)
        jobs.start()
        until(lambda: jobs.job(job_id).stored)
    halfway = sum(bool(versions) for versions in small.versions(key).values())
    assert 0 < halfway < 300
    rest = BoxLabeller()
    with jobs_of(settings, rest) as jobs:
        assert jobs.job(job_id).stored == halfway, "what was computed was stored and counted"
        assert jobs.prelabel_project(project(key), ALL) == job_id
        assert jobs.prelabel_project(project(key), PrelabelOptions(limit=7)) != job_id
        jobs.start()
        assert ended(jobs, job_id).stored >= 293
        restarted = jobs.prelabel_project(project(key), ALL, restart=True)
        assert ended(jobs, restarted).total == 0
    assert small.versions(key) == {one: ["box-1"] for one in ids}
    assert sorted(slow.labelled + rest.labelled) == ids


def test_restart_drops_the_unfinished_one(quick: Jobs, small: SmallStudio) -> None:
    key = small.add_project(CONFIG)
    job_id = quick.prelabel_project(project(key), ALL)
    restarted = quick.prelabel_project(project(key), ALL, restart=True)
    assert restarted != job_id
    assert quick.job(job_id).state == State.CANCELLED


def test_a_video_tells_its_progress_and_lets_go_when_the_process_ends(
    make_settings: MakeSettings, small: SmallStudio
) -> None:
    key = small.add_project(CONFIG)
    (task_id,) = small.add_tasks(key, ["clip"])
    settings = make_settings(small, None)
    labeller = BoxLabeller()
    with jobs_of(settings, labeller) as jobs:
        jobs.prelabel(project(key), "box-1", [task_id])
        until(lambda: any(job.clips for job in jobs.recent_jobs()))
        (clip,) = jobs.recent_jobs()[0].clips
        assert (clip.task_id, clip.frames) == (task_id, 15)
    assert labeller.labelled == []
    with jobs_of(settings, labeller) as jobs:
        jobs.start()
        until(lambda: not jobs.recent_jobs()[0].open)
    assert small.versions(key) == {task_id: ["box-1"]}


def test_ten_thousand_ids_are_taken_at_once(quick: Jobs, small: SmallStudio) -> None:
    """The rows are there before the call returns: a crash right after it loses nothing."""
    key = small.add_project(CONFIG)
    ids = list(range(1_000_001, 1_010_001))
    quick.prelabel(project(key), "box-1", ids)
    assert set(quick.pending(project(key), "box-1", ids)) <= set(ids)
    until(lambda: not any(job.open for job in quick.recent_jobs()))
    assert quick.recent_jobs()[0].skipped == 10_000


def test_pending_is_asked_about_tasks_not_about_all(quick: Jobs, small: SmallStudio) -> None:
    key = small.add_project(CONFIG)
    quick._store.create(project(key), "box-1", None, [range(1, 1201)])
    assert quick.pending(project(key), "box-1", [5, 1200, 1201]) == {5, 1200}
    assert quick.pending(project(key), "box-1", range(1, 1301)) == set(range(1, 1201))
    assert quick.pending(project(key), "box-2", [5]) == set()


def test_a_failure_is_not_tried_again_at_each_view(
    quick: Jobs, small: SmallStudio, labeller: BoxLabeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = small.add_project(CONFIG)
    (task_id,) = ids = small.add_tasks(key, ["bad"])
    quick.prelabel(project(key), "box-1", ids)
    until(lambda: labeller.labelled == ids and not quick.pending(project(key), "box-1", ids))
    quick.prelabel(project(key), "box-1", ids)
    assert not quick.pending(project(key), "box-1", ids)
    assert len(quick.recent_jobs()) == 1
    monkeypatch.setattr(jobs_module, "_FAILURES_COUNT_FOR_S", 0.0)
    quick.prelabel(project(key), "box-1", ids)
    until(lambda: labeller.labelled == [task_id, task_id])


def test_nothing_is_started_before_there_is_work(quick: Jobs, tmp_path: Path) -> None:
    quick.start()
    time.sleep(0.2)
    assert not (tmp_path / "data" / "workers").exists()


@pytest.mark.parametrize("value", [[], {"items": 3}, {"items": [{}]}, {"conjunction": "x"}])
def test_a_filter_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(BadRequest, match="Data Manager"):
        TaskFilter.read(value)
