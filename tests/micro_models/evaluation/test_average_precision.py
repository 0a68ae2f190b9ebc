from __future__ import annotations

import numpy as np
import pytest

from micro_models.evaluation.average_precision import (
    average_precision,
    average_precisions,
    mean_average_precision,
)
from micro_models.regions import Box, Region, WholeImage


def box(label: str, x: float, score: float = 1.0) -> Region:
    return Region(label, Box(x, 0, x + 10, 10), score)


@pytest.mark.parametrize(
    ("scores", "right", "count", "expected"),
    [
        ([], [], 3, 0.0),
        ([0.9], [True], 0, 0.0),
        ([0.9, 0.8], [True, True], 2, 1.0),
        ([0.9, 0.8], [True, True], 4, 51 / 101),  # recalls 0..0.50 are reached
        ([0.9, 0.8], [False, True], 1, 0.5),
        ([0.1, 0.2], [False, True], 1, 1.0),  # in any order
        ([0.9, 0.8, 0.7, 0.6], [True, False, False, True], 2, (51 + 50 * 0.5) / 101),
        # A later better precision counts for lower recalls too.
        ([0.9, 0.8, 0.7, 0.6], [False, True, True, True], 3, 0.75),
        # Equal scores know no order.
        ([0.5, 0.5], [True, False], 1, 0.5),
        ([0.5, 0.5], [False, True], 1, 0.5),
    ],
)
def test_the_area_under_the_curve(
    scores: list[float], right: list[bool], count: int, expected: float
) -> None:
    assert average_precision(scores, right, count=count) == pytest.approx(expected)


def test_images_are_ranked_together_and_labels_apart() -> None:
    truth = [[box("car", 0), box("bus", 50)], [box("car", 0)], []]
    found = [
        [box("car", 0, 0.6), box("bus", 50, 0.1)],
        [box("car", 90, 0.7), box("car", 0, 0.5)],
        [box("tram", 0, 0.99)],  # of a label that the truth lacks
    ]
    by_label = average_precisions(found, truth)
    ranked = average_precision([0.7, 0.6, 0.5], [False, True, True], count=2)
    assert by_label == {"bus": 1.0, "car": pytest.approx(ranked)}
    assert mean_average_precision(found, truth) == pytest.approx((1 + ranked) / 2)


def test_how_alike_is_asked() -> None:
    truth, found = [[box("car", 0)]], [[box("car", 2.5, 0.9)]]
    assert mean_average_precision(found, truth) == 1.0
    assert mean_average_precision(found, truth, min_iou=0.75) == 0.0


def test_classes_rank_the_images() -> None:
    truth = [[Region("ant", WholeImage())], [Region("bee", WholeImage())]]
    scores = [(0.9, 0.1), (0.6, 0.4)]
    found = [
        [Region("ant", WholeImage(), ant), Region("bee", WholeImage(), bee)] for ant, bee in scores
    ]
    assert average_precisions(found, truth) == {"ant": 1.0, "bee": 1.0}


@pytest.mark.parametrize(("found", "expected"), [([[]], 1.0), ([[box("car", 0)]], 0.0), ([], 1.0)])
def test_without_any_object(found: list[list[Region]], expected: float) -> None:
    assert mean_average_precision(found, [[] for _ in found]) == expected


def test_noise_has_about_the_share_of_what_is_right() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(4000) < 0.3
    value = average_precision(rng.random(4000), right, count=int(right.sum()))
    assert value == pytest.approx(0.3, abs=0.03)
