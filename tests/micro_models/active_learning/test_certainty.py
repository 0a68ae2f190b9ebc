from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro_models.active_learning.certainty import (
    joint_certainty,
    margin_certainty,
    near_miss_floor,
    threshold_certainty,
)

SCORE = st.floats(0, 1)


@pytest.mark.parametrize(
    ("scores", "threshold", "expected"),
    [
        ([], 0.5, 1.0),  # nothing there, and nothing that nearly was
        ([1.0], 0.5, 1.0),
        ([0.5], 0.5, 0.0),  # a coin's throw
        ([0.75], 0.5, 0.5),
        ([0.25], 0.5, 1.0),  # the floor
        ([0.1], 0.5, 1.0),
        ([0.375], 0.5, 0.5),  # a near miss
        ([0.9, 0.55, 0.95], 0.5, 0.1),  # the least sure one decides
        ([0.06], 0.05, 0.01 / 0.95),
        ([0.3], 0.0, 0.3),
        ([1.0], 1.0, 1.0),
        ([0.75], 1.0, 0.5),
    ],
)
def test_the_decision_nearest_to_the_threshold(
    scores: list[float], threshold: float, expected: float
) -> None:
    assert threshold_certainty(scores, threshold=threshold) == pytest.approx(expected)


@given(st.lists(SCORE), SCORE, SCORE)
def test_more_candidates_never_make_it_surer(
    scores: list[float], more: float, threshold: float
) -> None:
    before = threshold_certainty(scores, threshold=threshold)
    assert 0 <= threshold_certainty([*scores, more], threshold=threshold) <= before <= 1


@given(st.lists(SCORE), SCORE)
def test_what_lies_below_the_floor_changes_nothing(scores: list[float], threshold: float) -> None:
    floor = near_miss_floor(threshold)
    kept = [score for score in scores if score >= floor]
    assert threshold_certainty(scores, threshold=threshold) == threshold_certainty(
        kept, threshold=threshold
    )


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([], 0.0), ([0.4], 0.4), ([0.5, 0.5], 0.0), ([0.1, 0.7, 0.2], 0.5), ([1.0, 0.0], 1.0)],
)
def test_the_best_ahead_of_the_second(scores: list[float], expected: float) -> None:
    assert margin_certainty(scores) == pytest.approx(expected)


def test_the_least_sure_answer_counts() -> None:
    assert joint_certainty([0.9, 0.2, 0.5]) == 0.2
    assert joint_certainty([]) == 1.0
