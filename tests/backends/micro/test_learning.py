"""What a training of a project does, with everything real but Label Studio and the training."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backends.errors import LabelStudioError, LabelStudioGone, MediaError, TrainingFailed
from backends.interface import ImageFile, LabelledTask, Project
from backends.label_studio.audits import AuditBook, Drawn, Withheld
from backends.label_studio.label_xml import parse_label_config
from backends.micro import learning, scope_training, sync, unlabelled
from backends.micro.course import Tools
from backends.micro.exchange import Request, Trained
from backends.micro.learning import Learner
from backends.micro.nouns import ModelVersion, Step
from backends.micro.out_of_fold import kept_folder
from backends.micro.registry import Registry
from backends.micro.shared_models import SharedModels
from backends.micro.store import MicroStore
from backends.micro.sync import Synced
from backends.settings import Settings
from micro_models.regions import Box, Image, Region

KEY = "7.1700000000"
BOXES = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"{}><Label value="car"/><Label value="bus"/>
</RectangleLabels></View>"""
CLIPS = """<View><Video name="video" value="$video"/><VideoRectangle name="box" toName="video"/>
<Labels name="labels" toName="video"><Label value="car"/></Labels></View>"""
CAR = Region("car", Box(8, 6, 24, 24))
Found = tuple[tuple[Region, ...] | None, ...]


class Images:
    """Every task's picture, but those that are lost."""

    def __init__(self, folder: Path) -> None:
        self.path, self.lost = folder / "picture.png", set[int]()
        cv2.imwrite(str(self.path), np.zeros((60, 80, 3), np.uint8))

    def locate(self, url: str, project_key: str, task_id: int | None = None) -> ImageFile:
        if task_id in self.lost:
            raise MediaError("there is no picture")
        return ImageFile(self.path, "digest", 80, 60)

    def read(self, file: ImageFile) -> Image:
        return Image(np.zeros((60, 80, 3), np.uint8))


@dataclass
class Trainer:
    """Stands for the process that trains: gives models that find what they are told to."""

    requests: list[Request] = field(default_factory=list)
    finds: Callable[[Request], Found] = lambda request: tuple(e.regions for e in request.examples)
    old: Callable[[Request], Found] = lambda request: ()
    early: bool = False
    before: Callable[[], None] = lambda: None
    number: int = 0

    def train(
        self, request: Request, folder: Path, *, told: Any, go_on: Any, on_better: Any
    ) -> Trained:
        self.requests.append(request)
        go_on()
        if self.early:
            on_better(self._trained(request, folder / "early"))
        self.before()
        return self._trained(request, folder / "final")

    def _trained(self, request: Request, folder: Path) -> Trained:
        self.number += 1
        folder.mkdir()
        (folder / "held_out.json").write_text("[]")
        (folder / "model.json").write_text("{}")
        return Trained(
            folder, f"{self.number:012x}", {}, self.finds(request), {9: 0.8, 8: 0.1},
            self.old(request),
        )  # fmt: skip


@dataclass
class World:
    """A project, what is known of it, and what was announced."""

    learner: Learner
    store: MicroStore
    registry: Registry
    trainer: Trainer
    images: Images
    settings: Settings
    parts: tuple[Any, ...]
    config: str = BOXES.format("")
    announced: list[tuple[tuple[int, ...], bool, bool]] = field(default_factory=list)
    synced: Synced = field(default_factory=lambda: Synced(frozenset(), frozenset(), 0))

    def label(self, *tasks: int, label: str = "car", own: bool = False, **data: str) -> None:
        """People draw one box in each of these tasks, or with `own` labelpilot itself does."""
        value = {"x": 10, "y": 10, "width": 20, "height": 30, "rectanglelabels": [label]}
        item = {"id": "r", "from_name": "box", "to_name": "image", "type": "rectanglelabels"}
        size = {"original_width": 80, "original_height": 60, "value": value}
        annotation = {"id": 1, "completed_by": 1, "result": [item | size]}
        both = ((), (annotation,)) if own else ((annotation,), ())
        made = [LabelledTask(n, "2026", {"image": "a.png", **data}, *both) for n in tasks]
        self.store.put_labelled(KEY, made, {})
        self.store.note_event([KEY], submissions=len(tasks))

    def learn(self, *, go_on: Callable[[], None] = lambda: None) -> None:
        self.learner.learn(KEY, go_on=go_on, tell=lambda note: None)

    def current(self) -> Mapping[str, str]:
        return {scope: one.id for scope, one in self.store.current(KEY).items()}

    def note(self) -> str:
        return self.store.standing(KEY).note


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=None)
    with closing(MicroStore(settings)) as store:
        registry, images, trainer = Registry(settings, store), Images(tmp_path), Trainer()
        tools = Tools(settings, store, registry, images, None)  # type: ignore[arg-type]

        def announce(
            project: Project, first: Sequence[int] = (), *, anyway: bool = False,
            is_early: bool = False, go_on: Any = None,
        ) -> None:  # fmt: skip
            made.announced.append((tuple(first), anyway, is_early))

        class Studios:
            def sdk(self, project_key: str) -> None: ...

        parts: Any = (tools, Studios(), announce)
        made = World(Learner(*parts), store, registry, trainer, images, settings, parts)
        monkeypatch.setattr(
            sync, "read_project",
            lambda client, number: (Project(KEY, parse_label_config(made.config)), 9),
        )  # fmt: skip
        monkeypatch.setattr(learning, "synchronised", lambda *_, **__: made.synced)
        monkeypatch.setattr(unlabelled, "random_unlabelled", lambda *_, **__: [])
        monkeypatch.setattr(scope_training, "train", lambda *a, **k: trainer.train(*a, **k))
        yield made


