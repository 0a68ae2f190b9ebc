"""Curves through measured points: what they foretell, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from micro_models.learning_curves import Point, fit_curve, points

SIZES = (8, 16, 32, 64, 128)
Truth = Callable[[float], float]


def measured(truth: Truth, *, sizes: tuple[int, ...] = SIZES, error: float = 0.005) -> list[Point]:
    return [Point(size, truth(size), error) for size in sizes]


@pytest.mark.parametrize(
    ("truth", "near"),
    [
        (lambda n: 1 - 1.5 * n**-0.5, 0.02),
        (lambda n: 0.8 - 1.0 * n**-0.6, 0.03),
        (lambda n: 0.7, 0.015),
        (lambda n: 0.9 - 0.5 * np.exp(-n / 40), 0.03),
        (lambda n: 1.0, 0.005),
        (lambda n: 0.0, 0.05),
    ],
    ids=["power law", "with a floor", "level", "exponential", "perfect", "hopeless"],
)
def test_four_times_the_labels(truth: Truth, near: float) -> None:
    told = fit_curve(measured(truth)).forecast(512)
    assert told.score[0] == pytest.approx(truth(512), abs=near)
    assert told.low[0] - 0.01 <= truth(512) <= told.high[0] + 0.01


def test_doubt_grows_with_the_distance_and_the_noise() -> None:
    def truth(size: float) -> float:
        return 1 - 1.2 * size**-0.4

    told = fit_curve(measured(truth)).forecast([128, 256, 512, 1024])
    widths = told.high - told.low
    assert (np.diff(widths) > 0).all()
    noisy = fit_curve(measured(truth, error=0.05)).forecast(512)
    assert noisy.high[0] - noisy.low[0] > 1.5 * widths[2]


def test_scores_never_fall_and_stay_between_0_and_1() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        scores = rng.uniform(0, 1, 5)
        told = fit_curve([Point(n, s, 0.1) for n, s in zip(SIZES, scores, strict=True)])
        every = told.forecast(np.geomspace(1, 5000, 60))
        assert (np.diff(every.score) >= -1e-9).all()
        assert (every.low >= 0).all()
        assert (every.high <= 1).all()
        assert (every.low <= every.score).all()
        assert (every.score <= every.high).all()


def test_families_count_by_what_they_foretell() -> None:
    weights = fit_curve(measured(lambda n: 0.75)).weights
    assert max(weights, key=weights.__getitem__) == "level"
    assert sum(weights.values()) == pytest.approx(1)
    rising = fit_curve(measured(lambda n: 1 - 1.5 * n**-0.5)).weights
    assert rising["level"] < 0.01


def test_order_does_not_matter_and_nothing_is_drawn_by_lot() -> None:
    some = measured(lambda n: 1 - n**-0.4)
    one, other = fit_curve(some), fit_curve(some[::-1])
    assert one.forecast(300).score[0] == other.forecast(300).score[0]


@pytest.mark.parametrize("sizes", [(), (8, 16), (8, 8, 16)])
def test_too_few_sizes(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="3 points or more"):
        fit_curve([Point(size, 0.5, 0.1) for size in sizes])


def test_points_of_single_trainings() -> None:
    found = points([(20, 0.8), (10, 0.5), (10, 0.7), (21, 0.9)])
    assert [(one.labels, one.score, one.draws) for one in found] == [(10, 0.6, 2), (20, 0.85, 2)]
    assert all(one.error > 0 for one in found)


def test_points_of_one_draw_each_are_not_held_for_certain() -> None:
    found = points([(10, 0.5), (20, 0.5), (40, 1.0)])
    assert all(one.error > 0.05 for one in found)


def test_no_points() -> None:
    assert points([]) == ()


@pytest.mark.parametrize("wrong", [(0, 0.5, 0.1), (5, 1.5, 0.1), (5, 0.5, float("nan"))])
def test_no_such_point(wrong: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="no point"):
        Point(*wrong)


def test_the_interval_holds_what_it_says() -> None:
    """Noisy curves of families that are known, and not those that it was tuned on."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(60):
        floor, exponent = rng.uniform(0, 0.3), rng.uniform(0.2, 0.9)
        error = [min(floor + 0.6 * (n / 8) ** -exponent, 1) for n in (*SIZES, 512)]
        draws = [np.clip(1 - e + 0.02 * rng.normal(size=3), 0, 1) for e in error[:-1]]
        some = points((n, float(s)) for n, row in zip(SIZES, draws, strict=True) for s in row)
        told = fit_curve(some).forecast(512)
        inside.append(told.low[0] <= 1 - error[-1] <= told.high[0])
    assert np.mean(inside) > 0.7
