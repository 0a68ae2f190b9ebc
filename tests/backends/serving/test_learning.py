"""What the status page tells of learning, from what is in the database."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, fields, replace

import pytest

from backends.interface import LabelledTask
from backends.jobs.tables import JobState, State
from backends.label_studio.projects import KnownProject
from backends.micro.nouns import Acceptance, ModelVersion, Shown, Step
from backends.micro.store import MicroStore
from backends.serving import curve as drawing
from backends.serving.curve import curve
from backends.serving.learning import (
    OLDER_SHOWN,
    PROJECTS_SHOWN,
    VERSIONS_SHOWN,
    Sources,
    learning,
)
from backends.serving.services import parsed
from backends.serving.templating import TEMPLATES
from backends.settings import Settings
from micro_models.regions import Box, Region

KEY = "7.1795168884"
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="rect" toName="image"><Label value="Car"/></RectangleLabels></View>"""
BY_SCENE = CONFIG.replace('name="rect"', 'name="rect" scope="scene"')
HOSTILE = "\"><script>alert('1')</script>{{ 7 * 7 }} кот"


@dataclass(frozen=True)
class Jobs:
    """Background work of which nothing but trainings is known."""

    trainings: tuple[JobState, ...] = ()

    def recent_trainings(self, limit: int = 20) -> tuple[JobState, ...]:
        return self.trainings[:limit]


def job(state: State = State.RUNNING, note: str = "", key: str = KEY) -> JobState:
    row = dict.fromkeys((one.name for one in fields(JobState)), 0)
    row |= {"project_key": key, "state": state, "note": note, "options": None, "clips": ()}
    return JobState(**row)  # type: ignore[arg-type]


def version(number: int = 1, **changes: object) -> ModelVersion:
    one = ModelVersion(
        id=f"{number:012x}",
        project_key=KEY,
        scope="project",
        made_at=1_750_000_000.0 + number,
        labels=5 * number,
        data="d",
        why="nothing to compare with",
        quality=min(1.0, 0.5 + number / 100),
    )
    return replace(one, **changes)


@pytest.fixture
def store(settings: Settings) -> MicroStore:
    return MicroStore(settings)


def seen(store: MicroStore, labels: int, key: str = KEY) -> None:
    store.note_event([key], submissions=labels)
    store.note_seen(store.standing(key), labels=labels)


def told(store: MicroStore, settings: Settings, *jobs: JobState, **given):
    config, serves = given.get("config", CONFIG), given.get("serves", True)
    known = [KnownProject(KEY, given.get("host", "http://ls:8080"), None, config)]
    return learning(Sources(settings, store, Jobs(jobs), known, parsed, lambda _: serves))


def page(store: MicroStore, settings: Settings, *jobs: JobState, **given):
    """The section as HTML, without line breaks."""
    shown = told(store, settings, *jobs, **given)
    template = TEMPLATES.get_template("learning.html")
    html = template.render(learning=shown, width=drawing.WIDTH, height=drawing.HEIGHT)
    return " ".join(html.split())


def test_without_any_project_it_says_what_will_happen(store, settings):
    assert "From 5 labelled tasks on" in page(store, settings)
    off = settings.model_copy(update={"train_first_at": 0})
    assert "switched off" in page(store, off)


@pytest.mark.parametrize(
    ("labels", "first_at", "words", "others"),
    [
        (0, 5, "0 labelled tasks; training starts at 5", "switched off"),
        (1, 5, "1 labelled task; training starts at 5", "tasks; training"),
        (3, 5, "3 labelled tasks; training starts at 5", "switched off"),
        (5, 5, "5 labelled tasks<", "training starts"),
        (3, 0, "LABELPILOT_TRAIN_FIRST_AT is 0", "training starts"),
    ],
)
def test_labels_and_what_is_missing(store, settings, labels, first_at, words, others):
    seen(store, labels)
    html = page(store, settings.model_copy(update={"train_first_at": first_at}))
    assert words in html
    assert others not in html


def test_what_it_waits_for_and_why_the_last_training_failed(store, settings):
    seen(store, 5)
    store.note(KEY, f"waits: {HOSTILE}")
    store.note_failure(KEY, f"out of memory {HOSTILE}")
    html = page(store, settings)
    assert "waits: &#34;&gt;&lt;script" in html
    assert "The last training failed; the models that answer stay. out of memory" in html
    assert "<script" not in html


