import numpy as np
import pytest

from micro_models.examples import Example
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
    WholeImage,
)
from micro_models.trainers.forest.objects import extent, kinds_of, objects_of
from micro_models.trainers.forest.targets import Layout, encode
from micro_models.trainers.forest.views import View

BOX = Box(8, 12, 24, 20)
VIEWS = [View(2, 2), View(2, 4, left=4, top=2), View(2, 2, mirrored=True)]


def drawn(width: int = 48, height: int = 32) -> Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[12:20, 8:24] = 255
    return Image(pixels)


@pytest.mark.parametrize("view", VIEWS)
def test_objects_move_with_the_pixels(view):
    image = drawn()
    kinds = kinds_of([Example(image, [Region("a", BOX)])])
    objects = view.objects(objects_of(image, [Region("a", BOX)], kinds))
    bright = view.image(image.pixels)[..., 0] > 127
    rows, columns = np.nonzero(bright)
    # Four pixels to a cell.
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 2
    np.testing.assert_allclose(objects.boxes[0], seen, atol=0.51)
    assert bright.shape == (2 * objects.height_px, 2 * objects.width_px)


@pytest.mark.parametrize("view", VIEWS)
def test_masks_and_key_points_move_with_the_pixels(view):
    image = drawn()
    mask = Region("m", Mask(image.pixels[..., 0] > 0))
    corner = Region("k", Keypoints(np.array([[8.5, 12.5]], np.float32), np.ones(1, np.float32)))
    kinds = kinds_of([Example(image, [mask, corner])])
    objects = view.objects(objects_of(image, [corner, mask], kinds))
    area = objects.inside[1]
    work = view.image(image.pixels)[..., 0]
    cells = work.reshape(area.shape[0], 2, area.shape[1], 2).mean(axis=(1, 3))
    np.testing.assert_allclose(area, cells, atol=64)
    x, y, known = objects.points[0, 0]
    assert known
    assert work[min(int(2 * y), len(work) - 1), min(int(2 * x), work.shape[1] - 1)] > 127


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (BOX, BOX),
        (RotatedBox(16, 16, 8, 4, 90), Box(14, 12, 18, 20)),
        (Ellipse(16, 16, 4, 2, 90), Box(14, 12, 18, 20)),
        (Polygon(np.array([[1, 2], [5, 2], [3, 9]], np.float32)), Box(1, 2, 5, 9)),
        (Point(16, 16), Box(15, 15, 17, 17)),
        (Mask(np.eye(32, 48, dtype=np.bool_)), Box(0, 0, 32, 32)),
        (Mask(np.zeros((32, 48), np.bool_)), None),
        (WholeImage(), None),
        (Box(60, 0, 70, 10), None),
        (Keypoints(np.zeros((2, 2), np.float32), np.zeros(2, np.float32)), None),
    ],
)
def test_extent_of_every_shape(shape, box):
    found = extent(shape, width_px=48, height_px=32)
    if box is None:
        assert found is None
    else:
        assert found is not None
        expected = [box.x0, box.y0, box.x1, box.y1]
        np.testing.assert_allclose([found.x0, found.y0, found.x1, found.y1], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "area_px"),
    [
        (Polygon(np.array([[10, 10], [20, 10], [20, 20], [10, 20]], np.float32)), 100),
        (RotatedBox(15, 15, 10, 10, 0), 100),
        (RotatedBox(15, 15, 10, 4, 90), 40),
        (Ellipse(15, 15, 5, 5), 80),
        (Box(10, 10, 20, 20), 100),
        (Mask(np.pad(np.ones((10, 10), np.bool_), ((10, 12), (10, 28)))), 100),
    ],
)
def test_an_area_is_the_pixels_whose_middles_are_inside(shape, area_px):
    outline = Polygon(np.array([[0, 0], [1, 0], [0, 1]], np.float32))
    kinds = kinds_of([Example(drawn(), [Region("a", outline)])])
    (area,) = objects_of(drawn(), [Region("a", shape)], kinds).inside
    rows, columns = np.nonzero(area)
    assert len(rows) == area_px
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == (15, 15)


@pytest.mark.parametrize("far", [1e9, 1e30])
def test_what_reaches_far_beyond_the_image_covers_it(far):
    outline = np.array([[-far, -far], [far, -far], [far, far], [-far, far]], np.float32)
    region = Region("a", Polygon(outline))
    kinds = kinds_of([Example(drawn(), [region])])
    objects = objects_of(drawn(), [region], kinds)
    assert objects.inside[0].all()
    assert np.abs(objects.boxes).max() <= 2 * 48


def test_a_label_is_of_the_kind_of_most_of_its_regions():
    regions = [Region("a", BOX), Region("a", BOX), Region("a", Point(1, 1)), Region("b", BOX)]
    kinds = kinds_of([Example(drawn(), regions)])
    assert [(kind.label, kind.shape) for kind in kinds] == [("a", "Box"), ("b", "Box")]


def test_targets_tell_the_sides_at_the_centre():
    image = drawn()
    kinds = kinds_of([Example(image, [Region("a", BOX)])])
    objects = View(2, 2).objects(objects_of(image, [Region("a", BOX)], kinds))
    layout = Layout(kinds)
    answers, owned = encode(objects, layout)
    y, x = np.unravel_index(int(answers[..., 0].argmax()), owned.shape)
    weight, left, top, right, bottom = answers[y, x, layout.sides]
    assert weight == 1
    assert (x + 0.5 - left, y + 0.5 - top, x + 0.5 + right, y + 0.5 + bottom) == (4, 6, 12, 10)
    assert owned.sum() == answers[..., layout.inside].sum() == 8 * 4


def test_an_object_smaller_than_a_cell_has_a_centre():
    image = drawn()
    speck = [Region("a", Box(30.1, 20.1, 30.2, 20.2))]
    kinds = kinds_of([Example(image, speck)])
    answers, _ = encode(View(8, 8).objects(objects_of(image, speck, kinds)), Layout(kinds))
    assert answers[2, 3, 0] == answers[..., 0].max() == 1
