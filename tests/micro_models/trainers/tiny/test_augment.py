"""What may be changed in a labelled image, and that it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micro_models.examples import Example
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Point,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)
from micro_models.trainers.tiny.augment import Policy, about, photometric, random_affine


def policy(*shapes: Shape, labels: str = "a") -> Policy:
    named = [Region(labels[at % len(labels)], shape) for at, shape in enumerate(shapes)]
    return Policy.of([Example("a.png", named)])


def bones(degrees: float) -> Keypoints:
    x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Keypoints(np.array([[0, 0], [9 * x, 9 * y]], np.float32), np.ones(2, np.float32))


TALL, WIDE = Box(0, 0, 10, 20), Box(0, 0, 20, 10)
STEADY, ROUND = (3, 8, -5, 4, 0, 6, 2), (0, 40, 80, 120, 160, 200, 240, 280, 320)


@pytest.mark.parametrize(
    ("shapes", "turns"),
    [
        ([], False),
        ([TALL] * 9, False),
        ([TALL, WIDE] * 5, True),
        ([TALL, WIDE], False),
        ([Box(0, 0, 10, 10)] * 20, False),
        ([RotatedBox(9, 9, 20, 5, at) for at in STEADY], False),
        ([RotatedBox(9, 9, 20, 5, at) for at in ROUND], True),
        ([RotatedBox(9, 9, 5, 20, at) for at in STEADY], False),
        ([Ellipse(9, 9, 20, 5, at) for at in ROUND], True),
        ([Ellipse(9, 9, 5, 5, at) for at in ROUND], False),
        ([bones(at) for at in STEADY], False),
        ([bones(at) for at in ROUND], True),
        ([bones(at) for at in ROUND] + [TALL] * 10, False),
        ([WholeImage()] * 9, False),
    ],
)
def test_images_are_turned_if_their_objects_are(shapes: list[Shape], turns: bool):
    assert policy(*shapes).turn is turns


@pytest.mark.parametrize(
    ("shapes", "labels", "degrees"),
    [
        ([bones(at) for at in (-20, 20, -20, 20)], "a", 41),
        ([RotatedBox(9, 9, 20, 5, at) for at in (-10, 10, -10, 10)], "a", 20),
        ([RotatedBox(9, 9, 20, 5, at) for at in STEADY], "a", 8),
        ([bones(at) for at in (-25, 0, 25, 0) for _ in "ab"], "ab", 36),
        # One label that always lies alike holds back the other.
        ([bones(at) for at in (-25, 0, 25, 0, 25, 0, -25, 0)], "ab", 4),
        # Upright boxes would no longer be tight.
        ([bones(at) for at in (-25, 25, -25, 25)] + [TALL], "aaaab", 4),
        ([bones(at) for at in (-25, 25)], "a", 4),
    ],
)
def test_images_sway_as_far_as_their_objects(shapes: list[Shape], labels: str, degrees: float):
    assert policy(*shapes, labels=labels).sway_deg == pytest.approx(degrees, abs=2)


@pytest.mark.parametrize(
    ("shapes", "labels", "mirrors"),
    [
        ([TALL] * 3, "a", True),
        ([Point(1, 1)] * 3, "a", True),
        ([Point(1, 1)] * 3, "ab", False),
        ([bones(0)], "a", False),
        ([TALL, bones(0)], "ab", False),
        ([WholeImage()], "a", True),
    ],
)
def test_left_stays_left_where_points_have_names(shapes: list[Shape], labels: str, mirrors: bool):
    assert policy(*shapes, labels=labels).mirror is mirrors


def test_random_changes_keep_to_the_policy():
    rng = np.random.default_rng(0)
    calm = Policy(size=0.2, aspect=0.1, sway_deg=3, mirror=False)
    for _ in range(200):
        turn = random_affine(rng, calm)
        assert math.exp(-0.4) <= np.linalg.det(turn) <= math.exp(0.4)
        assert abs(math.degrees(math.atan2(turn[1, 0], turn[0, 0]))) < 3.1
    wild = Policy(mirror=True, turn=True)
    turns = np.array([random_affine(rng, wild) for _ in range(200)])
    assert 60 < (np.linalg.det(turns) < 0).sum() < 140
    quarters = np.round(np.degrees(np.arctan2(turns[:, 1, 0], turns[:, 0, 0])) / 90) % 4
    assert {0, 1, 2, 3} == set(quarters.tolist())


def test_a_point_is_brought_to_its_place():
    matrix = about(np.array([[0.0, -2], [2, 0]]), np.array([7.0, 3]), np.array([40.0, 50]))
    assert (matrix @ (7, 3, 1)).tolist() == [40, 50]
    assert (matrix @ (8, 3, 1)).tolist() == [40, 52]


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (40, 60)])
def test_the_same_generator_gives_the_same_light(size: tuple[int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = pixels.copy()
    first = [photometric(pixels, rng) for rng in [np.random.default_rng(1)] for _ in range(30)]
    again = [photometric(pixels, rng) for rng in [np.random.default_rng(1)] for _ in range(30)]
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert all(one.shape == pixels.shape and one.dtype == np.uint8 for one in first)
    assert len({one.tobytes() for one in first}) > 20
    assert (pixels == before).all()


def test_light_changes_but_the_picture_stays():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, 20:] = 180
    rng = np.random.default_rng(2)
    for _ in range(100):
        lit = photometric(pixels, rng).astype(float)
        assert lit[:, 30:].mean() > lit[:, :10].mean() + 60