def test_a_change_that_nothing_was_trained_of_yet_is_told(store, settings):
    seen(store, 6)
    assert "something changed" not in page(store, settings)
    store.note_event([KEY], submissions=1)
    assert "something changed" in page(store, settings)


def test_what_the_last_training_said_is_not_said_of_what_came_since(store, settings):
    seen(store, 6)
    store.note(KEY, "nothing has changed since version 1")
    assert "nothing has changed" in page(store, settings, job(State.DONE))
    assert "nothing has changed" not in page(store, settings, job(State.FAILED, "broken"))
    assert "nothing has changed" not in page(store, settings, job())
    store.note_failure(KEY, "out of memory")
    html = page(store, settings, job(State.CANCELLED, "cancelled"))
    assert "was cancelled: what changed is learned after the next submit" in html
    assert "nothing has changed" not in html
    assert "failed" not in html
    store.note_event([KEY], submissions=1)
    html = page(store, settings, job(State.CANCELLED, "cancelled"))
    assert "something changed since: a training begins" in html
    assert "cancelled" not in html


def test_labels_that_nobody_has_counted_yet_are_not_none(store, settings):
    store.note_event([KEY], submissions=6)
    for jobs in ([], [job(State.QUEUED)]):
        html = page(store, settings, *jobs)
        assert "labelled tasks are not counted yet" in html
        assert "0 labelled" not in html
    store.note_seen(store.standing(KEY), labels=0)
    assert "0 labelled tasks" in page(store, settings)


def test_a_connected_project_of_which_nothing_came_is_named(store, settings):
    assert "project 7: none of its annotations is known here" in page(store, settings)
    cannot = page(store, settings, config="<View/>")
    assert "project 7" not in cannot
    off = settings.model_copy(update={"train_first_at": 0})
    assert "project 7" not in page(store, off)
    store.note_event([KEY], submissions=1)
    assert "is known here" not in page(store, settings)


def test_models_of_before_answer_though_nothing_is_trained_any_more(store, settings):
    seen(store, 9)
    store.add_version(version(1))
    store.promote(KEY, "project", version(1).id)
    off = settings.model_copy(update={"train_first_at": 0})
    html = page(store, off)
    assert "nothing is trained: LABELPILOT_TRAIN_FIRST_AT is 0; micro-models label" in html


def test_a_training_is_drawn_only_while_it_goes_on(store, settings):
    seen(store, 6)
    store.note_step(KEY, Step(f"label {HOSTILE}", "training tiny", 0.4, 120, 0.0345, 18.2))
    html = page(store, settings, job())
    assert "training tiny, step 120, loss 0.035, about 18 s left" in html
    assert 'max="1" value="0.400"' in html
    assert "<script" not in html
    assert told(store, settings, job()).is_training
    waits = page(store, settings, job(note="waits for Label Studio"))
    assert "waits for Label Studio" in waits
    assert "training tiny" not in waits
    over = job(State.CANCELLED)
    assert "training tiny" not in page(store, settings, over)  # what a killed one left behind
    assert not told(store, settings, over).is_training


def test_while_the_first_training_goes_on_the_labels_that_it_found_are_counted(store, settings):
    seen(store, 0)
    store.put_labelled(KEY, [LabelledTask(n, "then", {}, ()) for n in range(6)], {})
    assert "<p>6 labelled tasks</p>" in page(store, settings, job())


def test_what_a_training_waits_for_and_what_ended_one_are_told(store, settings):
    seen(store, 6)
    html = page(store, settings, job(note=f"Label Studio is away {HOSTILE}"), job(State.DONE))
    assert "Label Studio is away &#34;&gt;&lt;script" in html
    html = page(store, settings, job(State.FAILED, "broken (KeyError)"), job(State.DONE))
    assert "The last training failed; the models that answer stay. broken (KeyError)" in html
    html = page(store, settings, job(State.DONE, ""), job(State.FAILED, "broken"))
    assert "failed" not in html
    assert "waits for its turn" in page(store, settings, job(State.QUEUED))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (None, "under way</p>"),
        (Step("project", "reading pictures", 0.0, 0, None, None), "reading pictures</p>"),
        (Step("project", "calibrating", 1.7, 9, float("inf"), 400.0), "about 7 min left"),
    ],
)
def test_steps_with_little_in_them(store, settings, step, words):
    seen(store, 6)
    store.note_step(KEY, step)
    assert words in page(store, settings, job())


