from __future__ import annotations

import numpy as np
import pytest

from micro_models.certificates import Monitor


def watched(verdicts: list[bool], **options: float) -> Monitor:
    monitor = Monitor(**{"max_error": 0.02, **options})
    for wrong in verdicts:
        monitor = monitor.after(wrong)
    return monitor


def after_any(seed: int, count: int) -> Monitor:
    return watched((np.random.default_rng(seed).random(count) < 0.1).tolist())


@pytest.mark.parametrize("count", [0, 1, 2, 30, 200])
@pytest.mark.parametrize("error", [0.0, 0.01, 0.02])
def test_no_bet_on_an_alarm_gains_while_the_error_is_low(count: int, error: float) -> None:
    now = after_any(count, count)
    then = error * now.after(True).evidence + (1 - error) * now.after(False).evidence
    assert then <= now.evidence * (1 + 1e-12)


def test_it_begins_with_one() -> None:
    new = Monitor(max_error=0.02)
    assert (new.evidence, new.alarm) == (1.0, False)


@pytest.mark.parametrize("error", [0.0, 0.1, 0.2])
def test_each_verdict_may_have_a_promise_of_its_own(error: float) -> None:
    now = after_any(30, 30)
    right, wrong = (now.after(one, max_error=0.2).evidence for one in (False, True))
    assert error * wrong + (1 - error) * right <= now.evidence * (1 + 1e-12)
    assert now.after(True).evidence > wrong > now.evidence


def test_what_stays_good_alarms_no_more_often_than_said() -> None:
    rng = np.random.default_rng(0)
    alarms = sum(
        watched((rng.random(250) < 0.05).tolist(), max_error=0.05, delta=0.3).alarm
        for _ in range(150)
    )
    assert alarms / 150 <= 0.3 + 2.5 * np.sqrt(0.3 * 0.7 / 150)


@pytest.mark.parametrize("good", [0, 50, 1000])
def test_a_drift_is_seen_soon_even_after_a_long_good_time(good: int) -> None:
    rng = np.random.default_rng(good)
    verdicts = (rng.random(good) < 0.01).tolist() + (rng.random(100) < 0.25).tolist()
    monitor, at = Monitor(max_error=0.02), None
    for number, wrong in enumerate(verdicts):
        monitor = monitor.after(wrong)
        if monitor.alarm and at is None:
            at = number - good
    assert at is not None
    assert 0 <= at < 60


def test_an_alarm_stays() -> None:
    monitor = watched([True] * 10)
    assert monitor.alarm
    calm = monitor
    for _ in range(500):
        calm = calm.after(False)
    assert calm.evidence < 1 / calm.delta
    assert calm.alarm


def test_long_streams_stay_numbers() -> None:
    odd = watched([True] * 3000, max_error=0.4)
    assert odd.alarm
    assert 0 <= watched([False] * 50_000, max_error=0.4).evidence < 1


def test_a_verdict_makes_a_new_monitor() -> None:
    old = Monitor(max_error=0.1)
    assert old.after(True).seen == 1
    assert old == Monitor(max_error=0.1)


@pytest.mark.parametrize(
    "figures",
    [{"max_error": 0.0}, {"delta": 1.0}, {"seen": 1, "wrong": 2}, {"bets": (1.0,)}],
)
def test_figures_are_checked(figures: dict) -> None:
    with pytest.raises(ValueError):
        Monitor(**{"max_error": 0.1, **figures})
