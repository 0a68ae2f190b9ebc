import itertools
import math
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micro_models.geometry import (
    box_iou,
    ellipse_to_mask,
    iou,
    mask_to_ellipse,
    mask_to_polygons,
    polygon_to_mask,
    rotated_box_to_mask,
    tight_box,
)
from micro_models.regions import Box, Ellipse, Mask, Polygon, RotatedBox

# A busy machine is no error; `few` is for what takes milliseconds.
many = settings(deadline=None)
few = settings(deadline=None, max_examples=25)


@st.composite
def noise(draw):
    """Small masks with pixels that touch at corners, holes in holes, and empty ones."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    return Mask(rng.random(shape) < draw(st.sampled_from([0, 0.05, 0.3, 0.5, 0.7, 0.95, 1])))


@st.composite
def blobs(draw):
    """Smooth masks of 160 x 120 pixels with parts and holes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    smooth = cv2.GaussianBlur(rng.random((120, 160)), (0, 0), draw(st.sampled_from([3, 6, 12])))
    return Mask(smooth > np.quantile(smooth, draw(st.sampled_from([0.3, 0.5, 0.8]))))


def drawing(text):
    """A mask from rows of # and dots."""
    return Mask(np.array([[char == "#" for char in row] for row in text.split()]))


def raster(polygons, like):
    height, width = like.pixels.shape
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        mask |= polygon_to_mask(polygon, width_px=width, height_px=height).pixels
    return Mask(mask)


def nonzero_raster(polygon, width, height):
    """As canvases fill: a pixel belongs when the outline winds around its centre."""
    winding = np.zeros((height, width))
    for (x0, y0), (x1, y1) in itertools.pairwise([*polygon.points, polygon.points[0]]):
        for row in range(height):
            if (y0 > row + 0.5) != (y1 > row + 0.5):
                x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                winding[row, np.arange(width) + 0.5 > x] += 1 if y1 > y0 else -1
    return Mask(winding != 0)


