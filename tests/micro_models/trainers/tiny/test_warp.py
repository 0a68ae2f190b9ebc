"""Regions move with the pixels of the image."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micro_models.evaluation.overlap import bounds, similarity
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
from micro_models.trainers.tiny.things import ring
from micro_models.trainers.tiny.warp import move, outlined, warp, warp_pixels

SIZE = (120, 90)
STAR = Polygon(np.array([[30, 20], [70, 25], [50, 40], [75, 65], [25, 60]], np.float32))


def change(degrees: float, size: float, flip: bool, x: float, y: float) -> np.ndarray:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = size * np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    middle = np.array([50.0, 42.0])
    return np.concatenate([turn, (np.array([x, y]) - turn @ middle)[:, None]], axis=1)


def painted(shape: Shape) -> np.ndarray:
    """(h, w, 3): white where the shape is."""
    if isinstance(shape, Mask):
        inside = shape.pixels.astype(np.uint8)
    else:
        # Sixteen times finer, so that the middles of pixels decide.
        inside = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        points = np.round((ring(shape) - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(inside, [points], 1, shift=4)
    return np.repeat(inside[:, :, None] * 255, 3, axis=2).astype(np.uint8)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from(
        [STAR, RotatedBox(50, 42, 40, 20, 25), Ellipse(50, 42, 25, 12, -30), "mask", "outlined"]
    ),
    st.floats(-180, 180),
    st.floats(0.6, 1.6),
    st.booleans(),
    st.floats(45, 75),
    st.floats(35, 55),
)
def test_a_shape_lies_where_its_pixels_are_seen(
    shape: Shape | str, degrees: float, size: float, flip: bool, x: float, y: float
):
    if isinstance(shape, str):
        mask = Mask(painted(STAR)[:, :, 0] > 0)
        region = Region("a", mask)
        (region,) = outlined([region]) if shape == "outlined" else (region,)
    else:
        region = Region("a", shape)
    matrix = change(degrees, size, flip, x, y)
    seen = Mask(warp_pixels(painted(region.shape), matrix, SIZE, color=(0, 0, 0))[:, :, 0] > 127)
    (moved,) = move([region], matrix, SIZE).regions
    assert similarity(moved.shape, seen) > 0.85


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.floats(0.5, 2), st.floats(0.5, 2), st.booleans(), st.floats(0, 20), st.floats(0, 20))
def test_a_box_stays_tight_unless_it_is_turned(
    wide: float, high: float, flip: bool, x: float, y: float
):
    matrix = np.array([[-wide if flip else wide, 0, 130 if flip else x], [0, high, y]])
    (moved,) = move([Region("a", Box(10, 5, 40, 25))], matrix, (500, 500)).regions
    expected = sorted(matrix[0, 0] * edge + matrix[0, 2] for edge in (10, 40))
    found = bounds(moved.shape)
    assert (found.x0, found.x1) == pytest.approx(expected)
    assert (found.y0, found.y1) == pytest.approx((5 * high + y, 25 * high + y))


def test_a_turned_box_goes_around_the_ellipse_in_it():
    turned = change(45, 1, False, 60, 45)
    (moved,) = move([Region("a", Box(40, 32, 60, 52))], turned, SIZE).regions
    assert bounds(moved.shape).x1 - bounds(moved.shape).x0 == pytest.approx(20)


def test_points_go_along_and_those_outside_are_not_seen():
    bones = Keypoints(np.array([[10, 10], [60, 10], [110, 80]], np.float32), np.ones(3, np.float32))
    right = np.array([[1.0, 0, 30], [0, 1, 5]])
    moved = move([Region("a", bones), Region("b", Point(10, 20))], right, SIZE).regions
    assert isinstance(moved[0].shape, Keypoints)
    assert moved[0].shape.points[:2].tolist() == [[40, 15], [90, 15]]
    assert moved[0].shape.scores.tolist() == [1, 1, 0]
    assert moved[1].shape == Point(40, 25)


@pytest.mark.parametrize(
    "shape",
    [
        Box(0, 30, 40, 60),
        Polygon(np.array([[0, 30], [40, 30], [40, 60], [0, 60]], np.float32)),
        RotatedBox(20, 45, 40, 30, 0),
        Ellipse(20, 45, 20, 15),
        Mask(np.pad(np.ones((30, 40), np.bool_), ((30, 30), (0, 80)))),
        Keypoints(
            np.array([[x, 45] for x in range(0, 40, 4)], np.float32), np.ones(10, np.float32)
        ),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_is_hardly_seen_is_neither_object_nor_background(shape: Shape):
    to_the_left = lambda by: np.array([[1.0, 0, -by], [0, 1, 0]])  # noqa: E731
    assert len(move([Region("a", shape)], to_the_left(15), SIZE).regions) == 1
    hidden = move([Region("a", shape)], to_the_left(34), SIZE)
    assert hidden.regions == ()
    (ignored,) = hidden.ignored
    assert ignored.x0 == 0
    assert 2 <= ignored.x1 <= 6
    gone = move([Region("a", shape)], to_the_left(60), SIZE)
    assert (gone.regions, gone.ignored) == ((), ())


def test_polygons_are_cut_off_at_the_edge_and_boxes_are_not():
    left = np.array([[1.0, 0, -30], [0, 1, 0]])
    box, star = move([Region("a", Box(20, 10, 60, 30)), Region("b", STAR)], left, SIZE).regions
    assert box.shape == Box(-10, 10, 30, 30)
    around = bounds(star.shape)
    assert (around.x0, around.x1) == (0, 45)


def test_mirror_images_of_objects_beyond_the_edge_are_no_background():
    pixels = np.zeros((90, 120, 3), np.uint8)
    pixels[30:50, 8:20] = 255
    # Twice the width, so that the left half of what is seen lies beyond the edge.
    right = np.array([[1.0, 0, 60], [0, 1, 0]])
    image, moved = warp(Image(pixels), [Region("a", Box(8, 30, 20, 50))], right, SIZE)
    (region,), (ghost,) = moved.regions, moved.ignored
    assert region.shape == Box(68, 30, 80, 50)
    rows, columns = np.nonzero(image.pixels[:, :60, 0])
    assert (columns.min(), columns.max() + 1) == (ghost.x0, ghost.x1)
    assert (rows.min(), rows.max() + 1) == (ghost.y0, ghost.y1)


def test_a_crop_from_within_shows_no_mirror_images():
    image = Image(np.zeros((90, 120, 3), np.uint8))
    regions = [Region("a", Box(1, 1, 119, 89)), Region("c", WholeImage())]
    _, moved = warp(image, regions, np.array([[1.0, 0, -10], [0, 1, -10]]), (60, 60))
    assert [one.label for one in moved.regions] == ["a", "c"]
    assert moved.ignored == ()


def test_outlined_masks_keep_parts_and_holes():
    pixels = np.zeros((90, 120), np.bool_)
    pixels[10:50, 10:60] = True
    pixels[20:40, 20:50] = False
    pixels[60:80, 80:110] = True
    (region,) = outlined([Region("a", Mask(pixels))])
    assert isinstance(region.shape, Polygon)
    assert similarity(region.shape, Mask(pixels)) > 0.98
    (empty,) = outlined([Region("a", Mask(np.zeros((4, 4), np.bool_)))])
    assert move([empty], np.eye(2, 3), (4, 4)).regions == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (300, 2)])
def test_images_of_hardly_any_pixels(size: tuple[int, int]):
    image = Image(np.full((*size[::-1], 3), 9, np.uint8))
    regions = [Region("a", Box(0, 0, *size)), Region("b", Box(0, 0, 0, 0))]
    larger, moved = warp(image, regions, np.array([[2.0, 0, 0], [0, 2, 0]]), (64, 64))
    assert (larger.pixels == 9).all()
    assert "b" in [one.label for one in moved.regions]


def test_what_is_larger_than_a_crop_is_told_as_it_is_where_its_centre_is():
    large = Region("a", Box(-40, 10, 160, 60))
    assert move([large], np.eye(2, 3), SIZE).regions == (large,)
    aside = move([large], np.array([[1.0, 0, -70], [0, 1, 0]]), SIZE)
    assert (aside.regions, aside.ignored) == ((), (Box(0, 10, 90, 60),))
