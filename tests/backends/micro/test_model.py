"""The micro backend beside a pre-labeller: who answers, as which version, what is refreshed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from backends.errors import ModelMissing
from backends.interface import (
    AnnotationEvent,
    EventKind,
    Labelled,
    PlacedRegion,
    Prediction,
    Project,
    Task,
)
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.projects import ProjectBook
from backends.micro import announcing as module
from backends.micro.model import MicroBackend
from backends.micro.nouns import ModelVersion
from backends.micro.versions import UNTRAINED
from backends.settings import Settings
from micro_models import MicroModel
from tests.backends.jobs.conftest import until
from tests.backends.micro.balls import FolderImages, ball_model, picture

KEY = "7.1700000000"
BOXES = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"{}><Label value="ball"/></RectangleLabels></View>"""
CLIP = """<View><Video name="v" value="$video"/><VideoRectangle name="t" toName="v"/>
<Labels name="l" toName="v"><Label value="ball"/></Labels></View>"""
RIVAL = "yolo-0123456789"
SIZE_PX = (96, 72)


class Rival:
    """Says that there is nothing, as the pre-labeller."""

    present = RIVAL

    def version(self, project: Project) -> str:
        return self.present

    def wait(self, project: Project) -> str:
        return self.present

    def label(
        self, project: Project, tasks: Iterable[Task], *, progress: Any = None
    ) -> Iterator[Labelled]:
        for task in tasks:
            yield Labelled(task, Prediction((), 0.9, self.present, *SIZE_PX))


