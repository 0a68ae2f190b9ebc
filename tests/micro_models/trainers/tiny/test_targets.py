"""The maps that a tiny network is taught."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from micro_models.trainers.tiny.coverage import coverage
from micro_models.trainers.tiny.spec import Kind, Located, Spec
from micro_models.trainers.tiny.targets import Targets, encode

SPEC = Spec(
    (
        Located("bones", Kind.KEYPOINTS, 2),
        Located("box", Kind.BOX),
        Located("mask", Kind.MASK),
        Located("point", Kind.POINT),
        Located("turned", Kind.ROTATED),
    ),
    ("day", "night"),
)
number = st.floats(-30, 130)
extent = st.floats(0, 150)
boxes = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), number, number, extent, extent)
shapes = st.one_of(
    boxes,
    st.builds(RotatedBox, number, number, extent, extent, number),
    st.builds(Point, number, number),
    st.builds(
        lambda points: Polygon(np.array(points, np.float32)),
        st.lists(st.tuples(number, number), min_size=3, max_size=6),
    ),
    st.builds(
        lambda points, score: Keypoints(np.array(points, np.float32), np.array(score, np.float32)),
        st.lists(st.tuples(number, number), min_size=2, max_size=2),
        st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=2),
    ),
    st.just(WholeImage()),
)
labels = st.sampled_from([*SPEC.labels, "unknown"])


def taught(*regions: Region, ignored: tuple[Box, ...] = ()) -> Targets:
    return encode(regions, SPEC, width_px=96, height_px=64, ignored=ignored)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.builds(Region, labels, shapes), max_size=5), st.lists(boxes, max_size=2))
def test_whatever_is_labelled_gives_numbers_in_their_range(
    regions: list[Region], ignored: list[Box]
):
    targets = taught(*regions, ignored=tuple(ignored))
    for field in fields(Targets):
        values = getattr(targets, field.name)
        assert values.dtype == np.float32
        assert np.isfinite(values).all(), field.name
        if field.name not in ("sides", "angle", "point_offset"):
            assert ((values >= 0) & (values <= 1)).all(), field.name
    for name, channels in SPEC.heads.items():
        if name != "classes":
            assert getattr(targets, name).shape == (channels, 16, 24)
    known = targets.sides_weight[0] > 0
    assert (targets.sides[:, known] >= 0.1 - 1e-6).all()
    # Each peak of the heat is one that counts.
    assert (targets.heat_weight[0][(targets.heat == 1).any(axis=0)] == 1).all()


def test_an_object_is_a_peak_of_exactly_one_cell_with_sides_around_it():
    targets = taught(Region("box", Box(20, 12, 60, 44)))
    assert np.argwhere(targets.heat == 1).tolist() == [[1, 7, 10]]
    assert targets.sides[:, 7, 10].tolist() == [5.5, 4.5, 4.5, 3.5]
    assert targets.sides_weight[0, 7, 10] > 0
    assert targets.sides_weight[0, 0, 0] == 0
    assert targets.heat[[0, 2, 3, 4]].max() == 0


@pytest.mark.parametrize(
    "shape",
    [Box(80, 10, 140, 30), RotatedBox(110, 20, 40, 20, 0), Point(96, 20), Box(-60, 5, -2, 9)],
)
def test_what_has_its_centre_outside_is_left_out(shape: Shape):
    label = {"Box": "box", "RotatedBox": "turned", "Point": "point"}[type(shape).__name__]
    targets = taught(Region(label, shape))
    # Of a box the visible part counts, as people draw it.
    visible = isinstance(shape, Box) and shape.x0 < 96 and shape.x1 > 0
    assert (targets.heat == 1).sum() == (1 if visible else 0)


def test_what_is_nowhere_teaches_nothing():
    unseen = Keypoints(np.zeros((2, 2), np.float32), np.zeros(2, np.float32))
    empty = Mask(np.zeros((64, 96), np.bool_))
    assert taught(Region("bones", unseen), Region("mask", empty)).heat.max() == 0


def test_the_nearer_of_two_objects_tells_its_sides():
    targets = taught(Region("box", Box(8, 8, 72, 56)), Region("box", Box(32, 20, 40, 28)))
    assert targets.sides[:, 5, 8] == pytest.approx([0.5, 0.5, 1.5, 1.5])
    assert targets.sides[:, 8, 10] == pytest.approx([8.5, 6.5, 7.5, 5.5])


def test_one_turned_box_is_told_in_one_way():
    one = taught(Region("turned", RotatedBox(50, 30, 40, 12, 25)))
    for same in (
        RotatedBox(50, 30, 40, 12, 205),
        RotatedBox(50, 30, 12, 40, 115),
        RotatedBox(50, 30, 12, 40, -65),
    ):
        other = taught(Region("turned", same))
        assert other.angle == pytest.approx(one.angle, abs=1e-5)
        assert other.sides == pytest.approx(one.sides, abs=1e-5)
        assert other.heat == pytest.approx(one.heat, abs=1e-5)


def test_a_square_hardly_has_a_direction():
    long = taught(Region("turned", RotatedBox(50, 30, 40, 12, 25))).angle_weight.max()
    square = taught(Region("turned", RotatedBox(50, 30, 20, 20, 25))).angle_weight.max()
    unknown = taught(Region("turned", Point(50, 30))).angle_weight.max()
    assert long == 1 > square > unknown == 0


def test_a_mask_is_the_covered_part_of_each_cell():
    pixels = np.zeros((64, 96), np.bool_)
    pixels[8:16, 10:20] = True
    targets = taught(Region("mask", Mask(pixels)))
    assert targets.mask[0, 2, 1:6].tolist() == [0, 0.5, 1, 1, 0]
    assert targets.mask_weight.min() == 1
    # Its cells tell its sides, so that touching objects can be told apart.
    assert targets.sides_weight[0, 2, 3:5].min() > 0


def test_of_a_box_among_masks_nobody_knows_what_is_covered():
    targets = taught(Region("mask", Box(40, 20, 60, 40)))
    assert targets.mask.max() == 0
    assert targets.mask_weight[0, 5:10, 10:15].max() == 0
    assert targets.mask_weight[0, 0:4].min() == 1
    assert (targets.heat[2] == 1).sum() == 1


def test_key_points_have_peaks_and_ways_to_them_if_they_were_seen():
    points = np.array([[22, 30], [58, 38]], np.float32)
    targets = taught(Region("bones", Keypoints(points, np.array([1, 0.0], np.float32))))
    assert np.unravel_index(targets.point_heat[0].argmax(), (16, 24)) == (7, 5)
    assert targets.point_heat[1].max() == 0
    row, column = np.argwhere(targets.heat[0] == 1)[0]
    told = targets.point_offset[:2, row, column] + (column + 0.5, row + 0.5)
    assert told.tolist() == [5.5, 7.5]
    assert targets.point_offset_weight[0, row, column] == 1
    assert targets.point_offset_weight[1].max() == 0


def test_ignored_places_are_no_background_but_where_an_object_is():
    targets = taught(Region("box", Box(40, 20, 60, 40)), ignored=(Box(30, 10, 96, 64),))
    assert targets.heat_weight[0, 7, 12] == 1
    assert targets.heat_weight[0, 15, 20] == 0
    assert targets.heat_weight[0, 7, 2] == 1
    assert targets.mask_weight[0, 15, 20] == targets.point_weight[0, 15, 20] == 0


def test_classes_are_those_that_are_shown():
    assert taught(Region("night", WholeImage())).classes.tolist() == [0, 1]
    assert taught().classes.tolist() == [0, 0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 40), st.integers(0, 30), st.integers(0, 60), st.integers(0, 40))
def test_a_polygon_and_its_mask_cover_the_same(x: int, y: int, width: int, height: int):
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    pixels = np.zeros((48, 64), np.bool_)
    pixels[y : y + height, x : x + width] = True
    grids = []
    for outline in (Polygon(np.array(corners, np.float32)), Mask(pixels)):
        grid = np.zeros((12, 16), np.float32)
        values, top, left = coverage(outline, stride=4, width=16, height=12)
        grid[top : top + values.shape[0], left : left + values.shape[1]] = values
        grids.append(grid)
    assert (grids[0] == grids[1]).all()
    assert grids[0].sum() * 16 == pixels.sum()


def test_the_sides_of_a_label_with_small_objects_count_more_than_its_few_cells():
    targets = taught(Region("box", Box(4, 4, 64, 60)), Region("turned", Box(80, 20, 88, 28)))
    weights = targets.sides_weight[0]
    large, small = weights[:, :17], weights[:, 17:]
    by_cells = np.count_nonzero(small) / np.count_nonzero(large)
    assert by_cells < 0.5
    assert small.sum() / large.sum() > 1.3 * by_cells


def test_the_sides_of_a_rare_label_count_more_than_as_one_of_many():
    boxes = [Region("box", Box(x, 8, x + 12, 20)) for x in range(4, 84, 16)]
    rare = Region("turned", RotatedBox(48, 48, 12, 12, 0))
    weights = taught(*boxes, rare).sides_weight[0]
    assert weights[8:].sum() > 1.5 * weights[:8].sum() / len(boxes)
