"""Every label judged by models that never saw it; everything real but Label Studio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from backends.errors import TrainingFailed
from backends.interface import LabelledTask, Project
from backends.label_studio.label_xml import parse_label_config
from backends.micro import gathering, out_of_fold
from backends.micro.course import Tools
from backends.micro.exchange import Request, Trained
from backends.micro.out_of_fold import OutOfFold, judged_labels
from backends.micro.registry import Registry
from backends.micro.store import MicroStore
from backends.settings import Settings
from micro_models import Budget, Example, fit
from micro_models.fitting.builtin import trainer_named
from micro_models.regions import Box
from tests.backends.micro.balls import PLACES, FolderImages, picture

KEY = "7.1700000000"
BOXES = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"{}><Label value="ball"/><Label value="cube"/>
</RectangleLabels></View>"""


@dataclass
class World:
    """Labelled pictures of balls; a quick trainer in the place of the process that trains."""

    tools: Tools
    images: FolderImages
    config: str = BOXES.format("")
    requests: list[Request] = field(default_factory=list)
    told: list[tuple[str, float]] = field(default_factory=list)
    steps: int = 1

    def label(self, task: int, *places: tuple[int, int], label: str = "ball", **data: str) -> None:
        name = picture(self.images.folder, f"{task}.png", *places)
        result = [
            {
                "id": f"r{n}", "from_name": "box", "to_name": "image", "type": "rectanglelabels",
                "original_width": 96, "original_height": 72,
                "value": {"x": x / 0.96, "y": y / 0.72, "width": 16 / 0.96, "height": 16 / 0.72,
                          "rectanglelabels": [label]},
            }
            for n, (x, y) in enumerate(places)
        ]  # fmt: skip
        annotation = {"id": task, "completed_by": 1, "result": result}
        made = LabelledTask(task, "2026", {"image": name, **data}, (annotation,))
        self.tools.store.put_labelled(KEY, [made], {})

    def train(self, request: Request, folder: Path, *, told: Any, **_: Any) -> Trained:
        self.requests.append(request)
        examples = [Example(one.picture, one.regions) for one in request.examples]
        model = fit(examples, budget=Budget(steps=self.steps), trainers=[trainer_named("forest")])
        model.save(folder / "final")
        return Trained(folder / "final", model.version, {}, ())

    def judge(self) -> list[OutOfFold]:
        studios: Any = self
        return judged_labels(
            self.tools, studios, 7, tell=lambda text, part: self.told.append((text, part))
        )[1]

    def sdk(self) -> None:
        return None


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings = Settings(data_dir=tmp_path / "pilot", database_url=None)
    with closing(MicroStore(settings)) as store:
        images = FolderImages(tmp_path)
        videos: Any = None
        tools = Tools(settings, store, Registry(settings, store), images, videos)
        made = World(tools, images)

        def read_project(*_: object) -> tuple[Project, int]:
            return Project(KEY, parse_label_config(made.config)), 0

        monkeypatch.setattr(out_of_fold, "read_project", read_project)
        monkeypatch.setattr(out_of_fold, "synchronised", lambda *_, **__: None)
        monkeypatch.setattr(gathering, "pool", lambda *_, **__: [])
        monkeypatch.setattr(out_of_fold, "train", made.train)
        yield made


def ids(requests: Sequence[Request]) -> list[set[int]]:
    return [{one.task_id for one in request.examples} for request in requests]


def test_every_label_is_judged_by_a_model_that_never_saw_it(world: World) -> None:
    world.steps = 4
    for number, place in enumerate(PLACES * 2, 1):
        world.label(number, place)
    world.label(11)  # nothing is there
    (found,) = world.judge()
    assert [one.task_id for one in found.judged] == list(range(1, 12))
    assert found.problems == {}
    held_out = [set(range(1, 12)) - some for some in ids(world.requests)]
    assert len(held_out) == 5
    assert sorted(task for some in held_out for task in some) == list(range(1, 12))
    hits = 0
    for one in found.judged[:10]:
        (given,) = one.given
        best = max(one.found, key=lambda region: region.score, default=None)
        assert isinstance(given.shape, Box)
        if best is not None and isinstance(best.shape, Box):
            hits += abs(best.shape.x0 - given.shape.x0) < 6
    assert hits >= 7, [one.found for one in found.judged]
    parts = [part for _, part in world.told]
    assert parts == sorted(parts)


def test_what_was_found_is_kept_until_a_label_changes(world: World) -> None:
    for number, place in enumerate(PLACES[:2], 1):
        world.label(number, place)
    first = world.judge()
    trained = len(world.requests)
    again = world.judge()
    assert len(world.requests) == trained
    assert [one.found for one in again[0].judged] == [one.found for one in first[0].judged]
    world.label(2)
    assert world.judge()[0].data != first[0].data
    assert len(world.requests) > trained


def test_who_gives_more_time_gets_better_models(world: World) -> None:
    for number, place in enumerate(PLACES[:2], 1):
        world.label(number, place)
    world.judge()
    trained, settings = len(world.requests), world.tools.settings
    less = settings.model_copy(update={"review_budget_s": settings.review_budget_s / 2})
    more = settings.model_copy(update={"review_budget_s": settings.review_budget_s * 2})
    for given, trainings in ((less, trained), (more, 2 * trained)):
        world.tools = replace(world.tools, settings=given)
        world.judge()
        assert len(world.requests) == trainings


def test_a_damaged_file_of_what_was_found_is_made_again(world: World) -> None:
    for number, place in enumerate(PLACES[:2], 1):
        world.label(number, place)
    world.judge()
    (kept,) = out_of_fold.kept_folder(world.tools.settings, KEY).iterdir()
    kept.write_text('{"data": 1')
    trained = len(world.requests)
    assert len(world.judge()[0].judged) == 2
    assert len(world.requests) > trained


@pytest.mark.parametrize("labels", [0, 1])
def test_what_cannot_be_held_out_is_told(world: World, labels: int) -> None:
    for number in range(labels):
        world.label(number + 1, PLACES[0])
    found = world.judge()
    assert [one.judged for one in found] == [()] * len(found)
    assert [task for one in found for task in one.problems] == [1] * labels
    assert world.requests == []


def test_each_scope_is_judged_by_models_of_its_own(world: World) -> None:
    world.config = BOXES.format(' scope="scene"')
    for number, place in enumerate(PLACES[:4], 1):
        world.label(number, place, scene="night" if number % 2 else "day")
    found = {one.scope.value: one for one in world.judge()}
    assert {name: [one.task_id % 2 for one in some.judged] for name, some in found.items()} == {
        "night": [1, 1],
        "day": [0, 0],
    }
    assert all(len({task % 2 for task in some}) == 1 for some in ids(world.requests))


def test_a_picture_that_is_gone_costs_only_itself(world: World) -> None:
    for number, place in enumerate(PLACES[:3], 1):
        world.label(number, place)
    (world.images.folder / "1.png").unlink()
    (found,) = world.judge()
    assert [one.task_id for one in found.judged] == [2, 3]
    assert "1.png is not there" in found.problems[1]


def test_a_training_that_fails_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Trained:
        raise TrainingFailed("the disk is full")

    monkeypatch.setattr(out_of_fold, "train", fail)
    for number, place in enumerate(PLACES[:2], 1):
        world.label(number, place)
    with pytest.raises(TrainingFailed, match="the disk is full"):
        world.judge()
