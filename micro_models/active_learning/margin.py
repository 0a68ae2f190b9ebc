"""Margin: how close the second class is behind the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from micro_models.active_learning.probabilities import Scores, checked


def margin(probabilities: ArrayLike) -> Scores:
    """(n, k) -> (n,), 0..1, higher = less sure: 1 minus the lead of the best over the second.

    A class alone leads nothing: 1 minus its probability.
    Source: T. Scheffer et al., Active Hidden Markov Models for Information Extraction (2001).

    >>> margin([[0.75, 0.25, 0.0], [0.5, 0.5, 0.0]])
    array([0.5, 1. ])
    """
    values = checked(probabilities)
    if values.shape[1] == 1:
        return np.asarray(1.0 - values[:, 0])
    second, best = np.partition(values, -2, axis=1)[:, -2:].T
    return np.asarray(1.0 - (best - second))
