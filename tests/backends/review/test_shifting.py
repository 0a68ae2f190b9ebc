"""Shapes that move: every corner by as much, a mask only within its picture."""

from __future__ import annotations

import numpy as np
import pytest

from backends.review.shifting import shifted
from micro_models.evaluation.overlap import bounds
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    RotatedBox,
    Shape,
    WholeImage,
)

SQUARE = np.pad(np.ones((4, 6), np.bool_), ((5, 11), (8, 6)))


@pytest.mark.parametrize(
    "shape",
    [
        Box(8, 5, 14, 9),
        RotatedBox(11, 7, 4, 6, 90),
        Ellipse(11, 7, 3, 2),
        Polygon(np.array([[8, 5], [14, 5], [14, 9], [8, 9]], np.float32)),
        Mask(SQUARE),
        Keypoints(np.array([[8, 5], [14, 9]], np.float32), np.ones(2, np.float32)),
        Point(8, 5),
    ],
    ids=lambda shape: type(shape).__name__,
)
@pytest.mark.parametrize("step", [(3, 2), (-4, -5), (0, 0)])
def test_it_moves_by_as_much(shape: Shape, step: tuple[int, int]) -> None:
    before, after = bounds(shape), bounds(shifted(shape, *step))
    moved = [after.x0 - before.x0, after.y0 - before.y0, after.x1 - before.x1, after.y1 - before.y1]
    assert moved == pytest.approx([*step, *step], abs=1e-4)


@pytest.mark.parametrize("step", [(100, 0), (0, -100), (-100, 100)])
def test_a_mask_that_leaves_its_picture_is_empty(step: tuple[int, int]) -> None:
    moved = shifted(Mask(SQUARE), *step)
    assert isinstance(moved, Mask)
    assert (moved.pixels.shape, moved.area_px) == (SQUARE.shape, 0)


def test_a_whole_image_stays() -> None:
    assert shifted(WholeImage(), 5, 5) == WholeImage()
