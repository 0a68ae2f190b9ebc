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
_SLOPE_SD, _BIAS_SD = 1.0, 3.0
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
    [0.9, 0.1]
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
