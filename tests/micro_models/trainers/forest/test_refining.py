"""The second look at boxes."""

import numpy as np
import pytest

from micro_models.interface import ModelFileError
from micro_models.trainers.forest.planes import padded, planes
from micro_models.trainers.forest.refining import Known, Refiner, learned, restored

MARGIN = 4
WRONG = np.zeros((1, 769, 4), np.float32)


def view(seed: int) -> Known:
    """A bright box on noise, 30 x 40 cells."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 120, (60, 80, 3)).astype(np.uint8)
    x, y = rng.integers(8, 40), rng.integers(8, 30)
    pixels[y : y + 20, x : x + 26] = (230, 60, 40)
    boxes = np.array([[x, y, x + 26, y + 20]], np.float32) / 2
    return Known(padded(planes(pixels, coarse=3), margin=MARGIN), np.zeros(1, np.intp), boxes)


def refiner(kinds: list[bool]) -> Refiner:
    views = [view(seed) for seed in range(6)]
    return learned(views, kinds, margin=MARGIN, most=400, rng=np.random.default_rng(0))


def test_boxes_come_nearer_to_what_is_seen():
    found, unseen = refiner([True]), view(50)
    off = unseen.boxes + np.array([[1, 1, 1, 1], [-1, 1, 1, -1], [0, 0, 1, 1]], np.float32)
    refined = found.refined(unseen.seen, off, kind=0, margin=MARGIN)
    assert np.abs(refined - unseen.boxes).max() < 0.5
    assert np.abs(refined - unseen.boxes).mean() < 0.4 * np.abs(off - unseen.boxes).mean()


def test_kinds_without_boxes_to_learn_from_stay_as_they_are():
    found, unseen = refiner([False, True]), view(50)
    for kind in (0, 1):
        refined = found.refined(unseen.seen, unseen.boxes, kind=kind, margin=MARGIN)
        np.testing.assert_array_equal(refined, unseen.boxes)


def test_no_box_is_turned_inside_out():
    wild = Refiner(np.full((1, 769, 4), 1e6, np.float32) * np.array([1, 1, -1, -1], np.float32))
    boxes = np.array([[3, 3, 3.1, 9], [-50, -50, 90, 90], [80, 80, 81, 81]], np.float32)
    refined = wild.refined(view(0).seen, boxes, kind=0, margin=MARGIN)
    assert np.isfinite(refined).all()
    assert (refined[:, 2:] >= refined[:, :2]).all()


@pytest.mark.parametrize(
    "stored", [WRONG[:, 1:], WRONG.astype(np.float64), WRONG + np.nan, WRONG[:0], WRONG[0]]
)
def test_corrections_that_no_training_made_are_refused(stored):
    with pytest.raises(ModelFileError, match="corrections"):
        restored(stored, kinds=1)
