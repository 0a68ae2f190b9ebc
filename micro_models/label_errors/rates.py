"""What scores and ranks say about errors: shares among the surest, tails, robust spreads.

Nothing here is a threshold on a raw score. Small models are under-confident, so everything is
measured on the labels at hand, and shrunk towards what is usual where they are few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Bools

Values = NDArray[np.float64]

# How many labels in a hundred are wrong where nothing is known, as if seen on so many labels.
USUAL_SHARE, USUAL_COUNT = 0.03, 30.0
# More than that and the model is wrong, not the labels.
MOST_SHARE = 0.3
# The prior of a refitted score: it means what it says, give or take.
_SLOPE_SD, _BIAS_SD = 0.5, 1.0
_EDGE = 1e-4


def logit(p: Values) -> Values:
    """(n,) 0..1 -> (n,), finite at both ends.

    >>> logit(np.array([0.5])).tolist()
    [0.0]
    """
    clipped = np.clip(p, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(clipped / (1 - clipped)))


def probability(odds: Values) -> Values:
    """(n,) odds >= 0 -> (n,) 0..1.

    >>> probability(np.array([0.0, 1.0, 3.0])).tolist()
    [0.0, 0.5, 0.75]
    """
    return np.asarray(odds / (1 + odds))


def refitted(scores: Values, right: Bools) -> Values:
    """(n,) scores 0..1, and which were right -> (n,) P(right) 0..1, in the same order.

    Platt's scaling with a prior: scores that are calibrated stay as they are, scores that are not
    get better with the number of them. Constant ones become the share that is right.

    >>> shy = np.repeat([0.2, 0.1], 50)
    >>> refitted(shy, shy > 0.15).round(1).tolist()[::50]
    [0.7, 0.3]
    """
    inputs = np.stack([logit(scores), np.ones(len(scores))], axis=1)
    mean, precision = np.array([1.0, 0.0]), np.array([_SLOPE_SD, _BIAS_SD]) ** -2.0
    weights = mean
    for _ in range(30):  # Newton's method; the problem is convex
        p = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
        slope = inputs.T @ (p - right) + precision * (weights - mean)
        bend = (inputs * (p * (1 - p))[:, None]).T @ inputs + np.diag(precision)
        weights = weights - np.clip(np.linalg.solve(bend, slope), -2, 2)
    weights = np.array([max(weights[0], 0.0), weights[1]])
    return np.asarray(1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30))))


def share_of_surest(p: Values, wrong: Bools, *, part: float = 0.5) -> float:
    """The share, 0..MOST_SHARE, of `wrong` among the surest `part` of `p`, shrunk to the usual.

    Where a model is surest, what disagrees with it is mostly an error in the labels.

    >>> sure = np.linspace(1, 0, 1000)
    >>> share_of_surest(sure, sure > 0.9) > share_of_surest(sure, sure > 0.97)
    True
    """
    count = int(np.ceil(len(p) * part))
    surest = np.argsort(-p, kind="stable")[:count]
    seen = float(wrong[surest].sum()) + USUAL_SHARE * USUAL_COUNT
    return min(seen / (count + USUAL_COUNT), MOST_SHARE)


def lower_tail(values: Values) -> Values:
    """(n,) -> (n,) the share 0..1 of values that are as low or lower, as if two more were seen.

    >>> lower_tail(np.array([0.0, 0.5, 0.9, 0.9])).round(2).tolist()
    [0.33, 0.5, 0.83, 0.83]
    """
    below = np.searchsorted(np.sort(values), values, side="right")
    return np.asarray((below + 1) / (len(values) + 2))


def robust_z(values: Values, inputs: Values, *, least_spread: float = 0.25) -> Values:
    """(n,) values, (n, k) what explains them -> (n,) how many spreads above the expected.

    A ridge regression with Huber's weights, and the spread of the lower half of what is left, so
    that errors, which lie above, neither move nor widen what is usual.
    Source: P. Huber, Robust Estimation of a Location Parameter (1964).

    >>> usual = np.tile([0.9, 1.0, 1.1], 20)
    >>> z = robust_z(np.append(usual, 9.0), np.zeros((61, 0)), least_spread=0.01)
    >>> bool(z[-1] > 20), bool(abs(z[:-1]).max() < 3)
    (True, True)
    """
    columns = [np.ones(len(values)), *(_standard(one) for one in inputs.T)]
    design = np.stack(columns, axis=1)
    prior = np.diag([1e-3, *([5.0] * inputs.shape[1])])
    weights, spread = np.ones(len(values)), least_spread
    left = values - np.median(values)
    for _ in range(10):
        weighted = design * weights[:, None]
        fitted = np.linalg.solve(weighted.T @ design + prior, weighted.T @ values)
        left = values - design @ fitted
        spread = max(_lower_spread(left), least_spread)
        weights = np.minimum(1.0, 1.5 * spread / np.maximum(np.abs(left), 1e-12))
    return np.asarray(left / spread)


def _standard(values: Values) -> Values:
    spread = float(values.std())
    return np.asarray((values - values.mean()) / spread if spread > 1e-9 else values * 0.0)


def _lower_spread(left: Values) -> float:
    """Of a normal distribution its standard deviation: from what lies below the middle."""
    below = left[left <= np.median(left)]
    return 1.4826 * float(np.median(np.abs(below - np.median(left)))) if len(below) else 0.0
