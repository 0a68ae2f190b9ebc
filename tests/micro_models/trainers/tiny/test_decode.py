"""What an imperfect network tells is made the best of."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.evaluation.overlap import similarity
from micro_models.regions import Box, Keypoints, Mask, Polygon, Region, RotatedBox
from micro_models.trainers.tiny.decode import decode
from micro_models.trainers.tiny.spec import Kind, Located, Spec
from micro_models.trainers.tiny.targets import encode

BOXES = Spec((Located("a", Kind.BOX), Located("b", Kind.BOX)), most_objects=5)
Outputs = dict[str, np.ndarray]


def outputs(spec: Spec, height: int = 12, width: int = 16) -> Outputs:
    """Of a network that sees nothing."""
    maps = {name: np.zeros((n, height, width), np.float32) for name, n in spec.heads.items()}
    maps["sides"][:] = 2
    return maps


def told(found: Outputs, spec: Spec = BOXES, **options: float) -> list[Region]:
    return decode(found, spec, width_px=64, height_px=48, **options)


def test_the_better_of_two_that_overlap_stays_unless_labels_differ():
    found = outputs(BOXES)
    found["heat"][0, 5, 6], found["heat"][0, 5, 8], found["heat"][1, 5, 8] = 0.9, 0.8, 0.7
    assert [(one.label, round(one.score, 2)) for one in told(found)] == [
        ("a", 0.9),
        ("a", 0.8),
        ("b", 0.7),
    ]
    found["sides"][:, 5, 8] = 4, 2, 0.1, 2  # the box of the cell two to the left, nearly
    assert [(one.label, round(one.score, 2)) for one in told(found)] == [("a", 0.9), ("b", 0.7)]
    assert len(told(found, max_overlap=1.0)) == 3


def test_turned_boxes_that_cross_are_two():
    spec = Spec((Located("a", Kind.ROTATED),), most_objects=5)
    found = outputs(spec)
    found["sides"][:] = np.array([5, 1, 5, 1])[:, None, None]
    found["heat"][0, 5, 6], found["heat"][0, 5, 8] = 0.9, 0.8
    found["angle"][1] = 1
    assert len(told(found, spec)) == 1
    found["angle"][:, 5, 8] = 0, -1  # upright
    first, second = told(found, spec)
    assert isinstance(first.shape, RotatedBox)
    assert isinstance(second.shape, RotatedBox)
    assert (first.shape.angle_deg, second.shape.angle_deg) == pytest.approx((0, 90))


def test_at_most_so_many_are_told_and_the_best_first():
    found = outputs(BOXES)
    found["sides"][:] = 0.4
    rng = np.random.default_rng(0)
    found["heat"][:, ::2, ::2] = rng.uniform(0.1, 1, (2, 6, 8))
    everything = told(found)
    assert len(everything) == 96
    scores = [one.score for one in everything]
    assert scores == sorted(scores, reverse=True)
    assert told(found, max_objects=10) == everything[:10]
    assert len(told(found, min_score=0.5)) == sum(score >= 0.5 for score in scores)


def test_a_plateau_is_one_object():
    car = Region("a", Box(12, 8, 44, 40))
    targets = encode([car], BOXES, width_px=64, height_px=48)
    found = {name: getattr(targets, name).copy() for name in BOXES.heads}
    found["heat"][0, 5:7, 6:8] = 1
    assert told(found) == [car]


def test_what_is_beyond_the_image_is_not_looked_at():
    found = outputs(BOXES, height=16, width=32)
    found["heat"][0, 13, 4] = found["heat"][0, 5, 20] = 0.9
    assert told(found) == []
    found["heat"][0, 11, 15] = 0.9
    (corner,) = told(found)
    assert corner.shape == Box(54, 38, 64, 48)


def test_numbers_that_are_none_do_no_harm():
    spec = Spec(
        (
            Located("bones", Kind.KEYPOINTS, 2),
            Located("mask", Kind.MASK),
            Located("outline", Kind.POLYGON),
            Located("turned", Kind.ELLIPSE),
        ),
        ("day",),
    )
    for wrong in (np.nan, np.inf, -np.inf, 1e30):
        found = {name: np.full((n, 12, 16), wrong, np.float32) for name, n in spec.heads.items()}
        found["classes"] = np.full(1, wrong, np.float32)
        found["heat"][:] = 0
        found["heat"][:, 5, 6] = 0.9
        for region in told(found, spec):
            assert 0 <= region.score <= 1


@pytest.mark.parametrize(("kind", "shape"), [(Kind.MASK, Mask), (Kind.POLYGON, Polygon)])
def test_an_object_without_an_outline_is_told_by_its_box(kind: Kind, shape: type):
    spec = Spec((Located("a", kind),))
    found = outputs(spec)
    found["heat"][0, 5, 6] = 0.9
    (region,) = told(found, spec)
    assert isinstance(region.shape, shape)
    assert similarity(region.shape, Box(18, 14, 34, 30)) > 0.9


def test_an_outline_has_no_specks():
    spec = Spec((Located("a", Kind.MASK),))
    pixels = np.zeros((48, 64), np.bool_)
    pixels[8:40, 8:40] = True
    targets = encode([Region("a", Mask(pixels))], spec, width_px=64, height_px=48)
    found = {name: getattr(targets, name).copy() for name in spec.heads}
    found["mask"][0, 2:10, 8:10] = 0
    found["mask"][0, 5, 9] = 0.9
    (region,) = told(found, spec)
    assert isinstance(region.shape, Mask)
    assert not region.shape.pixels[:, 36:].any()
    assert region.shape.pixels[12:36, 12:30].all()


def test_a_small_object_has_an_outline_although_it_covers_no_cell():
    spec = Spec((Located("a", Kind.MASK),))
    pixels = np.zeros((48, 64), np.bool_)
    pixels[19:22, 23:26] = True
    targets = encode([Region("a", Mask(pixels))], spec, width_px=64, height_px=48)
    (region,) = told({name: getattr(targets, name) for name in spec.heads}, spec)
    assert isinstance(region.shape, Mask)
    assert 4 <= region.shape.area_px <= 40
    assert (region.shape.pixels & pixels).any()


def test_a_key_point_is_where_the_object_tells_it_unless_a_peak_is_near():
    spec = Spec((Located("a", Kind.KEYPOINTS, 2),))
    found = outputs(spec)
    found["sides"][:] = 4
    found["heat"][0, 5, 6] = 0.9
    found["point_offset"][:, 5, 6] = -3, 0, 3, 0
    found["point_heat"][0, 6, 4] = 0.8  # near the first
    found["point_heat"][1, 0, 0] = 0.8  # far from the second
    (region,) = told(found, spec)
    assert isinstance(region.shape, Keypoints)
    assert region.shape.points.tolist() == [[18, 26], [38, 22]]
    assert region.shape.scores.tolist() == pytest.approx([0.8, 0])
