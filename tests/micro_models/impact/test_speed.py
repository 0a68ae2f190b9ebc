"""The measured speed-up: known ones are found, and its interval holds what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micro_models.impact import SpeedUp, Trial, blind_needed, speed_up
from micro_models.impact.power import RANKS

PEOPLE = np.array([6.0, 12.0, 40.0])  # seconds, typically


def labelled(
    rng: np.random.Generator,
    factor: float,
    *,
    tasks: int = 400,
    share: float = 0.1,
    spread: float = 0.6,
    pauses: float = 0.05,
    people: tuple[float, ...] = (0.6, 0.3, 0.1),
    overlap: int = 1,
) -> tuple[Trial, np.ndarray]:
    """Annotations of whom some were left open over lunch; blind ones take `factor` times as long.

    With `overlap` several people label a task, and what is hard for one is for the others.
    """
    hard = np.repeat(rng.normal(0, spread / math.sqrt(overlap), tasks), overlap)
    blind = np.repeat(rng.random(tasks) < share, overlap)
    who = rng.choice(len(people), size=tasks * overlap, p=people)
    own = rng.normal(0, spread * math.sqrt(1 - 1 / overlap), tasks * overlap)
    seconds = PEOPLE[who] * np.exp(hard + own) * np.where(blind, factor, 1.0)
    seconds[rng.random(len(seconds)) < pauses] += 3_600
    return Trial(np.repeat(np.arange(tasks), overlap), who, blind), seconds


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5, 4.0])
def test_a_known_speed_up_is_found_beside_lunch_breaks(factor: float) -> None:
    trial, seconds = labelled(np.random.default_rng(0), factor, tasks=3_000)
    found = speed_up(trial, seconds)
    assert found.ratio == pytest.approx(factor, rel=0.08)
    assert found.low < factor < found.high
    assert found.high / found.low < 1.25
    assert found.is_known == (factor != 1.0)
    assert (found.blind, found.shown) == (trial.blind_tasks, 3_000 - trial.blind_tasks)


def test_slow_people_who_were_blind_more_often_do_not_look_like_a_speed_up() -> None:
    rng = np.random.default_rng(1)
    who = np.repeat([0, 2], 500)
    blind = rng.random(1_000) < np.where(who == 2, 0.5, 0.05)
    seconds = PEOPLE[who] * np.exp(rng.normal(0, 0.3, 1_000))
    found = speed_up(Trial(range(1_000), who, blind), seconds)
    assert found.blind_s is not None
    assert found.shown_s is not None
    assert found.blind_s > 2 * found.shown_s  # so it looks
    assert found.ratio == pytest.approx(1.0, abs=0.08)
    assert not found.is_known


@pytest.mark.parametrize(
    ("tasks", "share", "overlap"),
    [(200, 0.1, 1), (60, 0.2, 1), (60, 0.2, 3)],
    ids=["usual", "six or so of each person", "three people a task"],
)
def test_the_interval_holds_the_truth_as_often_as_it_says(
    tasks: int, share: float, overlap: int
) -> None:
    held, draws = 0, 120
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        trial, seconds = labelled(rng, 1.5, tasks=tasks, share=share, overlap=overlap)
        found = speed_up(trial, seconds, confidence=0.9)
        held += found.low <= 1.5 <= found.high
    assert 0.84 <= held / draws <= 0.96


def test_the_power_calculation_keeps_its_word() -> None:
    share, spread, factor = 0.2, 0.6, 1.3
    blind = blind_needed(math.log(factor), spread, share=share, efficiency=RANKS)
    seen, draws = 0, 100
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        tasks = round(blind / share)
        trial, seconds = labelled(
            rng, factor, tasks=tasks, share=share, spread=spread, pauses=0.0, people=(1.0,)
        )
        seen += speed_up(trial, seconds).is_known
    assert 0.7 <= seen / draws <= 0.9


def test_the_spread_is_that_of_one_person_whatever_the_outliers() -> None:
    found = speed_up(*labelled(np.random.default_rng(3), 2.0, tasks=4_000, spread=0.6))
    assert found.spread == pytest.approx(0.6, rel=0.12)


@pytest.mark.parametrize(
    ("task", "annotator", "blind"),
    [
        ([], [], []),
        ([1], [1], [True]),
        ([1, 2, 3], [1, 1, 1], [False, False, False]),
        ([1, 2], [1, 2], [True, False]),
    ],
    ids=["nothing", "one", "none blind", "each person one kind"],
)
def test_what_cannot_be_told_is_not_told(
    task: list[int], annotator: list[int], blind: list[bool]
) -> None:
    found = speed_up(Trial(task, annotator, blind), np.full(len(task), 5.0))
    assert (found.ratio, found.low, found.high) == (None, 0.0, math.inf)
    assert not found.is_known


def test_two_tasks_bound_nothing() -> None:
    found = speed_up(Trial([1, 2], [1, 1], [True, False]), np.array([10.0, 1.0]))
    assert (found.low, found.high) == (0.0, math.inf)
    assert found.ratio == pytest.approx(10.0, rel=0.01)


def test_equal_times_are_no_speed_up() -> None:
    found = speed_up(Trial(range(50), [1] * 50, [i < 10 for i in range(50)]), np.full(50, 3.0))
    assert found.ratio == pytest.approx(1.0, abs=1e-4)
    assert not found.is_known


@pytest.mark.parametrize("seconds", [[1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [1.0]])
def test_times_have_to_be_times(seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="time above 0"):
        speed_up(Trial([1, 2], [1, 1], [True, False]), np.array(seconds))


def test_a_task_is_blind_for_all_or_for_none() -> None:
    with pytest.raises(ValueError, match="for nobody"):
        Trial([1, 1], [1, 2], [True, False])
    with pytest.raises(ValueError, match="equally many"):
        Trial([1, 1], [1], [True, False])


def test_an_interval_on_one_side_of_one_is_known() -> None:
    numbers = {"confidence": 0.95, "blind": 9, "shown": 9, "spread": 1.0}
    assert SpeedUp(2.0, 1.1, 3.0, blind_s=2.0, shown_s=1.0, **numbers).is_known
    assert SpeedUp(0.5, 0.3, 0.9, blind_s=1.0, shown_s=2.0, **numbers).is_known
    assert not SpeedUp(1.2, 0.9, 1.5, blind_s=2.0, shown_s=1.0, **numbers).is_known
