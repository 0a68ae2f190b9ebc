from __future__ import annotations

import pytest

from micro_models.evaluation.classes import accuracy, exact_match
from micro_models.regions import Box, Region, WholeImage


def classes(**scores: float) -> list[Region]:
    return [Region(label, WholeImage(), score) for label, score in scores.items()]


ANT, BEE = classes(ant=1.0), classes(bee=1.0)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ([], [], 0.0),
        ([classes(ant=0.4, bee=0.3)], [ANT], 1.0),  # the best, however low
        ([classes(ant=0.4, bee=0.5)], [ANT], 0.0),
        ([[]], [ANT], 0.0),
        ([classes(ant=0.9), classes(ant=0.9)], [ANT, []], 1.0),  # nothing is known of the second
        ([[Region("bee", Box(0, 0, 9, 9), 0.9), *classes(ant=0.4)]], [ANT], 1.0),
    ],
)
def test_the_best_class(
    found: list[list[Region]], truth: list[list[Region]], expected: float
) -> None:
    assert accuracy(found, truth) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (classes(ant=0.5, bee=0.9), 1.0),
        (classes(ant=0.49, bee=0.9), 0.0),
        (classes(ant=0.9, bee=0.9, wasp=0.6), 0.0),
    ],
)
def test_all_classes(found: list[Region], expected: float) -> None:
    assert exact_match([found], [ANT + BEE]) == expected
