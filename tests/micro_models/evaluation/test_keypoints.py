from __future__ import annotations

import math

import numpy as np
import pytest

from micro_models.evaluation.keypoints import point_errors
from micro_models.regions import Box, Keypoints, Region


def mouse(*points: tuple[float, float], seen: tuple[float, ...] | None = None, score=0.5) -> Region:
    scores = np.array(seen or (1.0,) * len(points), np.float32)
    return Region("mouse", Keypoints(np.array(points, np.float32), scores), score)


TRUE = mouse((0, 0), (100, 0))


@pytest.mark.parametrize(
    ("found", "truth", "within", "error"),
    [
        ([TRUE], TRUE, 1.0, 0.0),
        ([mouse((0, 10), (100, 10))], TRUE, 1.0, 10.0),
        ([mouse((0, 11), (100, 0))], TRUE, 0.5, 5.5),
        ([mouse((0, 0), (100, 0), score=0.4), mouse((0, 50), (100, 50))], TRUE, 0.0, 50.0),
        ([mouse((0, 99), (100, 0))], mouse((0, 0), (100, 0), seen=(0, 1)), 1.0, 0.0),
        ([mouse((0, 0))], TRUE, 0.0, None),
        ([Region("mouse", Box(0, 0, 9, 9))], TRUE, 0.0, None),
        ([], TRUE, 0.0, None),
        # One point alone has no length: within 10 px.
        ([mouse((6, 8))], mouse((0, 0)), 1.0, 10.0),
        ([mouse((6, 9))], mouse((0, 0)), 0.0, math.hypot(6, 9)),
    ],
)
def test_one_skeleton(found: list[Region], truth: Region, within: float, error: float) -> None:
    errors = point_errors([found], [[truth]])
    assert errors.within == pytest.approx(within)
    assert errors.mean_error_px == (error if error is None else pytest.approx(error))


def test_images_count_by_their_points() -> None:
    errors = point_errors([[TRUE], []], [[TRUE], [TRUE, TRUE]])
    assert (errors.within, errors.points) == (pytest.approx(1 / 3), 6)
