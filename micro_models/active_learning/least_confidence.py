"""Least confidence: how little probability the best class has."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from micro_models.active_learning.probabilities import Scores, checked


def least_confidence(probabilities: ArrayLike) -> Scores:
    """(n, k) -> (n,), 0..1, higher = less sure: 1 minus the best class's probability.

    Source: D. Lewis, W. Gale, A Sequential Algorithm for Training Text Classifiers (1994).

    >>> least_confidence([[0.75, 0.25], [0.5, 0.5]])
    array([0.25, 0.5 ])
    """
    return np.asarray(1.0 - checked(probabilities).max(axis=1))
