from __future__ import annotations

import numpy as np
import pytest

from micro_models.certificates.ladder import ladder
from micro_models.certificates.nouns import Audit
from micro_models.certificates.sequence import loosest, weights


@pytest.mark.parametrize(
    ("p", "given", "last"),
    [
        ([], [], None),
        ([0.01, 0.02, 0.2, 0.01], [0.1, 0, 0, 0], 1),  # what comes after a failure is not tested
        ([0.2, 0.01, 0.01], [0.1, 0, 0], None),
        ([0.2, 0.01, 0.01], [0, 0.1, 0], 2),  # nor what comes before the start
        ([0.2, 0.01, 0.07, 0.01], [0.05, 0.05, 0, 0], 1),  # the lost half is lost
        ([0.01, 0.01, 0.07, 0.2], [0.05, 0.05, 0, 0], 2),  # both halves add up
        ([0.01, 0.2, 0.04], [0.05, 0, 0.05], 2),  # and the second may start anew
        ([0.1], [0.1], 0),
    ],
)
def test_how_far_it_goes(p: list[float], given: list[float], last: int | None) -> None:
    assert loosest(p, given) == last


def test_a_test_that_should_fail_passes_with_the_level_at_most() -> None:
    """All tests false from some place on, their p-values alike and apart: the worst for it."""
    rng = np.random.default_rng(0)
    given = np.array([0.1, 0, 0, 0.1, 0, 0, 0.1, 0])
    passed = 0
    for draw in range(4000):
        p = np.full(8, rng.random()) if draw % 2 else rng.random(8)
        p[:2] = 0.001
        last = loosest(p, given)
        passed += last is not None and last >= 2
    assert passed / 4000 <= 0.3 + 3 * np.sqrt(0.3 * 0.7 / 4000)


@pytest.mark.parametrize(("audits", "starts"), [(20, 1), (60, 1), (200, 3)])
def test_few_audits_keep_all_of_delta_for_one_start(audits: int, starts: int) -> None:
    pool = [k / 2000 for k in range(2000)]
    clean = [Audit(k / audits, wrong=False) for k in range(audits)]
    given = weights(ladder(clean, pool), max_error=0.05, delta=0.1)
    assert np.count_nonzero(given) == starts
    assert given.sum() == pytest.approx(0.1)


def test_starts_see_no_verdict() -> None:
    rng = np.random.default_rng(0)
    scores, pool = rng.random(300), rng.random(900)
    clean = [Audit(float(score), wrong=False) for score in scores]
    bad = [Audit(float(score), wrong=bool(rng.random() < 0.5)) for score in scores]
    told = [weights(ladder(audits, pool), max_error=0.02, delta=0.1) for audits in (clean, bad)]
    assert np.array_equal(*told)


def test_equal_scores_are_never_parted() -> None:
    steps = ladder([Audit(0.5, wrong=True)] * 3, [0.5] * 7)
    assert (steps.thresholds.tolist(), steps.total.tolist()) == ([0.5], [10])
    assert (steps.audited.tolist(), steps.errors.tolist()) == ([3], [3])


def test_a_large_pool_has_few_steps_and_all_of_it_at_the_last() -> None:
    steps = ladder([Audit(0.2, wrong=True)], np.random.default_rng(0).random(100_000).tolist())
    assert len(steps.thresholds) == 400
    assert (steps.total[-1], steps.errors[-1]) == (100_001, 1)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_are_numbers(score: float) -> None:
    with pytest.raises(ValueError):
        ladder([], [score])
    with pytest.raises(ValueError):
        Audit(score, wrong=False)
