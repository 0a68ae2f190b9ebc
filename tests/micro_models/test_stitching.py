from __future__ import annotations

import numpy as np
import pytest

from micro_models.regions import (
    Box,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)
from micro_models.stitching import stitched


def mask(x1: int) -> Mask:
    pixels = np.zeros((40, 40), np.bool_)
    pixels[5:30, 5:x1] = True
    return Mask(pixels)


def skeleton(shift: float) -> Keypoints:
    points = np.array([(5, 5), (30, 5), (15, 30)], np.float32) + np.float32(shift)
    return Keypoints(points, np.ones(3, np.float32))


BOX = Box(5, 5, 30, 30)
SQUARE = Polygon(np.array([(5, 5), (30, 5), (30, 30), (5, 30)], np.float32))


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        (BOX, Box(5, 5, 30, 29), True),
        (BOX, Box(5, 5, 30, 20), False),
        (BOX, RotatedBox(17.5, 17.5, 25, 24, 2), True),  # one control holds both
        (BOX, SQUARE, False),  # both may be wanted
        (mask(30), mask(29), True),
        (mask(30), mask(15), False),
        (Point(9, 9), Point(10, 9), True),
        (Point(9, 9), Point(30, 9), False),
        (skeleton(0), skeleton(0.5), True),
        (skeleton(0), skeleton(20), False),
        (WholeImage(), WholeImage(), False),  # their control decides
    ],
)
@pytest.mark.parametrize("other_label", ["car", "bus"])
def test_the_surer_of_two_models_stays(
    one: Shape, other: Shape, are_one: bool, other_label: str
) -> None:
    first, second = Region("car", one, 0.4), Region(other_label, other, 0.6)
    expected = [second] if are_one else [second, first]
    assert stitched([[first], [second]]) == expected
    assert stitched([[second], [first]]) == expected


def test_what_one_model_says_is_left_as_it_is() -> None:
    twice = [Region("car", BOX, 0.5), Region("car", BOX, 0.7), Region("dog", BOX, 0.6)]
    assert [one.score for one in stitched([twice])] == [0.7, 0.6, 0.5]
    assert [one.score for one in stitched([[], twice, []])] == [0.7, 0.6, 0.5]
    assert len(stitched([twice, [Region("car", Box(50, 50, 60, 60), 0.1)]])) == 4


def test_the_best_one_displaces_all_of_another_model() -> None:
    weak = [Region("car", BOX, 0.5), Region("bus", BOX, 0.7)]
    assert stitched([weak, [Region("cab", BOX, 0.8)]]) == [Region("cab", BOX, 0.8)]


def test_who_was_displaced_displaces_nobody() -> None:
    # The second is like both others, which are not like each other.
    first, second, third = (
        Region("car", Box(x, 0, x + 100, 50), score)
        for x, score in ((0, 0.9), (15, 0.8), (30, 0.7))
    )
    assert stitched([[first], [second], [third]]) == [first, third]


def test_of_equals_the_earlier_model_counts() -> None:
    one, other = Region("car", BOX, 0.5), Region("bus", BOX, 0.5)
    assert stitched([[one], [other]]) == [one]
    assert stitched([[other], [one]]) == [other]


def test_nothing_makes_nothing() -> None:
    assert stitched([]) == stitched([[], []]) == []
