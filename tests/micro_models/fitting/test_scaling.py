"""Images and regions, made smaller and larger."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.evaluation.overlap import similarity
from micro_models.examples import Example
from micro_models.fitting.album import opened
from micro_models.fitting.scaling import scaled_image, scaled_region
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

SIZE = (80, 60)


def disc() -> Mask:
    y, x = np.mgrid[:60, :80]
    return Mask((x - 40) ** 2 + (y - 30) ** 2 < 400)


SHAPES: list[Shape] = [
    Box(8, 10, 30, 40),
    RotatedBox(40, 30, 20, 10, 35),
    Ellipse(40, 30, 12, 8, 20),
    Polygon(np.array([[4, 4], [40, 8], [20, 50]], np.float32)),
    disc(),
    Point(12, 14),
    Keypoints(np.array([[4, 4], [30, 30]], np.float32), np.ones(2, np.float32)),
    WholeImage(),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0])
def test_there_and_back_is_the_same_place(shape: Shape, factor: float) -> None:
    region = Region("it", shape, 0.7)
    there = scaled_region(region, factor, size=(int(80 * factor), int(60 * factor)))
    back = scaled_region(there, 1 / factor, size=SIZE)
    assert similarity(back.shape, shape) > 0.95
    assert (back.label, back.score) == ("it", 0.7)


def test_a_shape_moves_with_what_it_is_on() -> None:
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[disc().pixels] = 255
    half = scaled_image(Image(pixels), 0.5)
    bright = Mask(half.pixels[..., 0] > 127)
    moved = scaled_region(Region("it", disc()), 0.5, size=(40, 30))
    assert similarity(moved.shape, bright) > 0.95


def test_a_tiny_image_keeps_a_pixel() -> None:
    assert scaled_image(Image(np.zeros((1, 5, 3), np.uint8)), 0.1).pixels.shape == (1, 1, 3)


def test_large_pictures_are_made_smaller_together() -> None:
    examples = [
        Example(Image(np.zeros((100, 200, 3), np.uint8)), [Region("it", Box(20, 40, 60, 80))]),
        Example(Image(np.zeros((300, 200, 3), np.uint8))),
    ]
    album = opened(examples, rng=np.random.default_rng(0), limit_px=20_000)
    sizes = [example.picture.pixels.shape[:2] for example in album.examples]  # type: ignore[union-attr]
    assert sizes == [(50, 100), (150, 100)]
    assert album.examples[0].regions[0].shape == Box(10, 20, 30, 40)
    assert album.factor == 0.5


def test_a_mask_of_another_size_is_refused() -> None:
    example = Example(Image(np.zeros((9, 9, 3), np.uint8)), [Region("it", disc())])
    with pytest.raises(ValueError, match=r"the mask 'it' of example 1 is \(60, 80\)"):
        opened([example], rng=np.random.default_rng(0))


def test_some_of_very_many_unlabelled_pictures_are_taken() -> None:
    images = [Image(np.full((4, 4, 3), n % 256, np.uint8)) for n in range(500)]
    one, other = (opened([], images, rng=np.random.default_rng(1)).unlabelled for _ in "12")
    assert len(one) == 200
    assert [a is b for a, b in zip(one, other, strict=True)] == [True] * 200
