"""Exact tests of "more than this share of what is accepted is wrong"."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
Counts = NDArray[np.int64]

# So that 0.3 of 10 tasks are 3, whatever binary fractions say.
_EDGE = 1e-9


def checked(max_error: float, confidence: float) -> None:
    """Raise ValueError unless both lie between 0 and 1, ends excluded.

    >>> checked(0.02, 0.9)
    """
    if not 0.0 < max_error < 1.0:
        raise ValueError(f"max_error is a share between 0 and 1, ends excluded, not {max_error}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence lies between 0 and 1, ends excluded, not {confidence}")


def least_audits(max_error: float, confidence: float) -> int:
    """How many audits, all of them clean, it takes at least: n with (1 - max_error)^n <= delta.

    >>> least_audits(0.01, 0.9), least_audits(0.001, 0.95)
    (230, 2995)
    """
    checked(max_error, confidence)
    return math.ceil(math.log1p(-confidence) / math.log1p(-max_error) - _EDGE)


def allowed_errors(accepted: ArrayLike, *, max_error: float) -> Counts:
    """How many of so many accepted tasks may be wrong: whole tasks, rounded down.

    >>> allowed_errors([0, 19, 100], max_error=0.05).tolist()
    [0, 0, 5]
    """
    return np.floor(max_error * np.asarray(accepted) + _EDGE).astype(np.int64)


def p_values(
    errors: ArrayLike, audited: ArrayLike, total: ArrayLike, *, max_error: float
) -> Values:
    """(n,) of each threshold -> (n,) p-values 0..1, lower = surer that `max_error` is kept.

    Of `total` tasks at or above a threshold `audited` were drawn by lot, `errors` of these were
    wrong; the others are to be accepted. The larger of two exact p-values. Of the rate: the
    probability of so few errors in as many draws with a chance of `max_error` each (binomial, as
    Clopper and Pearson have it). Of the tasks to be accepted, a finite number: if one more than
    allowed were wrong, that with the errors seen makes a known number in `total`, and the
    probability that a lot finds so few of these is hypergeometric. More wrong ones make both
    smaller, so P(p <= alpha and more than allowed are wrong) <= alpha, whatever the truth. The
    second is the stricter one unless very many more tasks are accepted than were audited. Where the
    audits themselves miss the target, 1.

    Sources: C. Clopper, E. Pearson, The Use of Confidence or Fiducial Limits (1934); for finite
    populations J. Konijn, Statistical Theory of Sample Survey Design and Analysis (1973).

    >>> p_values([0, 1], [230, 230], [100_000, 100_000], max_error=0.01).round(3).tolist()
    [0.099, 0.33]
    """
    from scipy.special import bdtr

    wrong, drawn, tasks = (np.asarray(one, np.int64) for one in (errors, audited, total))
    wrong, drawn, tasks = np.broadcast_arrays(wrong, drawn, tasks)
    result = np.ones(wrong.shape)
    hopeful = (drawn > 0) & (wrong <= max_error * drawn + _EDGE)
    wrong, drawn, tasks = wrong[hopeful], drawn[hopeful], tasks[hopeful]
    broken = wrong + allowed_errors(tasks - drawn, max_error=max_error) + 1
    of_accepted = _so_few(wrong, drawn, tasks, np.minimum(broken, tasks))
    result[hopeful] = np.maximum(bdtr(wrong, drawn, max_error), of_accepted)
    return result


def upper_bound(errors: int, audited: int, total: int, *, delta: float) -> float:
    """The share of wrong ones, 0..1, that is exceeded with probability `delta` at most.

    The larger of the Clopper-Pearson bound of the rate and the bound of the share among the
    `total - audited` tasks not audited; the least share that `p_values` does not refuse. 1 without
    audits.

    >>> round(upper_bound(0, 230, 100_000, delta=0.1), 4)
    0.01
    """
    from scipy.special import betaincinv

    if not 0 <= errors < audited:
        return 1.0
    rate = float(betaincinv(errors + 1, audited - errors, 1 - delta))
    left = total - audited
    low, high = 0, left  # the number of wrong ones among these, by halves
    while low < high:
        middle = (low + high) // 2
        bad = min(errors + middle + 1, total)
        if _so_few(*(np.array([one]) for one in (errors, audited, total, bad)))[0] <= delta:
            high = middle
        else:
            low = middle + 1
    return max(rate, low / left if left else 0.0)


def _so_few(wrong: Counts, drawn: Counts, tasks: Counts, bad: Counts) -> Values:
    """(n,) the probability, 0..1, of `wrong` or fewer among `drawn` of `tasks`, `bad` in all."""
    from scipy.special import gammaln

    def log_choose(of: Counts, some: Counts) -> Values:
        ways = gammaln(of + 1.0) - gammaln(some + 1.0) - gammaln(np.maximum(of - some, 0) + 1.0)
        return np.where((some >= 0) & (some <= of), ways, -np.inf)

    seen = np.arange(int(wrong.max(initial=0)) + 1)[:, None]
    ways = log_choose(bad, seen) + log_choose(tasks - bad, drawn - seen)
    odds = np.where(seen <= wrong, np.exp(ways - log_choose(tasks, drawn)), 0.0)
    return np.asarray(odds.sum(0), np.float64)
