"""What is encoded for the network to learn, a perfect network's answer, is decoded to the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from micro_models.evaluation.overlap import similarity
from micro_models.examples import Example
from micro_models.geometry import polygon_to_mask
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
from micro_models.trainers.tiny.decode import decode
from micro_models.trainers.tiny.spec import Spec
from micro_models.trainers.tiny.targets import encode
from micro_models.trainers.tiny.warp import moved_shape

Pair = tuple[float, float]
WIDTH, HEIGHT = 200, 150
quick = settings(max_examples=60, deadline=None, derandomize=True)
inside_x = st.floats(30, WIDTH - 30)
inside_y = st.floats(30, HEIGHT - 30)
side = st.floats(8, 56)
angle = st.floats(-180, 180)


def seen(
    regions: list[Region],
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    scale: tuple[float, float] = (1.0, 1.0),
) -> list[Region]:
    """Told by a perfect network that sees the image enlarged by `scale`."""
    spec = spec_of(regions)
    # The network's input is as large as the image times the scale.
    larger = [Region(one.label, enlarged(one.shape, scale[0]), one.score) for one in regions]
    targets = encode(
        larger, spec, width_px=round(width * scale[0]), height_px=round(height * scale[1])
    )
    outputs = {name: getattr(targets, name) for name in spec.heads}
    return decode(outputs, spec, width_px=width, height_px=height, scale=scale, min_score=0.5)


def spec_of(regions: list[Region]) -> Spec:
    return Spec.of([Example(Image(np.zeros((4, 4, 3), np.uint8)), regions)])


def enlarged(shape: Shape, by: float) -> Shape:
    match shape:
        case Box():
            return Box(shape.x0 * by, shape.y0 * by, shape.x1 * by, shape.y1 * by)
        case RotatedBox():
            return RotatedBox(
                shape.center_x * by,
                shape.center_y * by,
                shape.width_px * by,
                shape.height_px * by,
                shape.angle_deg,
            )
        case Polygon():
            return Polygon(shape.points * np.float32(by))
        case Keypoints():
            return Keypoints(shape.points * np.float32(by), shape.scores)
        case Point():
            return Point(shape.x * by, shape.y * by)
    assert by == 1, shape
    return shape


def star(x: float, y: float, radii: list[float]) -> Polygon:
    at = np.arange(len(radii)) * 2 * math.pi / len(radii)
    corners = np.stack([x + np.cos(at) * radii, y + np.sin(at) * radii], axis=1)
    return Polygon(corners.astype(np.float32))


@quick
@given(inside_x, inside_y, side, side)
def test_a_box(x: float, y: float, width: float, height: float):
    box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    (found,) = seen([Region("a", box)])
    assert similarity(found.shape, box) > 0.99
    assert found.score == 1


@quick
@given(inside_x, inside_y, side, side, angle)
def test_a_turned_box(x: float, y: float, width: float, height: float, angle_deg: float):
    box = RotatedBox(x, y, width, height, angle_deg)
    (found,) = seen([Region("a", box)])
    assert isinstance(found.shape, RotatedBox)
    assert similarity(found.shape, box) > 0.98


@quick
@given(inside_x, inside_y, side, side, angle)
def test_an_ellipse(x: float, y: float, width: float, height: float, angle_deg: float):
    ellipse = Ellipse(x, y, width / 2, height / 2, angle_deg)
    (found,) = seen([Region("a", ellipse)])
    assert isinstance(found.shape, Ellipse)
    assert similarity(found.shape, ellipse) > 0.9


@pytest.mark.parametrize("stretch", [(0.92, 1.08), (1.08, 0.92), (0.5, 0.6)])
@pytest.mark.parametrize("angle_deg", [0, 30, 90, -45])
@pytest.mark.parametrize("kind", [RotatedBox, Ellipse])
def test_what_is_turned_is_seen_stretched(kind: type, angle_deg: float, stretch: Pair):
    shape = kind(100, 75, 60, 20, angle_deg)
    matrix = np.array([[stretch[0], 0, 0], [0, stretch[1], 0]])
    width, height = (round(n * by) for n, by in zip((WIDTH, HEIGHT), stretch, strict=True))
    seen_as = Region("a", moved_shape(shape, matrix, (width, height)))
    spec = spec_of([seen_as])
    targets = encode([seen_as], spec, width_px=width, height_px=height)
    outputs = {name: getattr(targets, name) for name in spec.heads}
    (found,) = decode(outputs, spec, width_px=WIDTH, height_px=HEIGHT, scale=stretch, min_score=0.5)
    assert isinstance(found.shape, kind)
    assert similarity(found.shape, shape) > 0.93


@quick
@given(inside_x, inside_y, st.lists(st.floats(9, 28), min_size=5, max_size=12))
@example(129.4375, 30.0, [9.0] * 5)
def test_a_polygon_and_a_mask(x: float, y: float, radii: list[float]):
    polygon = star(x, y, radii)
    (found,) = seen([Region("a", polygon)])
    assert isinstance(found.shape, Polygon)
    assert similarity(found.shape, polygon) > 0.85
    mask = polygon_to_mask(polygon, width_px=WIDTH, height_px=HEIGHT)
    (found,) = seen([Region("a", mask)])
    assert isinstance(found.shape, Mask)
    assert similarity(found.shape, mask) > 0.85


@quick
@given(st.floats(0, WIDTH - 1), st.floats(0, HEIGHT - 1))
def test_a_point(x: float, y: float):
    (found,) = seen([Region("a", Point(x, y))])
    assert isinstance(found.shape, Point)
    assert math.hypot(found.shape.x - x, found.shape.y - y) < 0.01


@quick
@given(
    st.lists(
        st.tuples(st.floats(10, WIDTH - 10), st.floats(10, HEIGHT - 10)), min_size=2, max_size=6
    ),
    st.integers(0, 5),
)
def test_key_points(places: list[tuple[float, float]], unseen: int):
    scores = np.ones(len(places), np.float32)
    scores[unseen % len(places)] = 0
    bones = Keypoints(np.array(places, np.float32), scores)
    (found,) = seen([Region("a", bones)])
    assert isinstance(found.shape, Keypoints)
    away = np.hypot(*(found.shape.points - bones.points).T)[scores > 0]
    assert away.max() < 1
    assert ((found.shape.scores > 0.5) == (scores > 0)).all()


@pytest.mark.parametrize("scale", [(0.5, 0.5), (2.0, 2.0), (1.37, 1.37)])
@pytest.mark.parametrize(
    "shape",
    [
        Box(40, 30, 90, 100),
        RotatedBox(100, 70, 60, 30, 33),
        star(90, 80, [20, 30, 25, 30, 22]),
        Point(77, 41),
        Keypoints(np.array([[40, 40], [90, 60], [60, 100]], np.float32), np.ones(3, np.float32)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_answers_are_in_pixels_of_the_image_whatever_the_network_saw(
    shape: Shape, scale: tuple[float, float]
):
    (found,) = seen([Region("a", shape)], scale=scale)
    assert similarity(found.shape, shape) > 0.9


def test_touching_masks_are_told_apart():
    left, right = np.zeros((2, HEIGHT, WIDTH), np.bool_)
    left[40:90, 40:80] = True
    right[50:110, 80:130] = True
    found = seen([Region("cell", Mask(left)), Region("cell", Mask(right))])
    for mask in (left, right):
        assert max(similarity(one.shape, Mask(mask)) for one in found) > 0.9


def test_mixed_kinds_in_one_image():
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[10:50, 20:70] = True
    regions = [
        Region("1 box", Box(100, 20, 140, 60)),
        Region("2 turned", RotatedBox(60, 100, 50, 20, 40)),
        Region("3 mask", Mask(mask)),
        Region(
            "4 points",
            Keypoints(np.array([[150, 80], [180, 120]], np.float32), np.ones(2, np.float32)),
        ),
        Region("5 point", Point(120, 120)),
        Region("6 class", WholeImage()),
        Region("ящик 📦", Ellipse(160, 30, 18, 12, 20)),
    ]
    found = {one.label: one.shape for one in seen(regions)}
    assert found.keys() == {one.label for one in regions}
    for region in regions:
        assert similarity(found[region.label], region.shape) > 0.85, region.label


def test_three_hundred_objects_and_those_of_three_pixels():
    grid = [(20 * column + 8.3, 20 * row + 9.1) for row in range(15) for column in range(20)]
    boxes = [Region("many", Box(x, y, x + 10, y + 12)) for x, y in grid]
    found = seen(boxes, width=420, height=320)
    assert len(found) == 300
    assert min(max(similarity(one.shape, box.shape) for one in found) for box in boxes[:20]) > 0.9
    small = [Region("few", Box(x, y, x + 3, y + 3)) for x, y in grid[:40]]
    found = seen(small, width=420, height=320)
    assert len(found) == 40
    assert min(max(similarity(one.shape, box.shape) for one in found) for box in small) > 0.5


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 200), (640, 5), (64, 48)])
def test_an_object_as_large_as_the_image(width: int, height: int):
    whole = Box(0, 0, width, height)
    (found,) = seen([Region("all", whole)], width=width, height=height)
    assert similarity(found.shape, whole) > 0.5
    full = Mask(np.ones((height, width), np.bool_))
    (found,) = seen([Region("all", full)], width=width, height=height)
    assert isinstance(found.shape, Mask)
    assert found.shape.pixels.shape == (height, width)
    assert found.shape.area_px > 0.85 * width * height


def test_no_object_gives_no_region_but_every_class():
    regions = [Region("day", WholeImage()), Region("car", Box(1, 1, 9, 9))]
    spec = spec_of(regions)
    targets = encode([Region("day", WholeImage())], spec, width_px=64, height_px=48)
    outputs = {name: getattr(targets, name) for name in spec.heads}
    assert decode(outputs, spec, width_px=64, height_px=48) == [Region("day", WholeImage(), 1.0)]
    outputs["classes"] = np.zeros(1, np.float32)
    assert decode(outputs, spec, width_px=64, height_px=48) == [Region("day", WholeImage(), 0.0)]
