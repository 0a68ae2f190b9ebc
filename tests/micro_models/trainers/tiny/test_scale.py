from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from micro_models.examples import Example
from micro_models.regions import Box, Image, Keypoints, Point, Region, WholeImage
from micro_models.trainers.tiny.scale import fitted, spans, working_scale


def example(*shapes, size=(640, 480)):
    image = Image(np.zeros((size[1], size[0], 3), np.uint8))
    return Example(image, [Region(str(n), shape) for n, shape in enumerate(shapes)])


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([example(Box(0, 0, 48, 96))], 0.5),
        ([example(Box(0, 0, 3, 3))], 2.0),
        ([example(Box(0, 0, 640, 480))], 128 / 640),
        ([example(Box(0, 0, 96, 96), size=(100, 100))], 1.0),
        ([example(Box(0, 0, 96, 96), Box(0, 0, 96, 96), Box(0, 0, 44, 44))], 0.5),
        ([example(Box(5, 5, 5, 5))], 2.0),
        ([example()], 1.0),
        ([example(WholeImage(), Point(3, 3))], 1.0),
    ],
    ids=["usual", "tiny", "whole image", "small image", "smallest label", "zero", "none", "points"],
)
def test_working_scale(examples, expected):
    assert working_scale(examples) == pytest.approx(expected)


def test_key_points_are_seen_larger():
    bones = Keypoints(np.array([[0, 0], [128, 0]], np.float32), np.ones(2, np.float32))
    assert working_scale([example(bones)]) == pytest.approx(0.5)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (79, 80), (100, 33), (240, 320), (16, 16)])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_fitted_images_have_sides_that_are_multiples_and_are_hardly_stretched(size, scale):
    seen, exact = fitted(np.zeros((*size, 3), np.uint8), scale=scale, multiple=16)
    assert [side % 16 for side in seen.shape[:2]] == [0, 0]
    for side, now, factor in zip(size, seen.shape[:2], exact[::-1], strict=True):
        assert now >= side * factor - 1e-6
        assert factor * side == pytest.approx(max(side * scale, 1), rel=0.11, abs=1)


@pytest.mark.parametrize("length", [16, 1024, 1040, 2048, 3008, 7712])
def test_spans_cover_everything_and_overlap(length):
    found = spans(length, tile=1024, overlap=192)
    assert found[0][0] == 0
    assert found[-1][1] == length
    for (start, end), (next_start, next_end) in pairwise(found):
        assert next_start > start
        assert end - next_start >= 192
        assert next_end - next_start == 1024
    assert all(edge % 16 == 0 for span in found for edge in span)
