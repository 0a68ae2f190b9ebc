from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from backends.errors import ModelMissing
from backends.interface import Labelled, PlacedRegion, PlacedTrack, Project, Task
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_prediction
from backends.micro.labeller import Labeller, Work
from backends.micro.nouns import Scope, ScopeKind
from backends.micro.shelf import ModelShelf
from backends.settings import Settings
from micro_models import MicroModel, ModelFileError
from micro_models.evaluation.overlap import similarity
from micro_models.regions import Box, Image, Region
from micro_models.tracks import interpolate
from tests.backends.micro.balls import DrawnVideos, FolderImages, ball_model, picture, version

CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
    '<Label value="ball"/><Label value="moon"/></RectangleLabels></View>'
)
PROJECT = Project("1.5", CONFIG)
WHOLE = Scope(ScopeKind.PROJECT, ("box",))
CLIP_CONFIG = parse_label_config(
    '<View><Video name="v" value="$video"/><VideoRectangle name="t" toName="v"/>'
    '<Labels name="l" toName="v"><Label value="ball"/></Labels></View>'
)
CLIPS = Project("1.5", CLIP_CONFIG)
CLIP = Scope(ScopeKind.CLIP, ("t",), value="7")


@pytest.fixture(scope="module")
def ball() -> MicroModel:
    return ball_model()


@pytest.fixture(scope="module")
def moon() -> MicroModel:
    return ball_model("moon", level=180)


def field(value: str) -> Scope:
    return Scope(ScopeKind.FIELD, ("box",), field="scene", value=value)


def of_label(name: str) -> Scope:
    return Scope(ScopeKind.LABEL, ("box",), labels=frozenset({name}), value=name)


def labeller(images, models: Mapping[str, MicroModel], videos=None, **settings) -> Labeller:
    def load(folder: Path) -> MicroModel:
        if folder.name not in models:
            raise ModelFileError(f"there is no model in {folder}")
        return models[folder.name]

    found = Settings(**settings)
    shelf = ModelShelf(found, lambda one: Path("/secret") / one.id, load=load)
    return Labeller(images=images, videos=videos, shelf=shelf, settings=found)


def work(models: Mapping[Scope, str], project: Project = PROJECT) -> Work:
    versions = {scope: version(name, scope.key) for scope, name in models.items()}
    return Work(project, "micro-0123456789", versions)


def regions(labelled: Labelled) -> list[Region]:
    assert labelled.prediction is not None, labelled.error
    return [one.region for one in labelled.prediction.regions if isinstance(one, PlacedRegion)]


def boxes(labelled: Labelled) -> list[tuple[str, Box]]:
    return [(one.label, one.shape) for one in regions(labelled) if isinstance(one.shape, Box)]


@pytest.mark.parametrize("factor", [1.0, 0.999])  # of a smaller one the file is read
def test_tasks_are_answered_in_order_and_a_bad_one_costs_itself(
    tmp_path: Path, ball: MicroModel, factor: float
) -> None:
    picture(tmp_path, "one.png", (10, 10))
    picture(tmp_path, "two.png", (10, 10), (50, 40))
    (tmp_path / "cut.png").write_bytes((tmp_path / "one.png").read_bytes()[:200])
    urls = ["one.png", "missing.png", "two.png", "cut.png", None, 5, "", "one.png"]
    tasks = [Task(number, {"image": url}) for number, url in enumerate(urls)]
    backend = labeller(FolderImages(tmp_path), {"m": replace(ball, factor=factor)})
    answers = list(backend.label(work({WHOLE: "m"}), tasks))
    assert [one.task.id for one in answers] == list(range(len(urls)))
    assert [one.error is None for one in answers] == [url in ("one.png", "two.png") for url in urls]
    ((label, box),) = boxes(answers[0])
    assert label == "ball"
    assert similarity(box, Box(10, 10, 26, 26)) > 0.99
    assert len(boxes(answers[2])) == 2
    assert "damaged" in str(answers[3].error)
    assert "'image'" in str(answers[4].error)
    first, last = answers[0].prediction, answers[7].prediction
    assert first is not None
    assert last is not None
    assert (first.version, first.width_px, first.height_px) == ("micro-0123456789", 96, 72)
    assert encode_prediction(first, CONFIG)["result"][0]["from_name"] == "box"
    assert first.regions[0].id != last.regions[0].id
    again = next(iter(backend.label(work({WHOLE: "m"}), tasks)))
    assert again.prediction == first