def test_versions_say_how_good_they_are_and_what_became_of_them(store, settings):
    seen(store, 20)
    first = version(1, quality=0.71)
    store.add_version(first)
    store.promote(KEY, "project", first.id)
    spoiled = version(2, quality=0.4, baseline=0.72, why=f"worse {HOSTILE}", f1=0.5, rival=0.61)
    store.add_version(spoiled)
    better = version(3, quality=0.9, baseline=0.73, parent=first.id, is_on_disk=False)
    store.add_version(better)
    store.promote(KEY, "project", better.id)
    (project,) = told(store, settings).projects
    assert [one.fate for one in project.versions] == [
        "current",
        "not promoted",
        "promoted before",
    ]
    middle = project.versions[1]
    assert (middle.quality, middle.baseline, middle.f1, middle.rival) == (
        "0.40",
        "0.72",
        "0.50",
        "0.61",
    )
    html = page(store, settings)
    assert html.rindex(better.id) < html.rindex(spoiled.id)  # the first ones are of the curve
    assert "files gone" in html
    assert "worse &#34;&gt;&lt;script" in html
    assert html.count('tr class="current"') == 1
    assert "training starts" not in html


@pytest.mark.parametrize(
    ("f1", "rival", "given", "words"),
    [
        (0.9, 0.4, {}, "; micro-models label the tasks that are left</p>"),
        (0.4, 0.9, {"serves": False}, "; YOLO answers when a task is opened"),
        (0.4, None, {}, "; micro-models label"),
        (None, None, {}, "; micro-models label"),
        (0.9, 0.4, {"serves": False}, "; no model answers: what they find has no place"),
        (0.9, 0.4, {"config": BY_SCENE, "serves": False}, "; no model answers"),
        (0.9, 0.4, {"config": "<View"}, "<p>9 labelled tasks</p>"),
    ],
)
def test_who_answers_is_told(store, settings, f1, rival, given, words):
    seen(store, 9)
    one = version(1, f1=f1, rival=rival)
    store.add_version(one)
    assert "<p>9 labelled tasks</p>" in page(store, settings, **given)  # it was not promoted
    store.promote(KEY, one.scope, one.id)
    assert words in page(store, settings, **given)


def test_where_fields_part_the_tasks_each_part_has_its_own(store, settings):
    seen(store, 9)
    for number, (scope, f1) in enumerate({"scene=day": 0.9, "scene=night": 0.1}.items()):
        one = version(number, scope=scope, f1=f1, rival=0.5)
        store.add_version(one)
        store.promote(KEY, one.scope, one.id)
    html = page(store, settings, config=BY_SCENE)
    assert "micro-models label the tasks that are left, but not scene=night: YOLO answers" in html


def test_of_many_versions_the_newest_are_listed_and_the_rest_counted(store, settings, monkeypatch):
    monkeypatch.setattr(store, "versions", lambda _: [version(n) for n in range(200, 0, -1)])
    seen(store, 1000)
    (project,) = told(store, settings).projects
    assert project.versions[0].id == version(200).id
    assert [len(project.versions), len(project.older)] == [VERSIONS_SHOWN, OLDER_SHOWN]
    assert f"{200 - VERSIONS_SHOWN - OLDER_SHOWN} more" in page(store, settings)
    assert len(project.curves[0].dots) == 200


def test_the_newest_projects_are_shown_in_full_the_others_in_a_line(store, settings):
    for number in range(PROJECTS_SHOWN + 3):
        seen(store, number, key=KEY if number == 7 else f"{number}.1")
    shown = told(store, settings)
    assert len(shown.projects) == PROJECTS_SHOWN
    assert len(shown.others) == 3
    assert "3 other projects" in page(store, settings)


def test_a_project_that_cannot_be_read_does_not_hide_the_others(store, settings, monkeypatch):
    seen(store, 5)
    seen(store, 6, key="8.1")
    versions = store.versions
    monkeypatch.setattr(store, "versions", lambda key: 1 / 0 if key == KEY else versions(key))
    html = page(store, settings)
    assert "project 7: cannot be shown (ZeroDivisionError)" in html
    assert "6 labelled tasks" in html


def test_what_people_left_unchanged_and_the_drawing_it_spared(store, settings):
    seen(store, 2)
    assert "left unchanged" not in page(store, settings)
    tasks = [LabelledTask(number, "then", {}, ()) for number in (1, 2)]
    of_each = {1: Acceptance(50, 45, 315.0), 2: Acceptance(45, 42, 294.0)}
    store.put_labelled(KEY, tasks, of_each)
    html = page(store, settings)
    assert "87 of 95 regions, 92 %" in html
    assert "10 min" in html
    assert "7 s for a box drawn by hand" in html


