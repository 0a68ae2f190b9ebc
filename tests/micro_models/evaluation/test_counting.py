from __future__ import annotations

import pytest

from micro_models.evaluation.counting import Counts, count, is_right, label_efficiency
from micro_models.regions import Box, Region


def box(x: float, score: float = 1.0) -> Region:
    return Region("car", Box(x, 0, x + 10, 10), score)


CAR = [box(0)]


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ([], [], Counts(0, 0, 0, 0, 0.0)),
        ([CAR], [CAR], Counts(1, 0, 0, 0, 1.0)),
        ([[]], [CAR], Counts(0, 0, 1, 0, 0.0)),
        ([CAR], [[]], Counts(0, 1, 0, 1, 0.0)),
        ([[box(0, 0.49)]], [CAR], Counts(0, 0, 1, 0, 0.0)),
        ([[box(0, 0.5)]], [CAR], Counts(1, 0, 0, 0, 1.0)),
        # All that is shown counts, not the best alone; a wrong one beside an object is no alarm.
        ([[box(0, 0.9), box(50, 0.8), box(90, 0.7)]], [CAR], Counts(1, 2, 0, 0, 1.0)),
        ([CAR, CAR, []], [CAR, [], CAR], Counts(1, 1, 1, 1, 1.0)),
    ],
)
def test_counts(found: list[list[Region]], truth: list[list[Region]], expected: Counts) -> None:
    assert count(found, truth) == expected


@pytest.mark.parametrize(
    ("counts", "precision", "recall", "f1", "mean_iou"),
    [
        (Counts(0, 0, 0, 0, 0.0), 1.0, 1.0, 1.0, 0.0),
        (Counts(0, 0, 5, 0, 0.0), 1.0, 0.0, 0.0, 0.0),
        (Counts(0, 5, 0, 5, 0.0), 0.0, 1.0, 0.0, 0.0),
        (Counts(3, 1, 2, 0, 2.4), 0.75, 0.6, 6 / 9, 0.8),
    ],
)
def test_shares(
    counts: Counts, precision: float, recall: float, f1: float, mean_iou: float
) -> None:
    shares = (counts.precision, counts.recall, counts.f1, counts.mean_iou)
    assert shares == pytest.approx((precision, recall, f1, mean_iou))


def test_an_image_is_right_as_a_whole() -> None:
    assert is_right([box(0, 0.9), box(50, 0.4)], CAR)
    assert not is_right([box(0, 0.9), box(50, 0.6)], CAR)
    assert not is_right([box(0, 0.9)], [box(0), box(50)])
    assert is_right([], [])


@pytest.mark.parametrize(
    ("found", "truth", "drawn", "expected"),
    [
        ([CAR] * 4, [CAR] * 4, [True, False, False, False], 0.75),
        ([CAR] * 4, [CAR, CAR, [], []], [False] * 4, 1.0),  # absent ones do not count
        ([[], CAR], [CAR, CAR], [False, False], 0.5),
        ([[]], [[]], [True], 1.0),
    ],
)
def test_what_was_spared(
    found: list[list[Region]], truth: list[list[Region]], drawn: list[bool], expected: float
) -> None:
    assert label_efficiency(found, truth, drawn) == expected