def test_each_scope_answers_for_its_own(tmp_path: Path, ball: MicroModel, moon: MicroModel) -> None:
    picture(tmp_path, "ball.png", (10, 10))
    picture(tmp_path, "moon.png", (10, 10), level=180)
    backend = labeller(FolderImages(tmp_path), {"day": ball, "night": moon})
    scoped = work({field("day"): "day", field("night"): "night"})
    tasks = [
        Task(number, {"image": f"{name}.png", "scene": scene})
        for number, (name, scene) in enumerate(
            [("ball", "day"), ("ball", "night"), ("moon", "night"), ("moon", "dusk")]
        )
    ]
    answers = list(backend.label(scoped, tasks))
    assert [[one.label for one in regions(answer)] for answer in answers[:3]] == [
        ["ball"],
        [],
        ["moon"],
    ]
    assert answers[3] == Labelled(tasks[3])  # nobody's: nothing to store, nothing to mend


def test_an_answer_is_the_union_of_the_models_and_the_surer_one_counts(
    tmp_path: Path, ball: MicroModel
) -> None:
    picture(tmp_path, "both.png", (10, 10))
    unsure = ball_model("moon")  # which takes balls for moons
    lowered = replace(unsure, calibration=Lowered(unsure))
    backend = labeller(FolderImages(tmp_path), {"ball": ball, "moon": lowered})
    tasks = [Task(1, {"image": "both.png"})]
    (answer,) = backend.label(work({of_label("moon"): "moon", of_label("ball"): "ball"}), tasks)
    assert boxes(answer) == [("ball", Box(10, 10, 26, 26))]
    # A model never answers with what is another's to find.
    (answer,) = backend.label(work({of_label("moon"): "ball"}), tasks)
    assert boxes(answer) == []


class Lowered:
    """A calibration that gives every score less."""

    def __init__(self, model: MicroModel) -> None:
        self._calibration = model.calibration

    def calibrated(self, found):
        every = self._calibration.calibrated(found)
        return [replace(one, score=one.score * 0.7) for one in every]

    def least_raw(self, score: float) -> float:
        return 0.0


@pytest.mark.parametrize("turned", [1, 6, 3])
def test_a_model_that_looks_at_less_answers_in_pixels_of_all(
    tmp_path: Path, ball: MicroModel, turned: int
) -> None:
    pixels = np.full((1440, 1920, 3), 100, np.uint8)
    pixels[200:520, 400:720] = 230
    exif = PIL.Image.Exif()
    exif[0x0112] = turned
    PIL.Image.fromarray(pixels).save(tmp_path / "large.jpg", exif=exif, quality=95)
    anywhere = replace(ball.limits, reach=1e9)
    backend = labeller(FolderImages(tmp_path), {"m": replace(ball, factor=0.05, limits=anywhere)})
    (answer,) = backend.label(work({WHOLE: "m"}), [Task(1, {"image": "large.jpg"})])
    right = {
        1: Box(400, 200, 720, 520),
        3: Box(1920 - 720, 1440 - 520, 1920 - 400, 1440 - 200),
        6: Box(1440 - 520, 400, 1440 - 200, 720),
    }[turned]
    ((_, box),) = boxes(answer)
    np.testing.assert_allclose(
        (box.x0, box.y0, box.x1, box.y1), (right.x0, right.y0, right.x1, right.y1), atol=21
    )
    assert answer.prediction is not None
    assert answer.prediction.width_px == (1440 if turned == 6 else 1920)


def test_a_picture_that_left_the_cache_is_fetched_again(tmp_path: Path, ball: MicroModel) -> None:
    class Forgetful(FolderImages):
        def locate(self, url: str, project_key: str, task_id: int | None = None):
            found = super().locate(url, project_key, task_id)
            return replace(found, path=tmp_path / "gone") if len(self.asked) == 1 else found

    picture(tmp_path, "a.png", (10, 10))
    backend = labeller(Forgetful(tmp_path), {"m": replace(ball, factor=0.99)})
    (answer,) = backend.label(work({WHOLE: "m"}), [Task(1, {"image": "a.png"})])
    assert len(boxes(answer)) == 1


def test_what_is_doubtful_has_a_low_score_and_is_told(tmp_path: Path, ball: MicroModel) -> None:
    picture(tmp_path, "sure.png", (10, 10))
    picture(tmp_path, "doubtful.png", (10, 10), (17, 17))  # as if it were one, with gaps
    picture(tmp_path, "none.png")
    names = ["sure", "doubtful", "none"]
    tasks = [Task(number, {"image": f"{name}.png"}) for number, name in enumerate(names)]
    shown: dict[int, tuple[float, int]] = {}

    def told(task_id: int, score: float, found) -> None:
        shown[task_id] = score, len(found)

    backend = labeller(FolderImages(tmp_path), {"m": ball}, micro_score_threshold=0.6)
    answers = list(backend.label(work({WHOLE: "m"}), tasks, shown=told))
    scores = [one.prediction.score for one in answers if one.prediction]
    assert scores[0] > max(scores[1:])
    assert scores[2] < 0.6  # each example has a ball, and here is none
    assert [shown[number] for number in range(3)] == [
        (score, len(boxes(answer))) for score, answer in zip(scores, answers, strict=True)
    ]


