from __future__ import annotations

import numpy as np
import pytest

from micro_models.evaluation.overlap import bounds
from micro_models.examples import Example
from micro_models.fitting.copy_paste import synthesise
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

BOX = (40, 30, 60, 45)


def plain(level: int, width: int = 120, height: int = 90) -> Image:
    return Image(np.full((height, width, 3), level, np.uint8))


def scene(level: int = 60) -> Image:
    """A bright object with a dark stripe at BOX."""
    pixels = plain(level).pixels.copy()
    x0, y0, x1, y1 = BOX
    pixels[y0:y1, x0:x1] = 250
    pixels[y0 + 5 : y0 + 9, x0:x1] = 10
    return Image(pixels)


def filled() -> Mask:
    pixels = np.zeros((90, 120), np.bool_)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    return Mask(pixels)


CORNERS = np.array([[40, 30], [60, 30], [60, 45], [40, 45]], np.float32)
SHAPES: list[Shape] = [
    Box(*BOX),
    RotatedBox(50, 37.5, 20, 15, 0),
    Ellipse(50, 37.5, 10, 7.5),
    Polygon(CORNERS),
    filled(),
    Keypoints(CORNERS, np.ones(4, np.float32)),
]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_the_region_lies_where_the_object_was_pasted(shape: Shape) -> None:
    example = Example(scene(), [Region("thing", shape)])
    made = synthesise([example], [plain(120)], count=8, rng=rng())
    assert len(made) == 8
    for new in made:
        assert isinstance(new.picture, Image)
        (region,) = new.regions
        assert (region.label, type(region.shape)) == ("thing", type(shape))
        rows, columns = np.nonzero(new.picture.pixels[..., 0] > 200)
        box = bounds(region.shape)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert edges == pytest.approx((box.x0, box.y0, box.x1, box.y1), abs=2.5)
        # The ground is there, all around.
        assert (new.picture.pixels[..., 0] == 120).mean() > 0.3


def test_a_mask_brings_no_background_along() -> None:
    example = Example(scene(level=0), [Region("thing", filled())])
    for new in synthesise([example], [plain(120)], count=5, rng=rng()):
        assert isinstance(new.picture, Image)
        dark = (new.picture.pixels[..., 0] < 60).sum()
        assert dark <= 1.25**2 * 20 * 6  # the stripe and its soft edge, no rim


def test_no_window_that_shows_such_an_object_already() -> None:
    objects = Example(scene(), [Region("thing", Box(*BOX))])
    full = Image(np.tile(scene().pixels[25:50, 35:65], (6, 6, 1)))
    assert synthesise([objects], [full], count=5, rng=rng()) == []
    # Of a scene with one, the windows beside it are taken.
    for new in synthesise([objects], [scene()], count=20, rng=rng()):
        assert isinstance(new.picture, Image)
        bright = new.picture.pixels[..., 0] > 200
        box = bounds(new.regions[0].shape)
        assert bright.sum() <= 1.1 * (box.x1 - box.x0 + 2) * (box.y1 - box.y0 + 2)


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [Region("point", Point(50, 40))],
        [Region("class", WholeImage())],
        [Region("a", Box(*BOX)), Region("b", Box(55, 40, 75, 60))],  # they overlap
        [Region("nothing", Box(40, 30, 40, 30))],
        [Region("outside", Box(200, 200, 220, 220))],
        [Region("empty", Mask(np.zeros((90, 120), np.bool_)))],
        [Region("not seen", Keypoints(CORNERS, np.zeros(4, np.float32)))],
    ],
)
def test_what_cannot_be_cut_out(regions: list[Region]) -> None:
    assert synthesise([Example(scene(), regions)], [plain(120)], count=3, rng=rng()) == []


def test_without_anything_to_paste_onto() -> None:
    example = Example(scene(), [Region("thing", Box(*BOX))])
    assert synthesise([example], [], count=3, rng=rng()) == []
    assert synthesise([], [plain(120)], count=3, rng=rng()) == []
    assert synthesise([example], [plain(120, 1, 1)], count=3, rng=rng()) == []


def test_objects_at_the_border_and_partly_outside() -> None:
    regions = [Region("corner", Box(-5, -5, 20, 15)), Region("edge", Box(100, 60, 130, 100))]
    made = synthesise([Example(scene(), regions)], [plain(120)], count=10, rng=rng())
    assert {example.labels for example in made} == {("corner",), ("edge",)}


def test_the_same_generator_makes_the_same() -> None:
    example = Example(scene(), [Region("thing", Box(*BOX))])
    first, again, other = (
        synthesise([example], [plain(120)], count=3, rng=rng(seed)) for seed in (0, 0, 1)
    )
    assert [e.regions for e in first] == [e.regions for e in again] != [e.regions for e in other]
    assert np.array_equal(first[0].picture.pixels, again[0].picture.pixels)  # type: ignore[union-attr]
