"""From a network's input back to the image: nothing shifts, nothing impossible comes through."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.detections import Detection
from micro_models.engines.letterbox import Letterbox
from micro_models.engines.yolo_findings import Findings, detections
from micro_models.regions import Box, Image

SIZES = [(640, 480), (480, 640), (1, 1), (1, 999), (999, 1), (37, 41), (6000, 4000)]


def image(width: int, height: int) -> Image:
    return Image(np.zeros((height, width, 3), np.uint8))


def told(found: Findings, placed: Letterbox) -> list[Detection]:
    return list(detections(found, placed, ("a", "b"), min_score=0.25))


def one(placed: Letterbox, **more: np.ndarray) -> Findings:
    """One object, its box as large as the image."""
    x, y = placed.corner_px
    box = np.float32([[x, y, x + placed.inner_px[0], y + placed.inner_px[1]]])
    return Findings(np.zeros(1, np.intp), np.float32([0.9]), **{"boxes": box, **more})


@pytest.mark.parametrize("stride", [32, None])
@pytest.mark.parametrize("size", SIZES)
def test_an_input_holds_the_whole_image(size: tuple[int, int], stride: int | None) -> None:
    placed = Letterbox.fit(image(*size), (320, 320), stride_px=stride)
    assert placed.fill(image(*size)).shape == (placed.outer_px[1], placed.outer_px[0], 3)
    assert max(placed.inner_px) == 320
    assert stride is not None or placed.outer_px == (320, 320)
    assert stride is None or all(side % stride == 0 for side in placed.outer_px)
    [whole] = told(one(placed), placed)
    assert whole.box == Box(0, 0, *size)


def test_colours_and_places_of_an_input() -> None:
    pixels = np.zeros((30, 60, 3), np.uint8)
    pixels[:, 30:] = (255, 10, 0)
    placed = Letterbox.fit(Image(pixels), (120, 120), stride_px=None)
    filled = placed.fill(Image(pixels))
    assert (filled[:30] == 114).all()
    assert (filled[90:] == 114).all()
    assert filled[60, 100].tolist() == [0, 10, 255], "ultralytics wants blue first"
    assert filled[60, 20].tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", [(640, 480), (427, 640), (333, 517)])
def test_masks_are_freed_of_the_padding(size: tuple[int, int]) -> None:
    placed = Letterbox.fit(image(*size), (640, 640), stride_px=None)
    # In the input, log-odds that cross 0 at the image's center, exactly.
    middle = np.array(placed.corner_px) + np.array(placed.inner_px) / 2
    cells = (np.arange(160) + 0.5) * 4
    for axis in (0, 1):
        ramp = (cells - middle[axis]) / 4
        masks = np.tile(ramp if axis == 0 else ramp[:, None], (160, 1) if axis == 0 else (1, 160))
        [found] = told(one(placed, masks=masks[None].astype(np.float32)), placed)
        assert found.outline is not None
        assert found.box is not None
        mask = found.outline.mask(found.box).pixels
        first = mask.argmax(axis=1 - axis)
        assert np.abs(first - size[axis] / 2).max() <= 1


def test_an_object_without_any_mask_is_none() -> None:
    placed = Letterbox.fit(image(64, 64), (64, 64), stride_px=32)
    assert told(one(placed, masks=np.full((1, 16, 16), -5, np.float32)), placed) == []


def test_boxes_are_clipped_and_impossible_ones_left_out() -> None:
    placed = Letterbox.fit(image(100, 50), (200, 200), stride_px=None)
    rows = [
        [-30, -20, 500, 700],  # larger than the input
        [20, 60, 40, 80],
        [np.nan, 60, 40, 80],
        [20, -np.inf, 40, 80],
        [20, 0, 40, 30],  # in the padding
        [40, 60, 20, 80],  # inside out
    ]
    boxes = np.float32(rows)
    scores = np.linspace(0.9, 0.5, len(rows)).astype(np.float32)
    found = told(Findings(np.ones(len(rows), np.intp), scores, boxes=boxes), placed)
    assert [seen.box for seen in found] == [Box(0, 0, 100, 50), Box(10, 5, 20, 15)]
    assert {seen.label for seen in found} == {"b"}


def test_scores_stay_between_0_and_1_and_fall() -> None:
    placed = Letterbox.fit(image(64, 64), (64, 64), stride_px=32)
    scores = np.float32([0.3, 1.2, np.nan, 0.24, 0.25])
    boxes = np.tile(np.float32([0, 0, 9, 9]), (5, 1))
    found = told(Findings(np.zeros(5, np.intp), scores, boxes=boxes), placed)
    assert [seen.score for seen in found] == pytest.approx([1, 0.3, 0.25])


@pytest.mark.parametrize("columns", [2, 3])
def test_points_without_a_score_are_seen(columns: int) -> None:
    placed = Letterbox.fit(image(100, 50), (200, 200), stride_px=None)
    points = np.float32([[[100, 100, 0.25], [-50, 9999, 7], [np.nan, 60, np.nan]]])
    [found] = told(one(placed, points=points[..., :columns]), placed)
    assert found.keypoints is not None
    assert found.keypoints.points.tolist() == [[50, 25], [0, 50], [0, 5]]
    assert found.keypoints.scores.tolist() == ([1, 1, 1] if columns == 2 else [0.25, 1, 0])


def test_turned_boxes_keep_their_angle_and_grow_with_the_image() -> None:
    placed = Letterbox.fit(image(400, 200), (200, 200), stride_px=None)
    [found] = told(one(placed, rotated=np.float32([[100, 100, 40, 10, np.pi / 6]])), placed)
    assert found.rotated is not None
    assert (found.rotated.center_x, found.rotated.center_y) == (200, 100)
    assert (found.rotated.width_px, found.rotated.height_px) == pytest.approx((80, 20))
    assert found.rotated.angle_deg == pytest.approx(30)
    bad = np.float32([[100, np.nan, 40, 10, 0]])
    assert told(one(placed, rotated=bad), placed) == []


def test_an_outline_keeps_no_others_alive() -> None:
    """What was seen is remembered for long; of two here only one is."""
    placed = Letterbox.fit(image(64, 64), (64, 64), stride_px=None)
    box = np.float32([[0, 0, 64, 64]] * 2)
    masks = np.full((2, 16, 16), 5, np.float32)
    found = Findings(np.zeros(2, np.intp), np.float32([0.9, 0.1]), boxes=box, masks=masks)
    [kept] = told(found, placed)
    assert kept.outline is not None
    assert kept.outline.values.base is None