def test_uncertain_tasks_have_a_picture_a_link_and_a_legend(store, settings):
    seen(store, 9)
    regions = [Region(HOSTILE, Box(0, 0, 5, 5), 0.52)]
    regions += [Region(f"label {number}", Box(0, 0, 5, 5), 0.1) for number in range(9)]
    store.put_shown(KEY, "micro-1", [Shown(31, 0.04, tuple(regions)), Shown(32, 0.5, ())])
    html = page(store, settings)
    assert f'src="pictures/{KEY}/31.jpg?by=' in html
    assert 'href="http://ls:8080/projects/7/data?task=31"' in html
    assert "task 31, certainty 0.04" in html
    assert "кот 52 %" in html
    assert "and 4 more" in html
    assert "nothing found" in html
    assert "<script" not in html
    assert "49 кот" not in html


@pytest.mark.parametrize("host", ["javascript:alert(1)//", "", 'http://x/" onclick="alert(1)'])
def test_a_hostile_host_gives_no_link_that_runs_anything(store, settings, host):
    seen(store, 9)
    store.put_shown(KEY, "micro-1", [Shown(31, 0.04, ())])
    quiet = settings.model_copy(update={"label_studio_url": None})
    html = page(store, quiet, host=host)
    assert "javascript:alert(1)//</code>" in html or "javascript" not in html
    assert 'href="javascript' not in html
    assert not re.search(r'<[^>]* onclick="', html)


def test_tasks_that_were_labelled_since_are_not_shown_as_uncertain(store, settings):
    seen(store, 9)
    store.put_shown(KEY, "micro-1", [Shown(31, 0.04, ()), Shown(32, 0.05, ())])
    store.put_labelled(KEY, [LabelledTask(31, "then", {}, ())], {})
    (project,) = told(store, settings).projects
    assert [one.task_id for one in project.pictures] == [32]


def test_a_new_model_gives_pictures_new_addresses(store, settings):
    seen(store, 9)
    store.put_shown(KEY, "micro-1", [Shown(31, 0.04, ())])
    addresses = set()
    for number in (1, 2):
        store.add_version(version(number))
        store.promote(KEY, "project", version(number).id)
        (project,) = told(store, settings).projects
        addresses.add(project.pictures[0].picture)
    assert len(addresses) == 2


def test_no_curve_where_nothing_was_measured():
    assert curve([]) is None
    assert curve([version(1, quality=None)]) is None


@pytest.mark.parametrize("count", [1, 2, 3, 30, 500])
def test_a_curve_stays_inside_its_drawing(count):
    versions = [
        version(number, quality=(number % 7) / 5, promoted_at=1.0 if number % 3 else None)
        for number in range(1, count + 1)
    ]
    drawn = curve(versions[::-1])
    assert drawn is not None
    for dot in drawn.dots:
        assert 0 <= dot.x <= drawing.WIDTH
        assert 0 <= dot.y <= drawing.HEIGHT
    assert drawn.told.count(" at ") <= 7
    assert drawn.line.count(",") == sum(dot.is_promoted for dot in drawn.dots)
    texts = [tick.text for tick in drawn.across]
    assert texts[0] == "0"
    assert 2 <= len(texts) <= 7
    assert len(set(texts)) == len(texts)


def test_a_curve_goes_up_with_quality_and_right_with_labels():
    low, high = version(1, quality=0.2), version(4, quality=0.9)
    drawn = curve([high, low])
    assert drawn is not None
    first, last = drawn.dots
    assert first.x < last.x
    assert first.y > last.y  # y goes down
    assert drawn.told == "0.20 at 5 labels, 0.90 at 20 labels"


def test_curves_are_named_for_those_who_cannot_see_them(store, settings):
    for scope in (f"label {HOSTILE}", "scene=ночь"):
        store.add_version(version(1, scope=scope))
    seen(store, 5)
    html = page(store, settings)
    for svg in re.findall(r"<svg.*?</svg>", html):
        root = ET.fromstring(svg)
        names = {one.get("id") for one in root if one.tag in ("title", "desc")}
        assert set((root.get("aria-labelledby") or "").split()) == names
        assert root.get("role") == "img"
    assert html.count("<svg") == 2
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)) == 4