def test_nothing_below_the_threshold_is_shown(tmp_path: Path, ball: MicroModel) -> None:
    picture(tmp_path, "a.png", (10, 10))
    tasks = [Task(1, {"image": "a.png"})]
    ((score,),) = (
        [one.score for one in regions(answer)]
        for answer in labeller(FolderImages(tmp_path), {"m": ball}).label(work({WHOLE: "m"}), tasks)
    )
    for threshold, count in ((score - 0.01, 1), (score + 0.01, 0)):
        backend = labeller(FolderImages(tmp_path), {"m": ball}, micro_score_threshold=threshold)
        (answer,) = backend.label(work({WHOLE: "m"}), tasks)
        assert len(boxes(answer)) == count


def test_a_model_that_is_gone_is_told(tmp_path: Path, ball: MicroModel) -> None:
    picture(tmp_path, "a.png", (10, 10))
    backend = labeller(FolderImages(tmp_path), {"day": ball})
    tasks = [Task(n, {"image": "a.png", "scene": name}) for n, name in enumerate(["day", "night"])]
    with pytest.raises(ModelMissing, match="rollback") as caught:
        list(backend.label(work({WHOLE: "gone"}), tasks))
    assert "secret" not in str(caught.value)
    day, night = backend.label(work({field("day"): "day", field("night"): "gone"}), tasks)
    assert len(boxes(day)) == 1
    assert isinstance(night.error, ModelMissing)


def test_a_video_is_tracked(tmp_path: Path, ball: MicroModel) -> None:
    places = [None] * 6 + [(20 + 2 * n, 20) for n in range(14)] + [None] * 10
    backend = labeller(None, {"m": ball}, DrawnVideos(places, tmp_path))
    tasks = [Task(7, {"video": "a.mp4"}), Task(8, {"video": "b.mp4"}), Task(7, {})]
    seen: list[tuple[int | None, int, int]] = []
    answer, others, empty = backend.label(
        work({CLIP: "m"}, CLIPS),
        tasks,
        progress=lambda *done: seen.append((done[0].id, *done[1:])),
    )
    assert answer.prediction is not None
    assert answer.prediction.clip is not None
    (placed,) = answer.prediction.regions
    assert isinstance(placed, PlacedTrack)
    there = [interpolate(placed.track, frame) is not None for frame in range(len(places))]
    assert sum(a == (b is not None) for a, b in zip(there, places, strict=True)) >= len(places) - 2
    assert encode_prediction(answer.prediction, CLIP_CONFIG)["result"][0]["from_name"] == "t"
    assert 0 <= answer.prediction.score <= 1
    assert others == Labelled(tasks[1])
    assert empty.error is not None
    assert seen[-1][0] == 7
    assert seen[-1][2] >= len(places)


def test_who_is_told_of_the_progress_may_stop_it(tmp_path: Path, ball: MicroModel) -> None:
    def stop(task: Task, done: int, in_all: int) -> None:
        raise KeyError("enough")

    backend = labeller(None, {"m": ball}, DrawnVideos([(5, 5)] * 50, tmp_path))
    with pytest.raises(KeyError, match="enough"):
        list(backend.label(work({CLIP: "m"}, CLIPS), [Task(7, {"video": "a"})], progress=stop))


def test_a_model_that_fails_costs_its_task(tmp_path: Path, ball: MicroModel) -> None:
    class Odd:
        labels = ("ball",)

        def detect(self, images, *, min_score=0.0):
            if isinstance(images[0], Image) and images[0].pixels[0, 0, 0] == 230:
                raise RuntimeError("/secret/place")
            return [[] for _ in images]

    picture(tmp_path, "good.png", (10, 10))
    picture(tmp_path, "bad.png", (0, 0))
    backend = labeller(FolderImages(tmp_path), {"m": replace(ball, learned=Odd())})
    tasks = [Task(n, {"image": name}) for n, name in enumerate(["bad.png", "good.png"])]
    bad, good = backend.label(work({WHOLE: "m"}), tasks)
    assert "RuntimeError" in str(bad.error)
    assert "secret" not in str(bad.error)
    assert regions(good) == []
