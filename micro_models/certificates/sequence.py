"""Which thresholds are tested, in what order, and at what level."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from micro_models.certificates.ladder import Ladder
from micro_models.certificates.risk import Counts, Values, p_values

# So many standard deviations fewer or more audits may lie above a start than are expected: in 19
# of 20 draws no fewer and no more do.
_AROUND = 2.0


def loosest(p: ArrayLike, weights: ArrayLike) -> int | None:
    """The index of the last test that is passed, None without one; both (n,), strict to loose.

    The fallback procedure: a test is passed if its p-value is at most its own weight plus what the
    test before it, if passed, hands on, which is all it had. One weight alone is fixed-sequence
    testing from there; with several it starts anew where it failed. If each p-value is valid, the
    probability that any test is passed which should not be is at most the sum of the weights.
    Sources: A. Angelopoulos et al., Learn then Test (2021); B. Wiens, A. Dmitrienko, The Fallback
    Procedure for Evaluating a Single Family of Hypotheses (2005).

    >>> loosest([0.01, 0.04, 0.2, 0.08], [0.05, 0, 0, 0]), loosest([0.2, 0.04], [0.05, 0.05])
    (1, 1)
    """
    level, last = 0.0, None
    for index, (value, weight) in enumerate(zip(np.asarray(p), np.asarray(weights), strict=True)):
        level += float(weight)
        if level > 0 and value <= level:
            last = index
        else:
            level = 0.0
    return last


def weights(steps: Ladder, *, max_error: float, delta: float) -> Values:
    """(n,) the parts of `delta` by which each threshold is tested; they add up to it.

    Up to three starts share it alike: the first thresholds that would be passed with no error, with
    one, and with a quarter of the errors that all audits may have (two at least), with the audits
    that may be expected there. The last ones are for scores that put errors first; where audits are
    too few for all, all of delta is kept for the first. Looks at scores and numbers only, never at
    a verdict.

    >>> from micro_models.certificates.ladder import ladder
    >>> from micro_models.certificates.nouns import Audit
    >>> audits = [Audit(k / 60, wrong=False) for k in range(60)]
    >>> steps = ladder(audits, [k / 900 for k in range(900)])
    >>> given = weights(steps, max_error=0.05, delta=0.1)
    >>> steps.share[given > 0].round(2).tolist(), given[given > 0].tolist()
    ([0.86], [0.1])
    """
    result = np.zeros(len(steps.thresholds))
    tolerated = np.array([0, 1, max(2, math.ceil(max_error * int(steps.audited[-1]) / 4))])
    few, many = _expected(steps)
    # Few were audited, and few are left to be accepted, of which few may be wrong: the worst case.
    wrong = np.minimum(tolerated[:, None], few)
    worst = p_values(wrong, few, few + steps.total - many, max_error=max_error)
    for count in range(len(tolerated), 0, -1):
        starts = [_start(p, delta / count) for p in worst[:count]]
        if all(start is not None for start in starts):
            np.add.at(result, np.array(starts, np.int64), delta / count)
            return result
    result[-1] = delta
    return result


def _start(p: Values, level: float) -> int | None:
    """The strictest threshold from which on all pass; None if not even the loosest does.

    From which on: what is a whole number of tasks makes p-values jump a little upwards at times.
    """
    failed = np.flatnonzero(p > level)
    start = int(failed[-1]) + 1 if len(failed) else 0
    return start if start < len(p) else None


def _expected(steps: Ladder) -> tuple[Counts, Counts]:
    """(n,) how few and how many audits a lot of all tasks has above each threshold, mostly."""
    audits, tasks = int(steps.audited[-1]), int(steps.total[-1])
    mean = audits * steps.share
    spread = np.sqrt(mean * (1 - steps.share) * (tasks - audits) / max(tasks - 1, 1))
    most = np.minimum(audits, steps.total)
    few, many = np.floor(mean - _AROUND * spread), np.ceil(mean + _AROUND * spread)
    return np.maximum(few, 0).astype(np.int64), np.minimum(many, most).astype(np.int64)