SHAPES = {
    "one pixel": "...  .#.  ...",
    "a line of one pixel": ".....  .###.  .....",
    "a diagonal of one pixel": "#....  .#...  ..#..  ...#.  ....#",
    "the other diagonal": "...#  ..#.  .#..  #...",
    "all": "##  ##",
    "a ring": "#####  #...#  #...#  #...#  #####",
    "an island in a lake": "#######  #.....#  #.###.#  #.###.#  #.###.#  #.....#  #######",
    "two holes": "#########  #..###..#  #..###..#  #########",
    "a hole that touches a corner": "####  #..#  #..#  ###.",
    "a comb": "#.#.#.#  #.#.#.#  #######",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_drawn_shapes_come_back_exactly(text):
    mask = drawing(text)
    polygons = mask_to_polygons(mask, tolerance_px=0, speck_px=0)
    assert iou(raster(polygons, mask), mask) == 1
    height, width = mask.pixels.shape
    for polygon in polygons:
        even_odd = polygon_to_mask(polygon, width_px=width, height_px=height)
        assert iou(nonzero_raster(polygon, width, height), even_odd) == 1


@many
@given(noise())
def test_exact_outlines_give_the_mask_back(mask):
    polygons = mask_to_polygons(mask, tolerance_px=0, speck_px=0)
    height, width = mask.pixels.shape
    assert iou(raster(polygons, mask), mask) == 1
    parts, _ = cv2.connectedComponents(mask.pixels.astype(np.uint8), connectivity=8)
    assert len(polygons) == parts - 1
    areas = [polygon_to_mask(p, width_px=width, height_px=height).area_px for p in polygons]
    # Largest outline first; a hole counts as part of the outline's area, so compare the sums.
    assert sum(areas) == mask.area_px


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("tolerance_px", [0.1, 0.5, 1.0, 5.0])
def test_thin_shapes_never_vanish(text, tolerance_px):
    mask = drawing(text)
    polygons = mask_to_polygons(mask, tolerance_px=tolerance_px, speck_px=0)
    assert len(polygons) == len(mask_to_polygons(mask, tolerance_px=0, speck_px=0))
    assert iou(raster(polygons, mask), mask) >= (0.99 if tolerance_px < 0.3 else 0.5)


@few
@given(blobs())
def test_a_small_tolerance_costs_under_one_percent(mask):
    polygons = mask_to_polygons(mask, tolerance_px=0.5, speck_px=0)
    assert iou(raster(polygons, mask), mask) >= 0.99


def distance(points, outline):
    """From each point to the nearest stretch of the closed outline."""
    start, end = outline, np.roll(outline, -1, axis=0)
    along = end - start
    length = np.maximum((along**2).sum(axis=1), 1e-9)
    share = ((points[:, None] - start) * along).sum(axis=2) / length
    nearest = start + np.clip(share, 0, 1)[..., None] * along
    return np.hypot(*(points[:, None] - nearest).transpose(2, 0, 1)).min(axis=1)


@few
@given(blobs(), st.sampled_from([0.3, 1.0, 2.5, 6.0]))
def test_simplification_never_exceeds_the_tolerance(mask, tolerance_px):
    exact = mask_to_polygons(mask, tolerance_px=0)
    simple = mask_to_polygons(mask, tolerance_px=tolerance_px)
    assert sum(len(p.points) for p in simple) <= sum(len(p.points) for p in exact)
    for one, other in zip(exact, simple, strict=True):
        assert distance(one.points, other.points).max() <= tolerance_px + 1e-3
        corners = {tuple(point) for point in one.points}
        assert {tuple(point) for point in other.points} <= corners


def test_a_spike_beyond_the_end_of_a_stretch_is_kept():
    # Its tip is on the line through the side below, but far from the side itself.
    mask = np.zeros((40, 80), dtype=bool)
    mask[10:30, 20:60] = True
    mask[29, 60:75] = True
    (polygon,) = mask_to_polygons(Mask(mask), tolerance_px=1.0)
    assert polygon.points[:, 0].max() == 75


def test_parts_come_largest_first_and_specks_go():
    mask = np.zeros((50, 50), dtype=bool)
    mask[2:5, 2:5] = True  # 9 pixels
    mask[10:30, 10:30] = True
    mask[40, 40:43] = True  # 3 pixels: a speck
    mask[15, 15:18] = False  # and a hole of 3
    polygons = mask_to_polygons(Mask(mask))
    areas = [polygon_to_mask(p, width_px=50, height_px=50).area_px for p in polygons]
    assert areas == [400, 9]
    assert len(mask_to_polygons(Mask(mask), speck_px=3)) == 3


def test_a_mask_of_specks_keeps_its_largest():
    mask = drawing("#....  .....  ...##  .....  #....")
    assert len(mask_to_polygons(mask)) == 1
    assert raster(mask_to_polygons(mask), mask).area_px == 2


def test_an_empty_mask_has_no_shape():
    empty = Mask(np.zeros((4, 5), dtype=bool))
    assert mask_to_polygons(empty) == []
    assert tight_box(empty) is None
    assert mask_to_ellipse(empty) is None
    assert iou(empty, empty) == 1


@many
@given(noise())
def test_the_tight_box_holds_every_pixel_and_no_empty_border(mask):
    box = tight_box(mask)
    if box is None:
        assert mask.area_px == 0
        return
    x0, y0, x1, y1 = (int(side) for side in (box.x0, box.y0, box.x1, box.y1))
    inside = mask.pixels[y0:y1, x0:x1]
    assert np.count_nonzero(inside) == mask.area_px
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_masks_of_any_memory_layout_work(order):
    pixels = np.zeros((60, 80), dtype=bool)
    pixels[10:30, 20:50] = True
    laid = np.repeat(pixels, 2, axis=1)[:, ::2] if order == "strided" else pixels.copy(order=order)
    assert tight_box(Mask(laid)) == Box(20, 10, 50, 30)
    assert mask_to_ellipse(Mask(laid)) == mask_to_ellipse(Mask(pixels))
    assert len(mask_to_polygons(Mask(laid))[0].points) == 4


POLYGONS = [
    ([(1, 1), (4, 1), (4, 3), (1, 3)], 6),
    ([(0, 0), (10, 0), (10, 10), (0, 10)], 60),  # larger than the image of 10 x 6
    ([(-50, -50), (-40, -50), (-40, -40)], 0),
    ([(2, 2), (2, 2), (2, 2)], 0),
    ([(0.6, 0.6), (1.4, 0.6), (1.4, 1.4), (0.6, 1.4)], 0),  # between the centres
    ([(0.4, 0.4), (1.6, 0.4), (1.6, 1.6), (0.4, 1.6)], 4),
    ([(1, 1), (8, 1), (8, 5), (1, 5), (1, 1), (3, 2), (3, 4), (6, 4), (6, 2), (3, 2)], 22),
    ([(0, 0), (4, 4), (4, 0), (0, 4)], 8),  # a bow tie
]


@pytest.mark.parametrize(("points", "area_px"), POLYGONS)
def test_a_pixel_belongs_when_its_centre_does(points, area_px):
    mask = polygon_to_mask(Polygon(np.float32(points)), width_px=10, height_px=6)
    assert mask.pixels.shape == (6, 10)
    assert mask.area_px == area_px


@many
@given(st.lists(st.tuples(st.floats(-9, 40), st.floats(-9, 40)), min_size=3, max_size=8))
def test_rasters_agree_with_a_point_by_point_test(points):
    polygon = Polygon(np.float32(points))
    fast = polygon_to_mask(polygon, width_px=32, height_px=24).pixels
    inside = np.zeros((24, 32), dtype=bool)
    for (x0, y0), (x1, y1) in itertools.pairwise(
        [*polygon.points.astype(float), polygon.points[0].astype(float)]
    ):
        y = np.arange(24)[:, None] + 0.5
        crosses = (y >= y0) != (y >= y1)
        with np.errstate(divide="ignore", invalid="ignore"):
            x = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        inside ^= crosses & (np.arange(32) + 0.5 >= x)
    assert (
        np.count_nonzero(fast != inside) <= 2
    )  # centres that lie on the outline may go either way


@pytest.mark.parametrize(
    "ellipse",
    [Ellipse(50, 40, 30, 12, 0), Ellipse(50, 40, 30, 12, 30), Ellipse(50.5, 40.5, 12, 30, 75),
     Ellipse(50, 40, 20, 20, 0), Ellipse(50, 40, 35, 4, 135)],
)  # fmt: skip
def test_an_ellipse_comes_back(ellipse):
    mask = ellipse_to_mask(ellipse, width_px=100, height_px=80)
    found = mask_to_ellipse(mask)
    again = ellipse_to_mask(found, width_px=100, height_px=80)
    assert iou(mask, again) >= 0.97
    area = math.pi * found.radius_x * found.radius_y
    assert area == pytest.approx(mask.area_px)
    assert found.center_x == pytest.approx(ellipse.center_x, abs=0.1)


@many
@given(noise())
def test_any_mask_has_an_ellipse_of_its_area(mask):
    found = mask_to_ellipse(mask)
    if found is not None:
        assert math.pi * found.radius_x * found.radius_y == pytest.approx(mask.area_px)
        assert 0 <= found.angle_deg < 180


def test_rotated_boxes_fill_clockwise():
    # A flat box turned by 90 degrees stands upright; by 30 degrees its right end hangs down.
    upright = rotated_box_to_mask(RotatedBox(20, 20, 30, 4, 90), width_px=40, height_px=40)
    assert tight_box(upright) == Box(18, 5, 22, 35)
    turned = rotated_box_to_mask(RotatedBox(20, 20, 30, 4, 30), width_px=40, height_px=40).pixels
    assert turned[26, 31]
    assert not turned[14, 31]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Box(0, 0, 2, 2), Box(0, 0, 2, 2), 1),
        (Box(0, 0, 2, 2), Box(1, 0, 3, 2), 1 / 3),
        (Box(0, 0, 2, 2), Box(2, 0, 4, 2), 0),
        (Box(0, 0, 2, 2), Box(5, 5, 6, 6), 0),
        (Box(0, 0, 4, 4), Box(1, 1, 2, 2), 1 / 16),
        (Box(1, 1, 1, 1), Box(1, 1, 1, 1), 0),
    ],
)
def test_box_iou(one, other, expected):
    assert box_iou(one, other) == pytest.approx(expected)
    assert box_iou(other, one) == pytest.approx(expected)


def test_iou_of_masks():
    one, other = drawing("##..  ##.."), drawing(".##.  .##.")
    assert iou(one, other) == pytest.approx(1 / 3)
    assert iou(one, one) == 1


def test_40_megapixels_take_well_under_a_second():
    pixels = np.zeros((5000, 8000), dtype=np.uint8)
    cv2.ellipse(pixels, (4000, 2500), (2000, 1600), 20, 0, 360, 1, -1)
    cv2.circle(pixels, (4000, 2500), 500, 0, -1)
    mask = Mask(pixels.astype(bool))
    start = time.perf_counter()
    polygons = mask_to_polygons(mask)
    # 0.15 s on two slow cores; the bound leaves room for a busy machine.
    assert time.perf_counter() - start < 3
    assert len(polygons) == 1
    assert iou(raster(polygons, mask), mask) > 0.999
