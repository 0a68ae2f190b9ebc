from __future__ import annotations

import numpy as np
import pytest

from micro_models.certificates import Audit, certify, least_audits, spent

POOL = [k / 3000 for k in range(3000)]


def spread(count: int, errors: int = 0) -> list[Audit]:
    """Audits all over the scores, the lowest of them wrong."""
    return [Audit((k + 0.5) / count, wrong=k < errors) for k in range(count)]


def test_clean_audits_accept_all() -> None:
    made = certify(spread(300), POOL, max_error=0.01, confidence=0.9)
    assert (made.share, made.accepted, made.above, made.errors) == (1.0, 3000, 300, 0)
    assert made.missing == 0
    assert made.upper <= 0.01
    assert made.why == (
        "0 of 300 audits with a score of 0 or more were wrong: with 90% confidence at most 0.8% "
        "of the 3,000 tasks to be accepted are wrong, and 1% may be."
    )


def test_what_is_unsure_and_wrong_is_left_to_people() -> None:
    made = certify(spread(400, errors=60), POOL, max_error=0.05, confidence=0.9)
    assert made.threshold is not None
    assert 0.05 < made.threshold < 0.2
    assert made.accepted == sum(score >= made.threshold for score in POOL)
    assert made.upper <= 0.05


def test_no_audits_name_the_known_numbers() -> None:
    made = certify([], [0.5] * 1_000_000, max_error=0.001, confidence=0.95)
    assert made.threshold is None
    # A whole task more than the rate alone would need, of so many.
    assert made.missing is not None
    assert 2995 == least_audits(0.001, 0.95) <= made.missing <= 3000
    assert "2,995 clean audits at least" in made.why


@pytest.mark.parametrize(("audits", "errors"), [(1, 0), (50, 0), (150, 0), (150, 2), (200, 5)])
def test_the_missing_audits_do_if_they_are_clean(audits: int, errors: int) -> None:
    first = certify(spread(audits, errors), POOL, max_error=0.01, confidence=0.9)
    assert first.threshold is None
    assert first.missing is not None
    at = np.linspace(0, 2999, first.missing + 25).astype(int)
    more = spread(audits, errors) + [Audit(POOL[k], wrong=False) for k in at]
    left = np.delete(np.array(POOL), at)
    assert certify(more, left.tolist(), max_error=0.01, confidence=0.9).accepted > 0


@pytest.mark.parametrize(
    ("audits", "pool"),
    [
        (spread(5), [0.9] * 30),  # would all be audited before it is enough
        ([Audit(0.5, wrong=True)] * 40, [0.5] * 60),
        ([], [0.5]),
        ([], []),
        (spread(300), []),
    ],
)
def test_where_there_is_too_little_nothing_is_accepted(
    audits: list[Audit], pool: list[float]
) -> None:
    made = certify(audits, pool, max_error=0.02, confidence=0.95)
    assert (made.threshold, made.accepted, made.share, made.missing) == (None, 0, 0.0, None)
    assert made.audited == len(audits)


def test_a_score_that_says_nothing_accepts_all_or_nothing() -> None:
    audits = [Audit(1.0, wrong=k < 3) for k in range(300)]
    good = certify(audits, [1.0] * 2000, max_error=0.05, confidence=0.9)
    bad = certify(audits, [1.0] * 2000, max_error=0.015, confidence=0.9)
    assert (good.threshold, good.share) == (1.0, 1.0)
    assert (bad.threshold, bad.errors, bad.missing is not None) == (None, 3, True)


def test_a_later_look_is_a_stricter_one() -> None:
    made = [certify(spread(250), POOL, max_error=0.01, confidence=0.9, look=n) for n in (None, 2)]
    assert made[0].threshold is not None
    assert made[1].threshold is None
    assert sum(spent(0.1, look=look) for look in range(1, 60)) == pytest.approx(0.1)
    with pytest.raises(ValueError):
        spent(0.1, look=0)


@pytest.mark.parametrize("max_error", [0.0, 1.0, -1.0])
def test_a_promise_lies_between_0_and_1(max_error: float) -> None:
    with pytest.raises(ValueError):
        certify(spread(10), POOL, max_error=max_error, confidence=0.9)


BAD_SCORES = {
    "says nothing": lambda s: np.full(len(s), 0.06),
    "upside down": lambda s: 0.12 * s,
    "sure and wrong": lambda s: np.where(s > 0.9, 0.25, 0.04),
    "at the limit": lambda s: np.full(len(s), 0.08),
    "good": lambda s: 0.4 * (1 - s) ** 3,
}


@pytest.mark.parametrize("kind", BAD_SCORES)
@pytest.mark.parametrize(("tasks", "audits"), [(600, 120), (300, 200)])
def test_the_promise_holds_whatever_the_score(kind: str, tasks: int, audits: int) -> None:
    """Over lots of audits, counted on the very tasks that are accepted; with several starts."""
    rng = np.random.default_rng(0)
    draws, confidence, max_error = 80, 0.7, 0.08
    broken = 0
    for _ in range(draws):
        scores = rng.random(tasks)
        wrong = rng.random(tasks) < BAD_SCORES[kind](scores)
        lot = rng.permutation(tasks)
        drawn, pool = lot[:audits], lot[audits:]
        checks = [Audit(float(scores[k]), bool(wrong[k])) for k in drawn]
        made = certify(checks, scores[pool].tolist(), max_error=max_error, confidence=confidence)
        if made.threshold is not None:
            accepted = wrong[pool][scores[pool] >= made.threshold]
            assert len(accepted) == made.accepted
            broken += accepted.mean() > max_error
    allowed = 1 - confidence
    assert broken / draws <= allowed + 2.5 * np.sqrt(allowed * confidence / draws)
