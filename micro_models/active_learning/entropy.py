"""Entropy: how evenly the probability is spread over the classes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from micro_models.active_learning.probabilities import Scores, checked


def entropy(probabilities: ArrayLike) -> Scores:
    """(n, k) -> (n,), 0..1, higher = less sure: entropy over its greatest value, log k.

    Rows are divided by their sums; a row of zeros says nothing and is as unsure as can be. One
    class alone is never unsure: 0.
    Source: C. Shannon, A Mathematical Theory of Communication (1948).

    >>> entropy([[1.0, 0.0], [0.5, 0.5]])
    array([0., 1.])
    """
    values = checked(probabilities)
    return _entropy(values) / math.log(max(values.shape[-1], 2))


def _entropy(values: Scores) -> Scores:
    total = values.sum(axis=-1, keepdims=True)
    even = np.full_like(values, 1.0 / values.shape[-1])
    shares = np.divide(values, total, out=even, where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(-(shares * logs).sum(axis=-1)) + 0.0  # no -0.0
