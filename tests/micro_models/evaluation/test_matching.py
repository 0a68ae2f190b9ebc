from __future__ import annotations

import pytest

from micro_models.evaluation.matching import match
from micro_models.regions import Box, Region, WholeImage


def box(label: str, x: float, score: float = 1.0, width: float = 10) -> Region:
    return Region(label, Box(x, 0, x + width, 10), score)


CARS = [box("car", 0), box("car", 100)]


@pytest.mark.parametrize(
    ("found", "truth", "pairs", "extra", "missed"),
    [
        ([], [], [], [], []),
        ([], CARS, [], [], [0, 1]),
        (CARS, [], [], [0, 1], []),
        ([box("car", 100, 0.9), box("car", 0, 0.8)], CARS, [(0, 1), (1, 0)], [], []),
        # Two on one object: the better score takes it, though it is the worse box.
        ([box("car", 0, 0.5), box("car", 2, 0.9)], CARS, [(1, 0)], [0], [1]),
        # A found one between two objects leaves the one that another needs.
        (
            [box("car", 3, 0.9), box("car", 0, 0.5)],
            [box("car", 0), box("car", 4)],
            [(0, 1), (1, 0)],
            [],
            [],
        ),
        ([box("bus", 0, 0.9)], CARS, [], [0], [0, 1]),
        ([box("car", 6, 0.9)], CARS, [], [0], [0, 1]),
        ([box("Fähre 渡し", 0)], [box("Fähre 渡し", 0)], [(0, 0)], [], []),
        ([Region("sunny", WholeImage(), 0.7)], [Region("sunny", WholeImage())], [(0, 0)], [], []),
        ([Region("rainy", WholeImage(), 0.7)], [Region("sunny", WholeImage())], [], [0], [0]),
        # Equal scores: in the order given.
        ([box("car", 1, 0.5), box("car", 0, 0.5)], CARS[:1], [(0, 0)], [1], []),
    ],
)
def test_who_is_whom(
    found: list[Region],
    truth: list[Region],
    pairs: list[tuple[int, int]],
    extra: list[int],
    missed: list[int],
) -> None:
    matches = match(found, truth)
    assert [(pair.found, pair.truth) for pair in matches.pairs] == pairs
    assert (list(matches.extra), list(matches.missed)) == (extra, missed)
    assert matches.right.tolist() == [i not in extra for i in range(len(found))]


def test_how_alike_is_asked() -> None:
    found = [box("car", 2.5, 0.9)]
    assert match(found, CARS, min_iou=0.6).pairs[0].similarity == pytest.approx(0.6)
    assert not match(found, CARS, min_iou=0.61).pairs


def test_what_has_nothing_in_common_is_never_right() -> None:
    assert not match([box("car", 50)], CARS, min_iou=0.0).pairs


def test_hundreds_are_all_found() -> None:
    many = [box("cell", 20.0 * i, score=1 - i / 1000) for i in range(300)]
    assert len(match(many, many[::-1]).pairs) == 300
