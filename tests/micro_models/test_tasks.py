"""What examples ask for: shapes by majority, and classes that exclude each other or not."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.examples import Example
from micro_models.regions import Box, Keypoints, Mask, Point, Region, Shape, WholeImage
from micro_models.tasks import answers_of, exclusive

BOX, POINT, WHOLE = Box(1, 2, 3, 4), Point(1, 2), WholeImage()
MASK = Mask(np.ones((4, 4), np.bool_))


def skeleton(points: int) -> Keypoints:
    return Keypoints(np.zeros((points, 2), np.float32), np.ones(points, np.float32))


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([BOX, WHOLE, WHOLE], (WholeImage, 0)),
        ([POINT, BOX], (Box, 0)),  # as many: the first by name, whatever was labelled first
        ([MASK, BOX, MASK], (Mask, 0)),
        ([skeleton(3), skeleton(4), skeleton(4)], (Keypoints, 4)),
        ([skeleton(0), skeleton(0), skeleton(2)], (Keypoints, 2)),
        ([skeleton(0)], (Keypoints, 0)),
    ],
)
def test_the_shape_of_most_regions(shapes: list[Shape], expected: tuple[type, int]) -> None:
    (answer,) = answers_of([Example("a.png", [Region("it", shape)]) for shape in shapes])
    assert (answer.shape, answer.points) == expected


def test_labels_are_sorted() -> None:
    regions = [Region(label, BOX) for label in ("b", "ä", "a")]
    assert [one.label for one in answers_of([Example("a.png", regions)])] == ["a", "b", "ä"]
    assert answers_of([Example("a.png")]) == ()


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([["a"], ["b"], ["a"]], True),
        ([["a"], ["b"], []], False),  # none of them is an answer too
        ([["a"], ["a"]], False),  # nothing to choose from
        ([["a", "b"], ["a"]], False),
        ([["a", "a"], ["b"]], True),  # said twice
        ([[], []], False),
        ([], False),
    ],
)
def test_when_classes_exclude_each_other(sets: list[list[str]], expected: bool) -> None:
    examples = [Example("a.png", [Region(label, WHOLE) for label in one]) for one in sets]
    assert exclusive(examples) is expected
