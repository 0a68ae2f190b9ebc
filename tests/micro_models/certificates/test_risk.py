from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from micro_models.certificates.risk import allowed_errors, least_audits, p_values, upper_bound


@pytest.mark.parametrize(
    ("max_error", "confidence", "least"),
    [(0.01, 0.9, 230), (0.001, 0.95, 2995), (0.05, 0.9, 45), (0.5, 0.5, 1), (0.5, 0.75, 2)],
)
def test_how_many_clean_audits_it_takes(max_error: float, confidence: float, least: int) -> None:
    assert least_audits(max_error, confidence) == least
    assert (1 - max_error) ** least <= 1 - confidence + 1e-12
    assert (1 - max_error) ** (least - 1) > 1 - confidence


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_shares_lie_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError):
        least_audits(share, 0.9)
    with pytest.raises(ValueError):
        least_audits(0.1, share)


def test_binary_fractions_take_no_task_away() -> None:
    assert allowed_errors([10, 100, 1000], max_error=0.3).tolist() == [3, 30, 300]


@pytest.mark.parametrize(
    ("total", "audited", "max_error"),
    [(60, 20, 0.05), (60, 50, 0.1), (120, 40, 0.02), (400, 90, 0.03), (30, 29, 0.2)],
)
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_no_number_of_wrong_ones_breaks_the_promise_too_often(
    total: int, audited: int, max_error: float, alpha: float
) -> None:
    """Exactly, over all lots: P(passed, and more than allowed of those accepted are wrong)."""
    allowed = int(allowed_errors(total - audited, max_error=max_error))
    for wrong in range(total + 1):
        seen = np.arange(max(0, wrong - (total - audited)), min(wrong, audited) + 1)
        passed = p_values(seen, audited, total, max_error=max_error) <= alpha
        broken = wrong - seen > allowed
        odds = hypergeom.pmf(seen, total, wrong, audited)
        assert odds[passed & broken].sum() <= alpha + 1e-12


def test_of_many_tasks_the_test_is_the_binomial_one() -> None:
    errors, audited = np.arange(6), np.full(6, 300)
    told = p_values(errors, audited, np.full(6, 10_000_000), max_error=0.02)
    assert told == pytest.approx(binom.cdf(errors, audited, 0.02), rel=1e-3)


def test_nothing_is_said_without_audits() -> None:
    assert p_values([0], [0], [100], max_error=0.5).tolist() == [1.0]
    assert upper_bound(0, 0, 100, delta=0.1) == 1.0


@pytest.mark.parametrize("errors", [0, 1, 3, 20])
@pytest.mark.parametrize("total", [300, 1000, 100_000])
def test_the_bound_is_the_least_share_that_passes(errors: int, total: int) -> None:
    bound = upper_bound(errors, 200, total, delta=0.1)
    assert p_values([errors], [200], [total], max_error=bound + 1e-9)[0] <= 0.1 + 1e-6
    step = 1 / (total - 200)
    assert p_values([errors], [200], [total], max_error=bound - step)[0] > 0.1


def test_all_audits_wrong_bound_nothing() -> None:
    assert upper_bound(5, 5, 50, delta=0.1) == 1.0
