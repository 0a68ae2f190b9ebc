"""Mistakes that people leave standing."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.impact import blind_needed, left_standing


def tasks(
    rng: np.random.Generator, left: float, *, blind: int = 60, shown: int = 900
) -> tuple[np.ndarray, np.ndarray]:
    """Mistakes as people see them: who is shown a mistake leaves it standing so often."""
    made = rng.poisson(0.8, blind + shown)
    is_blind = np.arange(blind + shown) < blind
    return np.where(is_blind, made, rng.binomial(made, 1 - left)), is_blind


@pytest.mark.parametrize("left", [0.0, 0.3, 0.9, 1.0])
def test_a_known_share_is_found(left: float) -> None:
    mistakes, blind = tasks(np.random.default_rng(0), left, blind=2_000, shown=20_000)
    found = left_standing(mistakes, blind, rng=np.random.default_rng(1))
    assert found is not None
    assert found.share == pytest.approx(left, abs=0.06)
    assert found.low <= left + 1e-9
    assert found.high >= left - 1e-9
    assert (found.blind, found.shown) == (2_000, 20_000)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held, draws = 0, 120
    for draw in range(draws):
        mistakes, blind = tasks(np.random.default_rng(draw), 0.4)
        found = left_standing(mistakes, blind, rng=np.random.default_rng(draw), confidence=0.9)
        assert found is not None
        held += found.low <= 0.4 <= found.high
    assert 0.82 <= held / draws <= 0.96


@pytest.mark.parametrize(
    ("blind", "shown", "made"), [(0, 50, 1), (4, 50, 1), (50, 4, 1), (50, 50, 0)]
)
def test_too_little_tells_nothing(blind: int, shown: int, made: int) -> None:
    kinds = np.arange(blind + shown) < blind
    mistakes = np.full(blind + shown, made)
    assert left_standing(mistakes, kinds, rng=np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("effect", "spread", "share"), [(0.0, 1.0, 0.1), (1.0, 0.0, 0.1), (1.0, 1.0, 0.0)]
)
def test_a_power_calculation_needs_its_numbers(effect: float, spread: float, share: float) -> None:
    with pytest.raises(ValueError, match="needed"):
        blind_needed(effect, spread, share=share)


def test_a_half_of_the_difference_needs_four_times_the_tasks() -> None:
    assert blind_needed(0.1, 1.0, share=0.05) == pytest.approx(
        4 * blind_needed(0.2, 1.0, share=0.05), rel=0.01
    )
