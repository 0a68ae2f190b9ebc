from __future__ import annotations

import pytest

from micro_models.examples import Example
from micro_models.regions import Box, Region
from micro_models.trainers.tiny.alone import alone, doubted


def seen(*labels):
    return Example("a.png", [Region(label, Box(0, 0, 4, 4)) for label in labels])


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([seen("a"), seen("a"), seen("a"), seen()], {"a": 3}),
        ([seen("a"), seen("a")], {}),
        ([seen("a"), seen("a"), seen("a", "a"), seen("a")], {}),
        ([seen("a", "b"), seen("a", "b", "b"), seen("a")], {"a": 3}),
        ([], {}),
    ],
)
def test_alone(examples, expected):
    assert alone(examples) == expected


def test_only_what_was_alone_is_doubted_and_the_order_is_kept():
    regions = [
        Region(label, Box(0, 0, 4, 4), score)
        for label, score in [("a", 0.9), ("b", 0.8), ("b", 0.75), ("a", 0.7), ("a", 1.0)]
    ]
    found = doubted(regions, {"a": 4})
    assert [region.score for region in found] == sorted(
        (region.score for region in found), reverse=True
    )
    assert [region.score for region in found if region.label == "b"] == [0.8, 0.75]
    first, second, third = (region.score for region in found if region.label == "a")
    assert (first, second, third) == (1.0, pytest.approx(9 / 14), pytest.approx(7 / 22))
