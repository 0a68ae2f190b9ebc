"""Images and regions, made smaller and larger."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.evaluation.overlap import similarity
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
