"""What is read off curves: labels for a target, crossings, ways and what they cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from micro_models.learning_curves import (
    LearningCurve,
    Point,
    Prices,
    Way,
    crossing,
    fit_curve,
    labels_needed,
    noise_of,
    plan,
    reach,
)

SIZES = (8, 16, 32, 64, 128)
CHEAP = Prices(label=0.05, engineer_hour=40.0, engineer_hours=8.0, labels_per_day=200.0)


def curve(truth: Callable[[float], float], error: float = 0.004) -> LearningCurve:
    return fit_curve([Point(size, truth(size), error) for size in SIZES])


RISING = curve(lambda n: 1 - 1.2 * n**-0.5)
LEVEL = curve(lambda n: 0.7)


def test_labels_for_a_target() -> None:
    needed = labels_needed(RISING, 0.94)  # at 400
    assert needed.likely == pytest.approx(400, rel=0.35)
    assert needed.least is not None
    assert needed.most is not None
    assert needed.least < needed.likely < needed.most
    assert needed.beyond == 16 * 128


def test_what_is_reached_already_takes_no_more() -> None:
    needed = labels_needed(RISING, 0.8)
    assert needed.likely is not None
    assert needed.likely < 64


def test_a_target_above_the_curve_is_not_in_sight() -> None:
    needed = labels_needed(LEVEL, 0.9)
    assert (needed.least, needed.likely, needed.most) == (None, None, None)
    assert reach(LEVEL).high < 0.9
    assert reach(LEVEL).labels == 16 * 128


def test_curves_cross_where_the_better_one_changes() -> None:
    quick = curve(lambda n: 0.85 - 0.4 * n**-0.7)
    found = crossing(quick, RISING)
    assert found is not None
    assert found.rising == 1
    assert 32 < found.labels < 160
    other = crossing(RISING, quick)
    assert other is not None
    assert (other.labels, other.rising) == (found.labels, 0)
    assert found.low is None or found.low <= found.labels
    assert found.high is not None
    assert found.high >= found.labels
    assert crossing(quick, RISING, after=1000) is None


def test_curves_that_do_not_cross() -> None:
    assert crossing(RISING, curve(lambda n: 1 - 1.9 * n**-0.5)) is None
    assert crossing(RISING, RISING) is None


@pytest.mark.parametrize(
    ("curves", "target", "prices", "best"),
    [
        ({"a": RISING}, 0.94, CHEAP, Way.LABEL),
        ({"a": RISING}, 0.80, CHEAP, Way.NOTHING),
        ({"a": LEVEL}, 0.90, CHEAP, Way.ENGINEER),
        ({"a": RISING}, 0.94, Prices(10.0, 40.0), Way.ENGINEER),
        ({"a": LEVEL, "b": RISING}, 0.94, CHEAP, Way.LABEL),
        ({"a": RISING}, 0.94, Prices(0.0, 0.0), Way.LABEL),
    ],
    ids=["cheap labels", "reached", "out of sight", "dear labels", "the other family", "free"],
)
def test_the_best_way(
    curves: dict[str, LearningCurve], target: float, prices: Prices, best: Way
) -> None:
    made = plan(curves, target=target, now=128, prices=prices)
    assert made.best is best
    first = next(one for one in made.options if one.way is Way.LABEL)
    assert all(one.cost[1] is None or one.cost[1] >= 0 for one in made.options)
    if best is Way.LABEL:
        likely = labels_needed(RISING, target).likely
        assert likely is not None
        assert first.labels[1] == likely - 128
        assert first.cost[1] == pytest.approx((likely - 128) * prices.label)
        assert first.days == pytest.approx((likely - 128) / prices.labels_per_day)


def test_labels_in_hours_of_engineering() -> None:
    made = plan({"a": RISING}, target=0.94, now=128, prices=Prices(1.0, 40.0))
    label = next(one for one in made.options if one.way is Way.LABEL)
    assert label.cost[1] is not None
    assert made.hours_worth == pytest.approx(label.cost[1] / 40)
    assert plan({"a": LEVEL}, target=0.9, now=128, prices=CHEAP).hours_worth is None


def test_wrong_labels_come_first_where_they_cap_the_target() -> None:
    noise = noise_of(60, 400)
    made = plan({"a": RISING}, target=0.94, now=128, prices=CHEAP, noise=noise)
    assert made.best is Way.FIX
    assert "60 of 400" in made.why
    fix = next(one for one in made.options if one.way is Way.FIX)
    assert fix.cost == (3.0, 3.0, 3.0)
    clean = plan({"a": RISING}, target=0.94, now=128, prices=CHEAP, noise=noise_of(4, 400))
    assert clean.best is Way.LABEL


def test_wrong_labels_may_stay_where_the_target_is_reached() -> None:
    noise = noise_of(100, 400)
    made = plan({"a": RISING}, target=0.80, now=128, prices=CHEAP, noise=noise)
    assert 1 - noise.low < 0.80
    assert (made.best, made.why) == (Way.NOTHING, "the labels at hand should do")


def test_noise_has_an_interval() -> None:
    some, none = noise_of(10, 100), noise_of(0, 50)
    assert some.low < 0.1 < some.high
    assert (none.rate, none.low) == (0, 0)
    assert 0 < none.high < 0.05
    for wrong in ((5, 4), (-1, 4), (0, 0)):
        with pytest.raises(ValueError, match="cannot be wrong"):
            noise_of(*wrong)


@pytest.mark.parametrize(
    "wrong", [{"label": -1.0}, {"label": float("nan")}, {"labels_per_day": 0.0}]
)
def test_no_such_prices(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="prices"):
        Prices(**{"label": 1.0, "engineer_hour": 1.0, **wrong})
