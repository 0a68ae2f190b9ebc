from __future__ import annotations

import math

import numpy as np
import pytest

from micro_models.evaluation.overlap import bounds, similarities, similarity
from micro_models.geometry import ellipse_to_mask, polygon_to_mask
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


def polygon(*points: tuple[float, float]) -> Polygon:
    return Polygon(np.array(points, np.float32))


def skeleton(*points: tuple[float, float], scores: tuple[float, ...] | None = None) -> Keypoints:
    seen = scores or (1.0,) * len(points)
    return Keypoints(np.array(points, np.float32), np.array(seen, np.float32))


def mask(x0: int, y0: int, x1: int, y1: int, width: int = 40, height: int = 30) -> Mask:
    pixels = np.zeros((height, width), np.bool_)
    pixels[y0:y1, x0:x1] = True
    return Mask(pixels)


BOX = Box(10, 10, 30, 20)
SQUARE = polygon((10, 10), (30, 10), (30, 20), (10, 20))
CORNER_OF_1 = skeleton((0, 0), (100, 0))
HALF_PX = 10 * math.sqrt(2 * math.log(2))  # of a skeleton 100 px long


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (BOX, BOX, 1.0),
        (BOX, Box(20, 10, 40, 20), 1 / 3),
        (BOX, Box(30, 10, 50, 20), 0.0),  # they touch
        (Box(5, 5, 5, 5), Box(5, 5, 5, 5), 0.0),  # nothing has no area in common
        (BOX, RotatedBox(20, 15, 20, 10, 0), 1.0),
        (BOX, RotatedBox(20, 15, 10, 20, 90), 1.0),
        (BOX, SQUARE, 1.0),
        (SQUARE, polygon((10, 10), (30, 10), (10, 20)), 0.5),
        (SQUARE, mask(10, 10, 30, 20), 1.0),
        (mask(10, 10, 30, 20), mask(10, 10, 20, 20), 0.5),
        (mask(0, 0, 40, 30), mask(0, 0, 40, 30, 80, 60), 1.0),  # of images of two sizes
        (mask(0, 0, 0, 0), mask(0, 0, 0, 0), 0.0),
        (Ellipse(50, 50, 40, 40), Box(10, 10, 90, 90), math.pi / 4),
        (Ellipse(50, 50, 0.8, 0.8), Box(49.2, 49.2, 50.8, 50.8), math.pi / 4),
        (Ellipse(0, 0, 4000, 4000), Box(-4000, -4000, 4000, 4000), math.pi / 4),
        (Point(0, 0), Point(0, 10), 0.5),
        (Point(0, 0), Point(0, 0), 1.0),
        (WholeImage(), WholeImage(), 1.0),
        (WholeImage(), BOX, 0.0),
        (Point(15, 15), BOX, 0.0),
        (CORNER_OF_1, CORNER_OF_1, 1.0),
        (skeleton((0, HALF_PX), (100, 0)), CORNER_OF_1, 0.75),
        (skeleton((0, 0), (100, 0), scores=(1, 0)), CORNER_OF_1, 0.5),  # says it sees no second
        (skeleton((0, 0), (7, 7)), skeleton((0, 0), (9, 9), scores=(1, 0)), 1.0),
        (skeleton((0, 0)), CORNER_OF_1, 0.0),
        (CORNER_OF_1, skeleton((0, 0), (100, 0), scores=(0, 0)), 0.0),
        (skeleton((0, 10)), skeleton((0, 0)), 0.5),
    ],
)
def test_two_shapes(one: Shape, other: Shape, expected: float) -> None:
    assert similarity(one, other) == pytest.approx(expected, abs=0.01)


def test_two_octagons_of_rotated_squares() -> None:
    common = 8 * (math.sqrt(2) - 1) * 10**2  # a regular octagon around a circle of radius 10
    turned = similarity(RotatedBox(1e5, 50, 20, 20, 45), RotatedBox(1e5, 50, 20, 20, 0))
    assert turned == pytest.approx(common / (800 - common), abs=1e-3)


@pytest.mark.parametrize(
    "shape",
    [
        Ellipse(22.5, 14.0, 12.0, 5.0, 30.0),
        polygon((3, 3), (33, 8), (20, 25)),
        RotatedBox(20, 15, 14, 8, 70),
    ],
)
def test_a_shape_and_its_own_mask_are_alike(shape: Shape) -> None:
    if isinstance(shape, Ellipse):
        drawn = ellipse_to_mask(shape, width_px=40, height_px=30)
    else:
        outline = shape if isinstance(shape, Polygon) else Polygon(shape.corners())
        drawn = polygon_to_mask(outline, width_px=40, height_px=30)
    assert similarity(shape, drawn) == 1.0
    edges, tight = bounds(shape), bounds(drawn)
    assert edges.x0 <= tight.x0 + 0.51
    assert edges.y1 >= tight.y1 - 0.51


def test_a_table_is_each_with_each() -> None:
    shapes: list[Shape] = [BOX, SQUARE, Point(1, 1), WholeImage(), mask(10, 10, 20, 20)]
    table = similarities(shapes, shapes[:3])
    assert table.shape == (5, 3)
    assert table.tolist() == [[similarity(one, other) for other in shapes[:3]] for one in shapes]
    assert similarities([], shapes).shape == (0, 5)
    assert similarities(shapes, []).shape == (5, 0)
