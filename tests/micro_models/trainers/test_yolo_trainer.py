"""The yolo trainer, on small checkpoints: every task learns, is stored, and comes back unharmed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from micro_models.budget import Budget, Progress
from micro_models.detections import Detection, DetectorTask
from micro_models.engines.checkpoints import CheckpointError
from micro_models.evaluation.matching import match
from micro_models.examples import Example, image_of
from micro_models.geometry import mask_to_polygons
from micro_models.interface import Learned, ModelFileError, State
from micro_models.regions import Image, Keypoints, Mask, Polygon, Region, Shape, WholeImage
from micro_models.trainers.yolo import YoloTrainer
from micro_models.trainers.yolo_architecture import assemble, checked
from micro_models.trainers.yolo_model import YoloModel
from tests.contract.trainer_cases import CASES
from tests.small_yolo import draw, network

SMALL = Path(__file__).parents[2] / "small_yolo"


@cache
def trainer(task: DetectorTask) -> YoloTrainer:
    return YoloTrainer(SMALL / f"{task.value}.pt")


@cache
def learned(task: DetectorTask) -> tuple[YoloModel, list[float | None]]:
    """After a few steps on six scenes, whose labels are new to the checkpoint; and the losses."""
    losses: list[float | None] = []
    told: Callable[[Progress], None] = lambda progress: losses.append(progress.loss)  # noqa: E731
    budget = Budget(steps=6 if task is DetectorTask.CLASSIFY else 24)
    model = trainer(task).fit(scenes(task, range(6)), budget=budget, seed=0, told=told)
    return model, losses


def scenes(task: DetectorTask, seeds: Sequence[int]) -> list[Example]:
    drawn = [draw(task, seed) for seed in seeds]
    return [
        Example(image, [Region(f"my {one.label}", shape(one)) for one in truth])
        for image, truth in drawn
    ]


def shape(truth: Detection) -> Shape:
    if truth.box is None:
        return WholeImage()
    if truth.outline is not None:
        # Discs are asked for as polygons, the others as masks.
        mask = Mask(truth.outline.values > 0.5)
        return mask_to_polygons(mask)[0] if truth.label == "disc" else mask
    return truth.keypoints or truth.rotated or truth.box


def images(examples: Sequence[Example]) -> list[Image]:
    return [image_of(example.picture) for example in examples]


def told_of(found: Sequence[Sequence[Region]]) -> list[Any]:
    """All of it, comparable."""
    return [
        [(one.label, one.score, str(numbers(one.shape))) for one in regions] for regions in found
    ]


def numbers(told: Shape) -> Any:
    if isinstance(told, Mask):
        return np.flatnonzero(told.pixels).tolist()
    if isinstance(told, Polygon):
        return told.points.tolist()
    if isinstance(told, Keypoints):
        return told.points.tolist(), told.scores.tolist()
    return told


def again(state: State, **settings: Any) -> Learned:
    """The model of a state that was written down, some of its settings changed."""
    plain = json.loads(json.dumps({**state.settings, **settings}))
    return YoloTrainer().restore(State(plain, dict(state.arrays)))


@pytest.mark.parametrize("task", DetectorTask)
def test_it_learns_new_labels(task: DetectorTask) -> None:
    model, losses = learned(task)
    test = scenes(task, range(100, 112))
    found = model.detect(images(test), min_score=0.3)
    wanted = [example.regions for example in test]
    if task is DetectorTask.CLASSIFY:
        best = [regions[0].label for regions in found]
        assert best == [regions[0].label for regions in wanted]
        return
    pairs = [match(one, other) for one, other in zip(found, wanted, strict=True)]
    right = sum(len(one.pairs) for one in pairs)
    assert right > 0.8 * sum(map(len, wanted))
    assert right > 0.8 * sum(map(len, found))
    kinds = {one.label: type(one.shape) for regions in wanted for one in regions}
    assert all(isinstance(one.shape, kinds[one.label]) for regions in found for one in regions)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])  # type: ignore[arg-type]


@pytest.mark.parametrize("task", DetectorTask)
def test_a_restored_model_gives_the_same(task: DetectorTask) -> None:
    model, _ = learned(task)
    test = images(scenes(task, range(100, 103)))
    before = told_of(model.detect(test, min_score=0.05))
    assert any(before)
    restored = again(model.state())
    assert restored.state().settings == model.state().settings
    assert told_of(restored.detect(test, min_score=0.05)) == before
    assert list(restored.labels) == list(model.labels) == sorted(model.labels)


def test_steps_and_seed_decide_and_nothing_global_changes() -> None:
    examples = scenes(DetectorTask.DETECT, range(3))
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()

    def fitted(seed: int) -> State:
        model = trainer(DetectorTask.DETECT).fit(examples, budget=Budget(steps=2), seed=seed)
        return model.state()

    one, same, other = fitted(0), fitted(0), fitted(1)
    assert all(np.array_equal(one.arrays[name], same.arrays[name]) for name in one.arrays)
    assert any(not np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    assert torch.equal(torch_before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])
    assert threads == torch.get_num_threads()


def test_a_label_that_the_checkpoint_knows_is_found_at_once() -> None:
    image, truth = draw(DetectorTask.DETECT, 7)
    regions = [Region(one.label.upper(), shape(one)) for one in truth]
    model = trainer(DetectorTask.DETECT).fit(
        [Example(image, regions)], budget=Budget(steps=1), seed=0
    )
    found = model.detect([image], min_score=0.5)[0]
    assert len(match(found, regions).pairs) == len(regions)


def test_to_cancel_is_to_raise_from_what_is_told() -> None:
    class Cancelled(Exception):
        pass

    def told(progress: Progress) -> None:
        assert progress.stage == "yolo"
        if progress.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        trainer(DetectorTask.DETECT).fit(
            scenes(DetectorTask.DETECT, [0]), budget=Budget(steps=9), seed=0, told=told
        )


def test_the_clock_ends_it() -> None:
    steps: list[int] = []
    trainer(DetectorTask.DETECT).fit(
        scenes(DetectorTask.DETECT, [0]),
        budget=Budget(seconds=0.01, steps=50),
        seed=0,
        told=lambda progress: steps.append(progress.step),
    )
    assert steps == [1]


SUITED = {
    DetectorTask.DETECT: {"one object", "unicode labels", "one label in several kinds"},
    DetectorTask.SEGMENT: {"one object", "ellipses", "polygons", "masks"},
    DetectorTask.OBB: {"rotated boxes"},
    DetectorTask.POSE: {"skeletons", "skeletons half seen", "skeletons of several lengths"},
    DetectorTask.CLASSIFY: {"one class each"},
}
ASKED = set.union(*SUITED.values()) | {
    "no object at all",
    "points",
    "one class only",
    "several classes each",
    "boxes and a class",
    "every kind",
}


@pytest.mark.parametrize("task", DetectorTask)
def test_it_suits_what_its_task_can_tell(task: DetectorTask) -> None:
    suited = {name for name in ASKED if trainer(task).suits(CASES[name]())}
    if task is DetectorTask.SEGMENT:  # it gives boxes, too
        suited -= SUITED[DetectorTask.DETECT] - SUITED[task]
    assert suited == SUITED[task]
    assert not YoloTrainer().suits(CASES["one object"]())


def test_a_classifier_is_for_pictures_of_one_class_each() -> None:
    day, night, none = (
        Example("dusk.png", [Region(label, WholeImage())] if label else [])
        for label in ("day", "night", "")
    )
    classifier = trainer(DetectorTask.CLASSIFY)
    assert classifier.suits([day, night])
    assert not classifier.suits([day, night, none])


def test_every_class_is_told_however_unlikely() -> None:
    model, _ = learned(DetectorTask.CLASSIFY)
    found = model.detect(images(scenes(DetectorTask.CLASSIFY, [100])), min_score=0.9)[0]
    assert sorted(one.label for one in found) == list(model.labels)


def test_who_writes_into_a_state_does_not_change_the_model() -> None:
    model, _ = learned(DetectorTask.CLASSIFY)
    for array in model.state().arrays.values():
        array[...] = 0
    assert any(array.any() for array in model.state().arrays.values())


def test_what_does_not_suit_is_an_error() -> None:
    with pytest.raises(ValueError, match="suits"):
        trainer(DetectorTask.DETECT).fit(CASES["masks"](), budget=Budget(steps=1), seed=0)


ROW = [-1, 1, "Conv", [8, 3, 2]]


def with_row(row: Any) -> Callable[[dict[str, Any]], None]:
    return lambda described: described["backbone"].append(row)


def with_value(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda described: described.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        with_row([-1, 1, "nn.Module", []]),
        with_row([-1, 1, "__import__('os').system", ["true"]]),
        with_row([-1, 1, "torchvision.ops.nms", []]),
        with_row([-1, 1, "TorchVision", [8, "resnet18", "DEFAULT"]]),
        with_row([-1, 1, "Conv", ["__import__('os').getcwd()"]]),
        with_row([-1, 1, "Conv", ["d"]]),
        with_row([-1, 1, "Conv", [{"a": 1}]]),
        with_row([-1, 1, "Conv", [float("nan")]]),
        with_row([-1, 1, "Conv", [10**9, 3, 1]]),
        with_row([-1, 10**6, "Conv", [8, 3, 1]]),
        with_row([99, 1, "Conv", [8, 3, 1]]),
        with_row([-1, 1, "Detect", ["nc"]]),
        with_row([-1, 1, "nn.Upsample", [None, 4096, "nearest"]]),
        with_row([[-1, 0], 1, "Concat", [1]]),
        with_row("Conv"),
        with_value("activation", "__import__('os').system('true')"),
        with_value("activation", "nn.Module()"),
        with_value("scales", {"n": [1, 1]}),
        with_value("scales", {"n": [1e9, 1, 1024]}),
        with_value("scale", "nc or exit()"),
        with_value("nc", "3"),
        with_value("nc", 10**9),
        with_value("backbone", [ROW] * 1000),
        with_value("head", []),
        with_value("head", None),
    ],
)
def test_a_hostile_build_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    described = deepcopy(network(DetectorTask.DETECT))
    change(described)
    with pytest.raises(ModelFileError):
        again(learned(DetectorTask.DETECT)[0].state(), architecture=described)


@pytest.mark.parametrize(
    "settings",
    [
        {"format": 2},
        {"task": "depth"},
        {"size_px": 10**9},
        {"size_px": True},
        {"answers": []},
        {"answers": [{"label": "a", "kind": "Circle", "points": 0}]},
        {"answers": [{"label": "b", "kind": "Box", "points": 0}]},
        {"answers": "abc"},
        {"architecture": None},
        {"points": [3]},
    ],
)
def test_damaged_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError):
        again(learned(DetectorTask.DETECT)[0].state(), **settings)


@pytest.mark.parametrize("harm", ["missing", "extra", "shape", "dtype", "nan"])
def test_damaged_weights_are_refused(harm: str) -> None:
    state = learned(DetectorTask.DETECT)[0].state()
    arrays = dict(state.arrays)
    name = next(iter(arrays))
    value = arrays.pop(name)
    changed = {
        "missing": {},
        "extra": {name: value, "more": value},
        "shape": {name: value[:1]},
        "dtype": {name: value.astype(np.float64)},
        "nan": {name: np.full_like(value, np.nan)},
    }[harm]
    with pytest.raises(ModelFileError):
        YoloTrainer().restore(State(state.settings, {**arrays, **changed}))


@pytest.mark.parametrize("name", ["none.pt", "notes.pt", "image.onnx"])
def test_a_foreign_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    if name != "none.pt":
        (tmp_path / name).write_text("nothing")
    with pytest.raises(CheckpointError, match=name):
        YoloTrainer(tmp_path / name)


@pytest.mark.parametrize("task", [DetectorTask.POSE, DetectorTask.CLASSIFY])
def test_a_network_is_put_together_without_memory(task: DetectorTask) -> None:
    structure = assemble(checked(network(task)), classes=5, points=(4, 3), folded=True)
    assert all(value.is_meta for value in structure.network.parameters())
    assert structure.shapes[f"{structure.class_layers[0]}.bias"] == (5,)
    assert all(structure.shapes[f"{name}.bias"] == (12,) for name in structure.point_layers)
