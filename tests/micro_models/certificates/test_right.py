from __future__ import annotations

import numpy as np
import pytest

from micro_models.certificates import is_right
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)


def car(x: float, width: float = 10, label: str = "car", score: float = 1.0) -> Region:
    return Region(label, Box(x, 0, x + width, 10), score)


def mouse(*points: tuple[float, float, float]) -> Region:
    rows = np.array(points, np.float32)
    return Region("mouse", Keypoints(rows[:, :2], rows[:, 2]))


def disc(x: float) -> Shape:
    columns, rows = np.meshgrid(np.arange(60), np.arange(60))
    return Mask((columns - x) ** 2 + (rows - 30) ** 2 < 144)


def square(x: float) -> Shape:
    corners = [[x, 0], [x + 10, 0], [x + 10, 10], [x, 10]]
    return Polygon(np.array(corners, np.float32))


WET, DARK = Region("wet", WholeImage(), 0.6), Region("dark", WholeImage(), 0.9)
MOUSE = mouse((0, 0, 1), (100, 0, 1), (50, 20, 1))


@pytest.mark.parametrize(
    ("found", "truth", "right"),
    [
        ([], [], True),
        ([], [car(0)], False),
        ([car(0)], [], False),
        ([car(0)], [car(3)], True),  # IoU 0.54
        ([car(0)], [car(4)], False),  # 0.43
        ([car(0), car(50)], [car(50), car(0)], True),
        ([car(0), car(0)], [car(0), car(50)], False),
        ([car(0), car(1)], [car(0)], False),
        ([car(0, label="bus")], [car(0)], False),
        ([car(0, label="Fähre 渡し")], [car(0, label="Fähre 渡し")], True),
        # Two each: the surer one fits both, the other one only the first. There is a way.
        ([car(2, score=0.9), car(-2, score=0.5)], [car(0), car(4)], True),
        ([WET], [WET], True),
        ([WET], [DARK], False),
        ([DARK, WET], [WET, DARK], True),
        ([DARK], [WET, DARK], False),
        ([WET, car(0)], [WET], False),
        ([Region("n", Point(0, 0))], [Region("n", Point(6, 8))], True),
        ([Region("n", Point(0, 0))], [Region("n", Point(6, 9))], False),
        ([Region("n", Point(5, 5))], [Region("n", Box(0, 0, 10, 10))], False),
        ([MOUSE], [MOUSE], True),
        ([mouse((0, 9, 1), (100, 0, 1), (50, 20, 1))], [MOUSE], True),
        # One point far off is wrong, though three are alike on average.
        ([mouse((0, 12, 1), (100, 0, 1), (50, 20, 1))], [MOUSE], False),
        ([mouse((0, 0, 1), (100, 0, 0), (50, 20, 1))], [MOUSE], False),
        ([MOUSE], [mouse((0, 0, 1), (100, 0, 0), (50, 20, 1))], False),
        ([mouse((0, 0, 1), (100, 0, 1))], [MOUSE], False),
    ],
)
def test_what_is_right(found: list[Region], truth: list[Region], right: bool) -> None:
    assert is_right(found, truth) is right


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (square(0), square(6)),
        (disc(20), disc(34)),
        (RotatedBox(20, 20, 20, 8, 30), RotatedBox(20, 20, 20, 8, 120)),
        (Ellipse(20, 20, 10, 5), Ellipse(32, 20, 10, 5)),
    ],
)
def test_every_shape_with_an_area_counts_by_its_iou(one: Shape, other: Shape) -> None:
    assert is_right([Region("a", one)], [Region("a", one)], min_iou=0.99)
    assert not is_right([Region("a", one)], [Region("a", other)])


def test_a_box_may_be_compared_with_a_mask() -> None:
    assert is_right([Region("a", Box(8, 18, 32, 42))], [Region("a", disc(20))])


def test_how_near_is_asked() -> None:
    near = [Region("n", Point(0, 0))], [Region("n", Point(3, 0))]
    assert not is_right(*near, point_px=2)
    assert not is_right([mouse((0, 9, 1), (100, 0, 1), (50, 20, 1))], [MOUSE], point_part=0.05)
    # How near points have to be does not follow from the IoU.
    assert is_right(*near, min_iou=0.99)


@pytest.mark.parametrize("min_iou", [0.0, 1.1])
def test_an_iou_is_asked(min_iou: float) -> None:
    with pytest.raises(ValueError):
        is_right([], [], min_iou=min_iou)


def test_hundreds_are_paired() -> None:
    many = [car(20.0 * k) for k in range(200)]
    assert is_right(many, many[::-1])
