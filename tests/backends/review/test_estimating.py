"""The corrected number of errors: right where the truth is known, silent where nothing tells."""

from __future__ import annotations

import numpy as np
import pytest

from backends.review.estimating import estimate
from backends.review.nouns import Tally


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_reviewer_without_mistakes_is_believed() -> None:
    found = estimate(Tally(100, 40, 50, 0, 50, 0), rng=rng())
    assert found.truly_wrong is not None
    assert found.truly_wrong.value == 0.4
    assert found.errors is not None
    value, low, high = found.errors
    assert (value, round(low), round(high)) == (40.0, 30, 50)
    assert found.false_yes is not None
    assert (found.false_yes.value, found.false_yes.low) == (0.0, 0.0)
    assert 0.02 < found.false_yes.high < 0.06  # Jeffreys': 0.049


@pytest.mark.parametrize(
    ("tally", "share"),
    [
        (Tally(100, 60, 100, 20, 100, 0), 0.5),  # (0.6 - 0.2) / 0.8
        (Tally(100, 60, 100, 0, 100, 25), 0.8),  # 0.6 / 0.75
        (Tally(100, 10, 100, 20, 100, 0), 0.0),  # fewer than would be called wrong by mistake
        (Tally(100, 95, 100, 0, 100, 10), 1.0),
    ],
)
def test_mistakes_are_taken_out(tally: Tally, share: float) -> None:
    found = estimate(tally, rng=rng())
    assert found.truly_wrong is not None
    assert found.truly_wrong.value == pytest.approx(share)
    assert found.truly_wrong.low <= share <= found.truly_wrong.high


@pytest.mark.parametrize(
    "tally",
    [
        Tally(),
        Tally(real=10, called_wrong=5),
        Tally(10, 5, known_right=5),
        Tally(10, 5, known_wrong=5),
        Tally(0, 0, 10, 0, 10, 0),
        Tally(100, 50, 20, 10, 20, 10),  # as good as a coin
        Tally(100, 50, 20, 20, 20, 20),  # who mixed up the keys
        Tally(100, 50, 1, 0, 1, 0),  # two answers tell little
    ],
)
def test_what_nothing_tells_is_not_told(tally: Tally) -> None:
    assert estimate(tally, rng=rng()).truly_wrong is None


@pytest.mark.parametrize(("false_yes", "false_no", "share"), [(0.1, 0.05, 0.3), (0.2, 0.2, 0.7)])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(
    false_yes: float, false_no: float, share: float
) -> None:
    draws, held = 100, 0
    people = np.random.default_rng(1)
    for _ in range(draws):
        wrong = people.binomial(100, share)
        called = people.binomial(wrong, 1 - false_no) + people.binomial(100 - wrong, false_yes)
        known = people.binomial(30, [false_yes, false_no])
        tally = Tally(100, int(called), 30, int(known[0]), 30, int(known[1]))
        found = estimate(tally, rng=rng()).truly_wrong
        held += found is not None and found.low <= share <= found.high
    assert held / draws >= 0.9