@dataclass
class FakeBackground:
    refreshed: list[tuple[str, tuple[int, ...], bool]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    def train(self, project_key: str) -> None: ...

    def is_training(self, project_key: str) -> bool:
        return False

    def refresh(
        self, project: Project, version: str, *, first: Sequence[int] = (), others: bool = True
    ) -> None:
        self.refreshed.append((version, tuple(first), others))

    def prelabel(self, project: Project, version: str, task_ids: Sequence[int]) -> None:
        self.left += task_ids

    def pending(self, project: Project, version: str, task_ids: object) -> list[int]:
        return []


@dataclass
class World:
    """A backend, its background, and what was aligned."""

    micro: MicroBackend
    background: FakeBackground
    rival: Rival
    folder: Path
    aligned: list[str]

    def promote(self, name: str, scope: str = "project", **values: Any) -> ModelVersion:
        """A model that answers for a scope."""
        values = {"report": {"labels": {"ball": 5}}, "made_at": 1.0} | values
        made = ModelVersion(name, KEY, scope, labels=5, data="data", why="first", **values)
        self.micro.registry.folder(made).mkdir(parents=True)
        self.micro.store.add_version(made)
        self.micro.store.promote(KEY, scope, name)
        self.micro.scopes(project(), anew=True)
        return made

    def task(self, number: int, **data: str) -> Task:
        """A task with a ball at (40, 30)."""
        return Task(number, {"image": picture(self.folder, f"{number}.png", (40, 30)), **data})


def project(config: str = BOXES.format("")) -> Project:
    return Project(KEY, parse_label_config(config))


@pytest.fixture(scope="module")
def ball() -> MicroModel:
    return ball_model()


@pytest.fixture
def world(tmp_path: Path, ball: MicroModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", database_url=None)
    background, rival, aligned = FakeBackground(), Rival(), list[str]()

    class Studios:
        def sdk(self, project_key: str) -> None: ...

    monkeypatch.setattr(
        module, "align", lambda client, number, version, ours: not aligned.append(version)
    )
    with closing(ProjectBook(settings)) as projects:
        projects.remember(KEY, host="http://ls", access_token=None, label_config=BOXES.format(""))
        micro = MicroBackend(
            settings=settings,
            images=FolderImages(tmp_path),
            videos=None,  # type: ignore[arg-type]
            studios=Studios(),  # type: ignore[arg-type]
            projects=projects,
            rival=rival,
            background=background,
            load=lambda folder: ball,
        )
        with closing(micro):
            yield World(micro, background, rival, tmp_path, aligned)


def refresh(world: World, asked: Project, *first: int, **how: Any) -> None:
    world.micro._announce(asked, first, **how)


def test_without_a_model_nothing_is_answered(world: World) -> None:
    asked = project()
    assert world.micro.version(asked) == world.micro.version(None) == UNTRAINED
    assert world.micro.serving_version(asked) is None
    assert world.micro.predict(asked, [world.task(1)], None) == [None]
    with pytest.raises(ModelMissing, match="no micro-model of this project has been trained"):
        world.micro.wait(asked)


def test_with_one_tasks_are_labelled(world: World) -> None:
    world.promote("aa")
    asked = project()
    (found,) = world.micro.predict(asked, [world.task(1)], None)
    assert found is not None
    assert found.version == world.micro.version(asked) == world.micro.serving_version(asked)
    (placed,) = found.regions
    assert isinstance(placed, PlacedRegion)
    assert (placed.region.label, placed.control) == ("ball", "box")
    assert [one.task_id for one in world.micro.store.shown(KEY)] == [1]


def test_a_blind_task_gets_no_answer_and_is_not_among_the_pictures_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.promote("aa")
    monkeypatch.setattr(world.micro._blindfold, "audits", lambda key: {2} if key == KEY else ())
    asked = [world.task(1), world.task(2)]
    found, hidden = world.micro.predict(project(), asked, None)
    assert (found is None, hidden) == (False, None)
    # A background job labels it all the same, for later; the status page does not tell.
    assert [one.prediction is None for one in world.micro.label(project(), asked)] == [False] * 2
    assert [one.task_id for one in world.micro.store.shown(KEY)] == [1]


@pytest.mark.parametrize(
    ("f1", "rival", "serves"),
    [(0.8, 0.7, True), (0.7, 0.7, True), (0.6, 0.7, False), (0.1, None, True), (None, None, True)],
)
def test_a_model_has_to_earn_its_place(
    world: World, f1: float | None, rival: float | None, serves: bool
) -> None:
    world.promote("aa", f1=f1, rival=rival)
    assert (world.micro.serving_version(project()) is not None) == serves


@pytest.mark.parametrize(
    "config",
    [
        BOXES.format("").replace('"ball"', '"globe"'),  # renamed
        BOXES.format(' scope="scene"'),
        CLIP,
    ],
)
def test_a_model_without_a_place_in_the_config_does_not_answer(world: World, config: str) -> None:
    world.promote("aa")
    assert world.micro.serving_version(project(config)) is None


def test_nor_does_one_whose_files_are_gone(world: World) -> None:
    made = world.promote("aa")
    world.micro.registry.folder(made).rmdir()
    assert world.micro.version(project()) == UNTRAINED


class TestScenes:
    """Models of scenes; the pre-labeller answers for the others."""

    config = BOXES.format(' scope="scene"')

    def test_each_task_is_answered_by_its_own_or_by_the_pre_labeller(self, world: World) -> None:
        world.promote("aa", "scene=day")
        asked = project(self.config)
        tasks = [world.task(n, scene="day" if n % 2 else "night") for n in range(1, 6)]
        found = list(world.micro.label(asked, tasks))
        assert [one.task.id for one in found] == [1, 2, 3, 4, 5]
        answers = [one.prediction for one in found if one.prediction is not None]
        assert [len(one.regions) for one in answers] == [1, 0, 1, 0, 1]
        # All under one version: the page hides what carries another.
        assert {one.version for one in answers} == {world.micro.version(asked)}

    def test_the_version_changes_with_the_pre_labellers(self, world: World) -> None:
        world.promote("aa", "scene=day")
        asked = project(self.config)
        before = world.micro.version(asked)
        world.rival.present = "yolo-9876543210"
        assert world.micro.version(asked) != before

    def test_without_one_those_tasks_have_no_answer(self, world: World) -> None:
        world.promote("aa", "scene=day")
        world.rival.present = "yolo-none"
        (found,) = world.micro.label(project(self.config), [world.task(2, scene="night")])
        assert (found.prediction, found.error) == (None, None)

    def test_a_scene_that_has_not_earned_it_is_the_pre_labellers(self, world: World) -> None:
        world.promote("aa", "scene=day", f1=0.9, rival=0.5)
        world.promote("bb", "scene=night", f1=0.4, rival=0.5)
        tasks = [world.task(1, scene="day"), world.task(2, scene="night")]
        found = list(world.micro.label(project(self.config), tasks))
        assert [len(one.prediction.regions) for one in found if one.prediction] == [1, 0]


class TestRefresh:
    """What becomes of predictions when models change."""

    def test_the_rest_follows_what_is_least_certain(self, world: World) -> None:
        world.promote("aa")
        asked = project()
        version = world.micro.version(asked)
        refresh(world, asked, 5, 3)
        assert world.background.refreshed == [(version, (5, 3), True)]
        assert world.aligned == [version]
        assert world.micro.store.standing(KEY).announced == version
        assert world.micro.versions() == [version]
        assert world.micro.store.unannounced() == []
        refresh(world, asked)  # it is done already
        assert len(world.background.refreshed) == 1
        refresh(world, asked, anyway=True)  # tasks came
        assert len(world.background.refreshed) == 2

    def test_a_first_model_answers_a_few(self, world: World) -> None:
        world.promote("aa")
        refresh(world, project(), 5, is_early=True)
        assert [others for _, _, others in world.background.refreshed] == [False]
        assert world.micro.store.unannounced() == [KEY]

    def test_clips_are_answered_although_they_have_labels(self, world: World) -> None:
        world.promote("aa", "clip 12")
        refresh(world, project(CLIP))
        assert [what[1:] for what in world.background.refreshed] == [((12,), False)]

    def test_what_was_never_trusted_changes_nothing(self, world: World) -> None:
        world.promote("aa", f1=0.1, rival=0.9)
        refresh(world, project())
        assert world.background.refreshed == world.aligned == []
        assert world.micro.store.standing(KEY).announced == ""
        assert world.micro.store.unannounced() == []

    def test_what_is_trusted_no_more_gives_way_to_the_pre_labeller(self, world: World) -> None:
        made = world.promote("aa")
        refresh(world, project())
        world.promote("bb", f1=0.1, rival=0.9, parent=made.id)
        refresh(world, project())
        assert world.background.refreshed[-1] == (RIVAL, (), True)
        assert world.aligned[-1] == RIVAL

    def test_where_labels_were_renamed_what_was_said_stays(self, world: World) -> None:
        world.promote("aa")
        refresh(world, project())
        refresh(world, project(BOXES.format("").replace('"ball"', '"globe"')))
        assert len(world.background.refreshed) == 1


def test_versions_are_the_present_one_and_those_that_answered_before(world: World) -> None:
    assert world.micro.versions() == []
    first = world.promote("aa")
    before = world.micro.version(project())
    world.promote("bb", made_at=2.0, parent=first.id)
    present = world.micro.version(project())
    assert world.micro.versions() == [present, before]


@pytest.mark.parametrize(
    ("event", "since", "asked", "tasks_came"),
    [
        (AnnotationEvent(EventKind.ANNOTATION_CREATED, 7, (1,), (5,)), 1, False, False),
        (AnnotationEvent(EventKind.ANNOTATIONS_CREATED, 7, (1, 2), (5, 6)), 2, False, False),
        (AnnotationEvent(EventKind.ANNOTATIONS_DELETED, 7, (), (5,)), 0, False, False),
        (AnnotationEvent(EventKind.START_TRAINING, 7), 0, True, False),
        (AnnotationEvent(EventKind.TASKS_CREATED, 7, (8,)), 0, False, True),
        (AnnotationEvent(EventKind.PROJECT_UPDATED, 7), 0, False, False),
    ],
)
def test_every_event_is_news(
    world: World, event: AnnotationEvent, since: int, asked: bool, tasks_came: bool
) -> None:
    world.micro.notify(event)
    (standing,) = world.micro.store.waiting()
    assert (standing.since, standing.asked, standing.tasks_came) == (since, asked, tasks_came)


def test_events_of_unknown_projects_are_not(world: World) -> None:
    world.micro.notify(AnnotationEvent(EventKind.ANNOTATION_CREATED, 8, (1,), (5,)))
    assert world.micro.store.waiting() == []


def test_a_project_is_compared_when_it_is_met_and_after_each_start(world: World) -> None:
    world.micro.version(project())  # not started yet
    assert world.micro.store.waiting() == []
    world.micro.start()
    until(lambda: [one.project_key for one in world.micro.store.waiting()] == [KEY])
    world.micro.store.note_seen(world.micro.store.standing(KEY), labels=0)
    world.micro.serving_version(project())
    world.micro.version(replace(project(), key="9.5"))  # nobody knows it
    assert world.micro.store.waiting() == []


def test_a_project_that_is_opened_again_after_long_is_compared_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook may get lost between Label Studio and here: nobody says so."""
    world.micro.start()
    until(lambda: [one.project_key for one in world.micro.store.waiting()] == [KEY])
    world.micro.store.note_seen(world.micro.store.standing(KEY), labels=0)
    hours = time.monotonic() + 2 * 3_600
    monkeypatch.setattr("backends.micro.model.time.monotonic", lambda: hours)
    world.micro.version(project())
    (standing,) = world.micro.store.waiting()
    assert (standing.project_key, standing.since) == (KEY, 0)
