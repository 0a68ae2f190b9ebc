"""Every small YOLO finds what was drawn; the contract holds for any image and any option."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from micro_models.detections import Detection, DetectOptions, DetectorTask
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.yolo import Yolo, load_yolo
from micro_models.engines.yolo_findings import Findings
from micro_models.engines.yolo_network import YoloSpec
from micro_models.regions import Box, Image
from tests.small_yolo import CLASSES, draw, iou

SEEDS = range(12)
OPTIONS = DetectOptions()
TASKS = list(DetectorTask)


def pairs(truth: Sequence[Detection], found: Sequence[Detection]) -> Iterator[tuple[Any, Any]]:
    """Each drawn object with the found one that overlaps it most."""
    for drawn in truth:
        assert found, f"nothing found where {drawn.label} was drawn"
        yield drawn, max(found, key=lambda one: iou(drawn.box, one.box))


def alike(a: Sequence[Detection], b: Sequence[Detection]) -> bool:
    """Whether two answers are the same up to rounding."""
    return len(a) == len(b) and all(
        one.label == two.label
        and abs(one.score - two.score) < 1e-3
        and (one.box is None or np.allclose(edges(one), edges(two), atol=0.1))
        for one, two in zip(a, b, strict=True)
    )


def edges(one: Detection) -> tuple[float, ...]:
    assert one.box is not None
    return dataclasses.astuple(one.box)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def yolos(small_yolo: Path, cache: Path) -> dict[DetectorTask, Yolo]:
    return {task: load_yolo(small_yolo / f"{task}.pt", cache_dir=cache) for task in TASKS}


# What is found ------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 7.3])
@pytest.mark.parametrize("task", [task for task in TASKS if task != DetectorTask.CLASSIFY])
def test_it_finds_what_was_drawn(
    yolos: dict[DetectorTask, Yolo], task: DetectorTask, scale: float
) -> None:
    scenes = [draw(task, seed, scale=scale) for seed in SEEDS]
    answers = yolos[task].detect([image for image, _ in scenes], options=OPTIONS)
    overlaps = []
    for (_, truth), found in zip(scenes, answers, strict=True):
        for drawn, seen in pairs(truth, found):
            assert seen.label == drawn.label
            overlaps.append(iou(drawn.box, seen.box))
    assert np.mean(overlaps) > 0.8
    assert sum(len(found) for found in answers) <= len(overlaps) + 3


@pytest.mark.parametrize("scale", [1.0, 7.3])
def test_masks_lie_on_their_objects(yolos: dict[DetectorTask, Yolo], scale: float) -> None:
    overlaps, offsets = [], []
    for seed in SEEDS:
        image, truth = draw(DetectorTask.SEGMENT, seed, scale=scale)
        found = yolos[DetectorTask.SEGMENT].detect([image], options=OPTIONS)[0]
        for drawn, seen in pairs(truth, found):
            mask = seen.outline.mask(seen.box).pixels
            true = drawn.outline.values > 0.5
            overlaps.append((mask & true).sum() / (mask | true).sum())
            offsets.append(np.argwhere(mask).mean(axis=0) - np.argwhere(true).mean(axis=0))
    assert np.mean(overlaps) > 0.85
    # No side is favoured: a mask shifted by half a cell would show as 2 px and more of 128.
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.5 * scale


@pytest.mark.parametrize("scale", [1.0, 7.3])
def test_key_points_lie_on_their_corners(yolos: dict[DetectorTask, Yolo], scale: float) -> None:
    distances = []
    for seed in SEEDS:
        image, truth = draw(DetectorTask.POSE, seed, scale=scale)
        found = yolos[DetectorTask.POSE].detect([image], options=OPTIONS)[0]
        for drawn, seen in pairs(truth, found):
            assert ((seen.keypoints.scores >= 0) & (seen.keypoints.scores <= 1)).all()
            off = seen.keypoints.points - drawn.keypoints.points
            distances.append(np.hypot(*off.T).max() / scale)
    assert np.median(distances) < 3


@pytest.mark.parametrize("scale", [1.0, 7.3])
def test_turned_boxes_turn_clockwise(yolos: dict[DetectorTask, Yolo], scale: float) -> None:
    wrong_deg = []
    for seed in SEEDS:
        image, truth = draw(DetectorTask.OBB, seed, scale=scale)
        found = yolos[DetectorTask.OBB].detect([image], options=OPTIONS)[0]
        for drawn, seen in pairs(truth, found):
            long = 90 if seen.rotated.width_px < seen.rotated.height_px else 0
            apart = (seen.rotated.angle_deg + long - drawn.rotated.angle_deg) % 180
            wrong_deg.append(min(apart, 180 - apart))
            corners = seen.rotated.corners()
            hull = Box(*corners.min(0).tolist(), *corners.max(0).tolist())
            assert iou(hull, seen.box) > 0.9
    assert np.median(wrong_deg) < 8


def test_a_classifier_gives_every_class_best_first(yolos: dict[DetectorTask, Yolo]) -> None:
    yolo = yolos[DetectorTask.CLASSIFY]
    right = 0
    for seed in SEEDS:
        image, [drawn] = draw(DetectorTask.CLASSIFY, seed)
        found = yolo.detect([image], options=DetectOptions(min_score=0.0))[0]
        assert sorted(one.label for one in found) == sorted(CLASSES[DetectorTask.CLASSIFY])
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert sum(one.score for one in found) == pytest.approx(1, abs=0.01)
        assert all(one.box is None for one in found)
        right += found[0].label == drawn.label
        sure = yolo.detect([image], options=DetectOptions(min_score=found[0].score - 0.001))[0]
        assert sure[0].label == found[0].label
        assert len(sure) < len(found)
    assert right >= len(SEEDS) - 1


def test_real_photo(shared: Path, cache: Path) -> None:
    picture = cv2.imread(str(shared / "data/label-studio/ml-backend-yolo-tests/car.jpg"))
    photo = Image(np.ascontiguousarray(picture[..., ::-1]))
    for name in (
        "yolo11n_256_quant_detect_coco80-st.tflite",
        "yolov8n_320_quant_pc_ii_seg_coco-st.tflite",
    ):
        yolo = load_yolo(shared / "weights" / name, cache_dir=cache)
        assert len(yolo.labels) == 80
        found = yolo.detect([photo], options=OPTIONS)[0]
        best = {one.label: one for one in reversed(found)}
        assert iou(best["car"].box, Box(160, 60, 700, 505)) > 0.8
        assert best["person"].score > 0.5
        for one in found:
            if yolo.task is DetectorTask.SEGMENT:
                assert one.outline is not None
                assert one.box is not None
                assert one.outline.mask(one.box).area_px > 0


# Options ------------------------------------------------------------------------------------


def test_a_low_threshold_means_what_it_says(yolos: dict[DetectorTask, Yolo]) -> None:
    # Fainter and fainter: the scores fall from sure to nothing.
    clear = [draw(DetectorTask.DETECT, seed)[0].pixels for seed in SEEDS]
    images = [Image((120 + (one - 120.0) * k).astype(np.uint8)) for one in clear for k in FAINT]
    yolo = yolos[DetectorTask.DETECT]
    every = [one.score for found in yolo.detect(images, options=_at(0.001)) for one in found]
    for low in (0.02, 0.05, 0.1, 0.25, 0.6):
        found = [one.score for found in yolo.detect(images, options=_at(low)) for one in found]
        assert sorted(found) == pytest.approx(sorted(one for one in every if one >= low), abs=1e-3)
    assert sum(0.02 < one < 0.25 for one in every) > 3
    assert yolo.detect(images, options=_at(1.0)) == [[] for _ in images]


FAINT = (0.15, 0.2, 0.25, 0.3, 0.4)


def _at(min_score: float) -> DetectOptions:
    return DetectOptions(min_score=min_score)


def test_classes_are_chosen_by_name(yolos: dict[DetectorTask, Yolo]) -> None:
    for task, yolo in yolos.items():
        images = [draw(task, seed)[0] for seed in SEEDS]
        name = CLASSES[task][0]
        options = DetectOptions(min_score=0.02, classes=frozenset({name, "unicorn"}))
        found = [one for answer in yolo.detect(images, options=options) for one in answer]
        assert {one.label for one in found} == {name}
        nobody = DetectOptions(classes=frozenset({"unicorn"}))
        assert yolo.detect(images, options=nobody) == [[] for _ in images]


def test_how_many_and_how_close(yolos: dict[DetectorTask, Yolo]) -> None:
    yolo, image = yolos[DetectorTask.DETECT], draw(DetectorTask.DETECT, 0)[0]
    many = yolo.detect([image], options=_at(0.0))[0]
    few = yolo.detect([image], options=DetectOptions(min_score=0, max_objects=2))[0]
    assert len(many) > len(few) == 2
    apart = yolo.detect([image], options=DetectOptions(min_score=0, max_overlap=0.1))[0]
    assert len(apart) < len(many)
    any_class = DetectOptions(min_score=0, max_overlap=0.1, across_classes=True)
    assert len(yolo.detect([image], options=any_class)[0]) < len(apart)


def test_another_size_is_rounded_to_whole_strides(yolos: dict[DetectorTask, Yolo]) -> None:
    image, truth = draw(DetectorTask.DETECT, 1)
    for size in (1, 129, 200):
        found = yolos[DetectorTask.DETECT].detect(
            [image], options=DetectOptions(image_size_px=size, augment=True)
        )[0]
        if size > 1:
            assert {one.label for one in found} == {one.label for one in truth}


def test_augment_changes_the_answer_where_it_can(yolos: dict[DetectorTask, Yolo]) -> None:
    for task, yolo in yolos.items():
        image = draw(task, 2)[0]
        plain = yolo.detect([image], options=OPTIONS)[0]
        more = yolo.detect([image], options=DetectOptions(augment=True))[0]
        assert more[0].label == plain[0].label
        # And nothing of it stays behind.
        assert alike(yolo.detect([image], options=OPTIONS)[0], plain)
        if task is DetectorTask.DETECT:
            assert not alike(more, plain)


# Images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_any_image_any_number(yolos: dict[DetectorTask, Yolo], task: DetectorTask) -> None:
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (1, 3000), (3000, 1), (2, 1), (31, 33), (7000, 5700), (640, 480)]
    images = [draw(task, 5)[0], *(_noise(rng, *size) for size in sizes), draw(task, 6)[0]]
    answers = yolos[task].detect(images, options=DetectOptions(min_score=0.01, max_objects=40))
    assert len(answers) == len(images)
    for image, found in zip(images, answers, strict=True):
        assert all(0 <= one.score <= 1 and one.label in CLASSES[task] for one in found)
        for box in (one.box for one in found if one.box):
            assert 0 <= box.x0 < box.x1 <= image.width_px
            assert 0 <= box.y0 < box.y1 <= image.height_px
    # Neighbours in the batch change nothing.
    for index in (0, -1):
        alone = yolos[task].detect(
            [images[index]], options=DetectOptions(min_score=0.01, max_objects=40)
        )
        assert alike(alone[0][:4], answers[index][:4])
    assert yolos[task].detect([], options=OPTIONS) == []


def _noise(rng: np.random.Generator, width: int, height: int) -> Image:
    small = rng.integers(0, 255, (min(height, 64), min(width, 64), 3), dtype=np.uint8)
    return Image(cv2.resize(small, (width, height)).reshape(height, width, 3))


def test_a_blank_image_has_no_objects(yolos: dict[DetectorTask, Yolo]) -> None:
    grey = Image(np.full((90, 120, 3), 114, np.uint8))
    for task, yolo in yolos.items():
        if task is not DetectorTask.CLASSIFY:
            assert yolo.detect([grey], options=OPTIONS) == [[]]


def test_eight_threads_get_their_own_answers(yolos: dict[DetectorTask, Yolo]) -> None:
    for task, yolo in yolos.items():
        scenes = [draw(task, 100 + index, scale=1 + index / 8)[0] for index in range(16)]
        options = [DetectOptions(min_score=0.05 + 0.03 * index) for index in range(16)]

        def run(index: int, yolo: Yolo = yolo, scenes: Any = scenes, options: Any = options) -> Any:
            return yolo.detect([scenes[index]], options=options[index])[0]

        one_by_one = [run(index) for index in range(16)]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(run, [*range(16)] * 2))
        for index, found in enumerate(together):
            assert alike(found, one_by_one[index % 16])


# Memory -------------------------------------------------------------------------------------


class FakeNetwork:
    """Finds one box over each whole input; a GPU too small for more than `most` of them."""

    def __init__(self, device: str, most: int) -> None:
        self.device, self.most, self.nbytes = device, most, 1000
        self.spec = YoloSpec(DetectorTask.DETECT, ("thing",), (64, 64))
        self.batches: list[int] = []

    def infer(self, inputs: Any, options: Any, classes: Any) -> list[Findings]:
        self.batches.append(len(inputs))
        if len(inputs) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return [self._found(*pixels.shape[:2]) for pixels in inputs]

    def _found(self, height: int, width: int) -> Findings:
        return Findings(
            np.zeros(1, np.intp), np.float32([0.9]), boxes=np.float32([[0, 0, width, height]])
        )


def test_a_full_gpu_means_a_smaller_batch(caplog: pytest.LogCaptureFixture) -> None:
    gpu = FakeNetwork("cuda:0", most=3)
    yolo = Yolo(gpu, name="a", version="1", batch_px=16 * 64 * 64, on_cpu=lambda: gpu)
    images = [Image(np.full((64, 64, 3), index, np.uint8)) for index in range(20)]
    with caplog.at_level(logging.WARNING):
        assert [len(found) for found in yolo.detect(images, options=OPTIONS)] == [1] * 20
    assert "out of memory; now 8 images at once" in caplog.text
    gpu.batches.clear()
    yolo.detect(images, options=OPTIONS)
    assert max(gpu.batches) <= 3, "it should remember what fits"


def test_a_gpu_without_room_for_one_image_means_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    gpu, cpu = FakeNetwork("cuda:0", most=0), FakeNetwork("cpu", most=100)
    yolo = Yolo(gpu, name="a.pt", version="1", batch_px=4 * 64 * 64, on_cpu=lambda: cpu)
    images = [Image(np.zeros((64, 64, 3), np.uint8)) for _ in range(5)]
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: yolo.detect(images, options=OPTIONS), range(4)))
    assert [[len(found) for found in answer] for answer in answers] == [[1] * 5] * 4
    assert yolo.device == "cpu"
    assert caplog.text.count("a.pt goes to the CPU") == 1
    assert sum(cpu.batches) == 20


def test_a_gpu_without_room_for_the_model_means_the_cpu(
    small_yolo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def load(path: Path, *, task: DetectorTask | None, device: str) -> FakeNetwork:
        if device != "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return FakeNetwork(device, most=1)

    monkeypatch.setattr("micro_models.engines.yolo._present", lambda device: "cuda:0")
    monkeypatch.setattr("micro_models.engines.yolo.load_network", load)
    with caplog.at_level(logging.WARNING):
        yolo = load_yolo(small_yolo / "detect.pt", cache_dir=tmp_path)
    assert yolo.device == "cpu"
    assert "cuda:0 is out of memory; detect.pt goes to the CPU" in caplog.text
    assert len(yolo.detect([Image(np.zeros((9, 9, 3), np.uint8))] * 2, options=OPTIONS)) == 2


def test_a_cpu_without_room_says_so() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Yolo(FakeNetwork("cpu", most=0), name="a", version="1").detect(
            [Image(np.zeros((8, 8, 3), np.uint8))], options=OPTIONS
        )


def test_many_crowded_images_are_never_dropped(yolos: dict[DetectorTask, Yolo]) -> None:
    """ultralytics gives up on a batch after 2 s of suppression; one by one none is lost."""
    yolo = yolos[DetectorTask.DETECT]
    rng = np.random.default_rng(1)
    images = [_noise(rng, 640, 640) for _ in range(3)]
    options = DetectOptions(min_score=0.0, image_size_px=640)
    assert all(len(found) == 300 for found in yolo.detect(images, options=options))


# What it tells of itself --------------------------------------------------------------------


def test_what_it_tells_of_itself(yolos: dict[DetectorTask, Yolo], small_yolo: Path) -> None:
    for task, yolo in yolos.items():
        assert yolo.task is task
        assert tuple(yolo.labels) == tuple(sorted(CLASSES[task])) or yolo.labels == CLASSES[task]
        assert yolo.name == f"{task}.pt on {yolo.device}"
        assert yolo.nbytes > 2 * 100_000
    assert len({yolo.version for yolo in yolos.values()}) == len(yolos)


def test_a_version_follows_the_weights_not_the_place(
    small_yolo: Path, cache: Path, tmp_path: Path, yolos: dict[DetectorTask, Yolo]
) -> None:
    copy = tmp_path / "detect.pt"
    copy.write_bytes((small_yolo / "detect.pt").read_bytes())
    assert load_yolo(copy, cache_dir=cache).version == yolos[DetectorTask.DETECT].version
    copy.write_bytes((small_yolo / "pose.pt").read_bytes())
    assert load_yolo(copy, cache_dir=cache).version != yolos[DetectorTask.DETECT].version


def test_a_device_that_is_not_there(small_yolo: Path, cache: Path) -> None:
    with pytest.raises(CheckpointError, match="device"):
        load_yolo(small_yolo / "detect.pt", device="cuda:77", cache_dir=cache)
    with pytest.raises(CheckpointError, match="device"):
        load_yolo(small_yolo / "detect.pt", device="toaster", cache_dir=cache)
