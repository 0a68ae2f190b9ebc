"""What a tiny network is asked for, and that no broken file passes for it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from micro_models.examples import Example
from micro_models.interface import ModelFileError
from micro_models.regions import (
    Box,
    Ellipse,
    Image,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)
from micro_models.trainers.tiny.spec import Kind, Located, Spec

IMAGE = Image(np.zeros((8, 8, 3), np.uint8))
TRIANGLE = Polygon(np.array([[0, 0], [4, 0], [0, 4]], np.float32))
FULL = Mask(np.ones((8, 8), np.bool_))


def bones(count: int) -> Keypoints:
    return Keypoints(np.zeros((count, 2), np.float32), np.ones(count, np.float32))


def spec_of(*images: list[Region]) -> Spec:
    return Spec.of(Example(IMAGE, regions) for regions in images)


@pytest.mark.parametrize(
    ("shape", "kind", "points", "heads"),
    [
        (Box(0, 0, 1, 1), Kind.BOX, 0, {"heat": 1, "sides": 4}),
        (RotatedBox(4, 4, 2, 2, 9), Kind.ROTATED, 0, {"heat": 1, "sides": 4, "angle": 2}),
        (Ellipse(4, 4, 2, 1), Kind.ELLIPSE, 0, {"heat": 1, "sides": 4, "angle": 2}),
        (TRIANGLE, Kind.POLYGON, 0, {"heat": 1, "sides": 4, "mask": 1}),
        (FULL, Kind.MASK, 0, {"heat": 1, "sides": 4, "mask": 1}),
        (Point(3, 3), Kind.POINT, 0, {"heat": 1, "sides": 4}),
        (bones(5), Kind.KEYPOINTS, 5, {"heat": 1, "sides": 4, "point_heat": 5, "point_offset": 10}),
        (bones(0), Kind.BOX, 0, {"heat": 1, "sides": 4}),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_shape_asks_for_heads(shape: Shape, kind: Kind, points: int, heads: dict[str, int]):
    spec = spec_of([Region("a", shape)])
    assert spec.located == (Located("a", kind, points),)
    assert spec.heads == heads


def test_a_label_has_the_kind_of_most_of_its_regions():
    box, mask = Region("a", Box(0, 0, 1, 1)), Region("a", FULL)
    assert spec_of([box, mask], [mask]).located == (Located("a", Kind.MASK),)
    assert spec_of([box, box, mask]).located == (Located("a", Kind.BOX),)
    day = Region("a", WholeImage())
    assert spec_of([day, box]).located == (Located("a", Kind.BOX),)
    assert spec_of([day, day, box]).classes == ("a",)
    three, four = Region("b", bones(3)), Region("b", bones(4))
    assert spec_of([three], [four, four]).located == (Located("b", Kind.KEYPOINTS, 4),)


def test_one_class_that_is_there_or_not_excludes_nothing():
    day = Region("day", WholeImage())
    assert not spec_of([day], []).exclusive
    assert not spec_of([day], [day]).exclusive


@pytest.mark.parametrize(
    ("shown", "exclusive"),
    [
        ([["ant"], ["bee"]], True),
        # An image of none is an example of an image of none.
        ([["ant"], [], ["bee"]], False),
        ([["ant", "bee"], ["bee"]], False),
        ([["ant", "bee"]], False),
    ],
)
def test_classes_are_exclusive_if_every_example_has_one(shown: list[list[str]], exclusive: bool):
    spec = spec_of(*([Region(label, WholeImage()) for label in labels] for labels in shown))
    assert spec.classes == ("ant", "bee")
    assert spec.exclusive is exclusive
    assert spec.heads == {"classes": 2}


def test_nothing_labelled_asks_for_nothing():
    assert spec_of([], []) == Spec()
    assert Spec().heads == {}


def test_channels_of_labels_follow_one_another():
    spec = spec_of(
        [Region("a", bones(2)), Region("b", FULL), Region("c", bones(3)), Region("d", TRIANGLE)]
    )
    assert [spec.point_channel(index) for index in (0, 2)] == [0, 2]
    assert [spec.mask_channel(index) for index in (1, 3)] == [0, 1]
    assert spec.most_objects == 4


def test_it_survives_json():
    spec = spec_of(
        [Region("猫", bones(2)), Region("b", FULL), Region("c", WholeImage())],
        [Region(str(number), Box(0, 0, 1, 1)) for number in range(50)],
    )
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"located": [["a", "sphere", 0]]},
        {"located": [["a", "box", 3]]},
        {"located": [["a", "keypoints", 0]]},
        {"located": [["a", "keypoints", -1]]},
        {"located": [["a", "keypoints", 10**12]]},
        {"located": [["a", "keypoints", True]]},
        {"located": [["a", ["box"], 0]]},
        {"located": [["a", "box"]]},
        {"located": [[7, "box", 0]]},
        {"located": [["a", "box", 0], ["a", "mask", 0]]},
        {"located": [["a", "box", 0]], "classes": ["a"]},
        {"located": "box"},
        {"classes": [None]},
        {"classes": {"a": 1}},
        {"exclusive": 1},
        {"most_objects": -1},
        {"most_objects": 2.5},
        {"more": 1},
    ],
    ids=str,
)
def test_what_is_no_spec_is_told_so(change: dict[str, object]):
    with pytest.raises(ModelFileError, match="train it again"):
        Spec.from_json(Spec().to_json() | change)


@pytest.mark.parametrize("stored", [None, [], "spec", {}, 3])
def test_something_else_is_no_spec(stored: object):
    with pytest.raises(ModelFileError):
        Spec.from_json(stored)
