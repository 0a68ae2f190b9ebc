from __future__ import annotations

import pytest

from micro_models.evaluation.presence import presence
from micro_models.regions import Box, Region

CAR, ASIDE, FAR = (Region("car", Box(x, 0, x + 10, 10)) for x in (0, 5, 90))
DOG = Region("dog", Box(0, 0, 10, 10), 0.1)

COUNTS = {
    "right": ([[CAR]], [[CAR]], (1, 0, 0), 1.0),
    "elsewhere": ([[FAR]], [[CAR]], (1, 0, 0), 0.0),
    "too much": ([[CAR]], [[]], (0, 1, 0), 0.0),
    "too little": ([[]], [[CAR]], (0, 0, 1), 0.0),
    "nothing": ([[]], [[]], (0, 0, 0), 0.0),
    "another label": ([[DOG]], [[CAR]], (0, 1, 1), 0.0),
    "one of two": ([[ASIDE]], [[FAR, CAR]], (1, 0, 1), 1 / 3),
    "each goes with the most alike": ([[FAR, ASIDE]], [[CAR, FAR]], (2, 0, 0), 2 / 3),
    "frames are added up": ([[CAR], [CAR], []], [[CAR], [], [CAR]], (1, 1, 1), 1.0),
}


@pytest.mark.parametrize(("found", "truth", "counts", "iou"), COUNTS.values(), ids=COUNTS)
def test_what_is_counted(found, truth, counts, iou) -> None:
    told = presence(found, truth)
    assert (told.both, told.extra, told.missed) == counts
    assert told.mean_iou == pytest.approx(iou)


def test_what_is_made_of_counts() -> None:
    told = presence([[CAR]] * 3 + [[]] * 2, [[CAR]] * 2 + [[]] + [[CAR]] * 2)
    assert (told.precision, told.recall) == (pytest.approx(2 / 3), 0.5)
    assert told.f1 == pytest.approx(4 / 7)


def test_nothing_found_where_nothing_is_is_right() -> None:
    told = presence([[]], [[]])
    assert (told.precision, told.recall, told.f1) == (1.0, 1.0, 1.0)


def test_as_many_frames_here_as_there() -> None:
    with pytest.raises(ValueError):
        presence([[CAR]], [])