def test_four_labels_are_too_few(world: World) -> None:
    world.label(1, 2, 3, 4)
    world.learn()
    assert world.trainer.requests == []
    assert world.note() == "4 of 5 labels: training begins at 5"
    standing = world.store.standing(KEY)
    assert (standing.labels, standing.seen) == (4, standing.changes)


def test_unless_somebody_asks(world: World) -> None:
    world.label(1)
    world.store.note_event([KEY], submissions=0, asked=True)
    world.learn()
    assert world.current() == {"project": "000000000001"}


def test_five_labels_are_learned_from_and_the_least_certain_tasks_answered_first(
    world: World,
) -> None:
    world.label(1, 2, 3, 4, 5)
    world.learn()
    (request,) = world.trainer.requests
    assert [one.task_id for one in request.examples] == [1, 2, 3, 4, 5]
    assert {one.regions for one in request.examples} == {(CAR,)}
    assert (request.budget_s, request.device, request.rival_folder) == (45.0, "cpu", None)
    (version,) = world.store.versions(KEY)
    assert (version.is_current, version.labels, version.quality) == (True, 5, 1.0)
    assert world.registry.folder(version).is_dir()
    assert world.announced == [((8, 9), False, False)]


def test_the_same_labels_are_not_learned_twice(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.learn()
    world.learn()
    assert len(world.trainer.requests) == 1
    assert world.note() == "nothing has changed since version 000000000001 was trained"


def test_one_label_more_is_learned_and_the_old_model_judged_beside_the_new(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.learn()
    (first,) = world.store.versions(KEY)
    world.label(6)
    world.trainer.old = lambda request: tuple(e.regions for e in request.examples)
    world.learn()
    assert world.trainer.requests[1].rival_folder == world.registry.folder(first)
    newest = world.store.versions(KEY)[0]
    assert (newest.is_current, newest.parent, newest.baseline) == (True, first.id, 1.0)


def audits(world: World, *tasks: int) -> AuditBook:
    """These are withheld."""
    book = AuditBook(world.settings, refresh_s=0)
    book.draw(KEY, [Drawn(task, Withheld.AUDIT, task, 0.0) for task in tasks])
    return book


def test_audits_prove_how_good_a_model_is_and_are_not_learned_from(world: World) -> None:
    book = audits(world, 2, 4, 77)
    book.draw(KEY, [Drawn(5, Withheld.CHECK, 9, 0.0)])
    world.label(*range(1, 8))
    world.learn()
    assert [one.task_id for one in world.trainer.requests[0].examples] == [1, 3, 5, 6, 7]
    assert world.note() == "2 labelled audits are not learned from"
    assert world.store.standing(KEY).labels == 7
    book.release(KEY)
    world.learner = Learner(*world.parts)
    world.learn()
    assert [one.task_id for one in world.trainer.requests[1].examples] == list(range(1, 8))


@pytest.mark.parametrize("wanted", [True, False])
def test_what_a_certificate_vouches_for_is_learned_from_if_the_setting_says_so(
    world: World, wanted: bool
) -> None:
    world.settings.micro_pseudo_labels = wanted
    world.label(1, 2, 3, 4, 5)
    world.label(6, 7, 8, own=True)
    audits(world).certify(KEY, {6: 60, 7: 1, 9: 90})
    world.learn()
    (request,) = world.trainer.requests
    assert [one.task_id for one in request.examples] == [1, 2, 3, 4, 5]
    assert [(one.task_id, one.regions) for one in request.pseudo] == ([(7, (CAR,))] * wanted)
    assert world.store.versions(KEY)[0].labels == 5


def test_a_model_that_finds_less_is_kept_but_not_promoted(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.learn()
    world.label(6, 7, 8, label="bus")
    world.trainer.old = lambda request: tuple(e.regions for e in request.examples)
    world.trainer.finds = lambda request: tuple(() for _ in request.examples)
    world.learn()
    assert world.current() == {"project": "000000000001"}
    assert world.note().startswith("version 000000000002 was not promoted: not as good: 0.00")
    assert [one.is_current for one in world.store.versions(KEY)] == [False, True]
    assert world.announced[-1][0] == ()
    world.learn()  # nor tried again
    assert len(world.trainer.requests) == 2


def test_a_first_model_answers_while_a_better_one_is_trained(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.trainer.early = True
    world.learn()
    assert world.announced == [((8, 9), False, True), ((8, 9), False, False)]
    assert world.current() == {"project": "000000000002"}
    assert world.store.versions(KEY)[0].parent == "000000000001"
    world.label(6)
    world.learn()  # one that answers already is not replaced by a first one
    assert [early for _, _, early in world.announced] == [True, False, False]


def test_a_failed_training_keeps_the_old_model_and_says_why(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.learn()
    world.label(6)

    def fail() -> None:
        raise TrainingFailed("the disk is full", advice="make room")

    world.trainer.before = fail
    world.learn()
    standing = world.store.standing(KEY)
    assert standing.failure == "the disk is full; make room"
    assert standing.seen == standing.changes
    assert world.current() == {"project": "000000000001"}
    world.trainer.before = lambda: None
    world.learn()
    assert world.store.standing(KEY).failure == ""
    assert world.current() == {"project": "000000000002"}


def test_where_nothing_could_be_measured_more_time_is_taken(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.trainer.finds = lambda request: tuple(
        one.regions if request.budget_s > 50 else None for one in request.examples
    )
    world.learn()
    assert [one.budget_s for one in world.trainer.requests] == [45.0, 135.0]
    assert list(world.current()) == ["project"]


def test_but_not_for_ever_and_what_nobody_measured_does_not_answer(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.trainer.finds = lambda request: tuple(None for _ in request.examples)
    world.learn()
    assert [one.budget_s for one in world.trainer.requests] == [45.0, 135.0]
    assert world.current() == {}
    assert "could be held out to measure it; label more" in world.note()


def test_what_is_labelled_meanwhile_is_still_news(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.trainer.before = lambda: world.label(6)
    world.learn()
    (waiting,) = world.store.waiting()
    assert waiting.since == 1


@pytest.mark.parametrize("line", ["add", "promote", "add_version"])
def test_who_is_killed_on_the_way_to_a_promotion_is_promoted_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    world.label(1, 2, 3, 4, 5)
    holder = world.store if line == "add_version" else world.registry
    done = getattr(holder, line)
    times = 0

    def killed(*args: Any, **kwargs: Any) -> Any:
        nonlocal times
        times += 1
        if line == "add_version" and times == 1:  # the row; the second tells its labels
            return done(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(holder, line, killed)
    with pytest.raises(KeyboardInterrupt):
        world.learn()
    monkeypatch.setattr(holder, line, done)
    assert world.store.waiting()
    world.learn()
    (current,) = world.store.current(KEY).values()
    assert current.data
    assert world.registry.folder(current).is_dir()
    assert world.announced[-1] == ((8, 9), False, False)


def test_label_studio_may_be_away_and_nothing_is_taken_for_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.label(1, 2, 3, 4, 5)

    def away(*_: Any, **__: Any) -> None:
        raise LabelStudioError("no answer")

    for holder, name in ((learning, "synchronised"), (sync, "read_project")):
        monkeypatch.setattr(holder, name, away)
        world.store.note_step(KEY, Step("project", "learning", 0.5, 1, None, None))  # killed there
        with pytest.raises(LabelStudioError):
            world.learn()
        assert world.store.waiting()
        assert world.store.standing(KEY).step is None


def test_giving_up_says_why_and_keeps_what_came_since(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.label(1, 2, 3, 4, 5)

    def crash(*_: Any, **__: Any) -> None:
        world.label(6)
        raise ZeroDivisionError

    monkeypatch.setattr(learning, "scopes", crash)
    with pytest.raises(ZeroDivisionError):
        world.learn()
    world.learner.give_up(KEY, "a fault in labelpilot")
    standing = world.store.standing(KEY)
    assert (standing.failure, standing.step) == ("a fault in labelpilot", None)
    assert standing.since == 1
    assert world.store.waiting() == [standing]


def test_what_came_after_a_training_began_that_took_its_process_with_it_is_still_news(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    monkeypatch.setattr(learning, "scopes", die)
    world.label(1, 2, 3, 4, 5)
    with pytest.raises(Killed):
        world.learn()
    other = Learner(*world.parts)
    other.give_up(KEY, "it ended 5 workers")
    assert world.store.waiting() == []
    world.label(6)
    with pytest.raises(Killed):
        world.learn()
    world.label(7)
    other.give_up(KEY, "it ended 5 workers")
    assert [one.changes - one.seen for one in world.store.waiting()] == [1]


def test_a_picture_that_is_lost_costs_only_itself(world: World) -> None:
    world.label(1, 2, 3, 4, 5, 6)
    world.images.lost = {3}
    world.learn()
    (request,) = world.trainer.requests
    assert [one.task_id for one in request.examples] == [1, 2, 4, 5, 6]
    assert world.note() == "not all labels are learned from: task 3: there is no picture"


def test_scopes_share_the_time_and_one_that_fails_does_not_stop_the_others(
    world: World,
) -> None:
    world.config = BOXES.format(' scope="scene"')
    world.label(*range(1, 6), scene="day")
    world.label(*range(11, 17), scene="night")
    world.label(21, scene="dusk")

    def fail_once() -> None:
        world.trainer.before = lambda: None
        raise TrainingFailed("out of memory")

    world.trainer.before = fail_once
    world.learn()
    assert [one.budget_s for one in world.trainer.requests] == [22.5, 22.5]
    assert [len(one.examples) for one in world.trainer.requests] == [6, 5]
    assert list(world.current()) == ["scene=day"]
    standing = world.store.standing(KEY)
    assert standing.failure == "scene=night: out of memory"
    assert standing.note == "scene=dusk: 1 of 5 labels: training begins at 5"
    world.learn()  # the one that failed is tried again, with all the time
    assert [one.budget_s for one in world.trainer.requests] == [22.5, 22.5, 45.0]
    assert sorted(world.current()) == ["scene=day", "scene=night"]


def test_a_fault_in_one_scope_is_told_and_the_others_learn(world: World) -> None:
    world.config = BOXES.format(' scope="scene"')
    world.label(*range(1, 6), scene="day")
    world.label(*range(11, 17), scene="night")

    def crash_once() -> None:
        world.trainer.before = lambda: None
        raise ZeroDivisionError("secret")

    world.trainer.before = crash_once
    world.learn()
    assert list(world.current()) == ["scene=day"]
    failure = world.store.standing(KEY).failure
    assert failure == "scene=night: a fault in labelpilot (ZeroDivisionError)"


def test_tasks_that_came_are_answered(world: World) -> None:
    world.store.note_event([KEY], submissions=0, tasks_came=True)
    world.learn()
    assert world.announced == [((), True, False)]


def test_so_are_those_that_lost_their_labels(world: World) -> None:
    world.store.note_event([KEY], submissions=0)
    world.synced = Synced(frozenset(), frozenset({3}), 9)
    world.learn()
    assert world.announced == [((), True, False)]


@pytest.mark.parametrize("is_another", [True, False])
def test_a_project_that_is_gone_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch, is_another: bool
) -> None:
    world.label(1, 2, 3, 4, 5)
    world.learn()
    (model,) = world.store.versions(KEY)
    os.utime(world.registry.folder(model), (0, 0))
    world.store.note_event(["8.1"], submissions=0)
    found, others = (kept_folder(world.settings, key) for key in (KEY, "8.1"))
    for folder in (found, others):
        folder.mkdir(parents=True)

    def read(client: object, number: int) -> tuple[Project, int]:
        if is_another:
            return Project("7.1800000000", parse_label_config(world.config)), 9
        raise LabelStudioGone("no project 7")

    monkeypatch.setattr(sync, "read_project", read)
    world.learn()
    assert [one.project_key for one in world.store.standings()] == ["8.1"]
    assert (world.store.labelled(KEY), world.store.versions(KEY)) == ([], [])
    assert not world.registry.folder(model).exists()
    assert (found.exists(), others.exists()) == (False, True)
    assert len(world.announced) == 1


def test_models_that_have_no_place_any_more_do_not_answer_and_come_back_with_it(
    world: World,
) -> None:
    world.config = BOXES.format(' scope="scene"')
    world.label(1, 2, 3, 4, 5, scene="day")
    world.learn()
    world.config = BOXES.format("")
    world.learn()
    assert list(world.current()) == ["project"]
    world.config = BOXES.format(' scope="scene"')
    world.learn()
    assert list(world.current()) == ["scene=day"]
    assert len(world.store.versions(KEY, "scene=day")) == 2


def test_the_model_of_a_clip_that_is_gone_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config = CLIPS
    for task_id in (3, 4, 5):
        scope = f"clip {task_id}"
        model = ModelVersion(f"{task_id:012x}", KEY, scope, 1.0, 5, "data", "the first")
        world.store.add_version(model)
        world.store.promote(KEY, scope, model.id)
    world.store.put_labelled(KEY, [LabelledTask(3, "2026", {}, ())], {})
    # Task 4 has lost its labels only.
    monkeypatch.setattr(sync, "existing", lambda client, project, ids: set(ids) & {4})
    world.learn()
    assert sorted(world.current()) == ["clip 3", "clip 4"]


def test_what_somebody_promotes_during_a_training_is_not_replaced_by_it(world: World) -> None:
    world.label(1, 2, 3, 4, 5)
    world.learn()
    world.label(6)
    world.learn()
    world.label(7)
    world.trainer.before = lambda: bool(world.registry.rollback(KEY, "project"))
    world.learn()
    assert world.current() == {"project": "000000000001"}
    newest = world.store.versions(KEY)[0]
    assert (newest.id, newest.promoted_at) == ("000000000003", None)
    assert newest.why == "meanwhile somebody let another model answer"
    assert newest.why in world.note()
    # It is compared with that one at the next look.
    assert world.store.waiting()
    world.trainer.before = lambda: None
    world.learn()
    assert world.trainer.requests[-1].rival_folder is not None
    assert world.trainer.requests[-1].rival_folder.name == "000000000001"
    assert world.current() == {"project": "000000000004"}


def test_small_losses_do_not_add_up(world: World) -> None:
    """Each model finds what the one before did in 40 pictures but one."""

    def in_first(number: int) -> Callable[[Request], Found]:
        return lambda request: tuple(
            one.regions if n < number else () for n, one in enumerate(request.examples)
        )

    world.label(*range(1, 41))
    world.learn()
    finds = {world.current()["project"]: 40}
    for task in range(1, 4):
        world.label(task, label="bus")
        before = finds[world.current()["project"]]
        world.trainer.finds, world.trainer.old = in_first(before - 1), in_first(before)
        world.learn()
        finds[f"{world.trainer.number:012x}"] = before - 1
    assert finds[world.current()["project"]] == 39
    assert "a little worse again" in world.note()


def test_a_config_that_nothing_fills_is_told(world: World) -> None:
    world.config = '<View><Image name="image" value="$image"/></View>'
    world.store.note_event([KEY], submissions=1)
    world.learn()
    assert "no control of the label config" in world.note()


def test_whoever_wants_it_to_stop_is_heard(world: World) -> None:
    world.label(1, 2, 3, 4, 5)

    class Stop(Exception):
        pass

    def go_on() -> None:
        raise Stop

    with pytest.raises(Stop):
        world.learn(go_on=go_on)
    assert world.store.waiting()
    assert world.trainer.requests == []


def test_a_model_that_is_promoted_stays_in_the_store(world: World, tmp_path: Path) -> None:
    shared = Settings(_env_file=None, store_url=str(tmp_path / "shared"))
    world.registry._shared = SharedModels(shared)
    world.label(1, 2, 3, 4, 5)
    world.learn()
    (version,) = world.store.versions(KEY)
    assert version.is_current
    assert version.archive is not None
    assert list((tmp_path / "shared").rglob(f"{version.id}-{version.archive}.tar"))
