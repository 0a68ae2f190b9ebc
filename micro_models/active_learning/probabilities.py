"""What scores of uncertainty begin with: probabilities of classes, checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]


def checked(probabilities: ArrayLike) -> Scores:
    """(..., k >= 1) numbers from 0 to 1, as float64; their sum need not be 1.

    Errors: `ValueError` for another shape or range.

    >>> checked([[1, 0]])
    array([[1., 0.]])
    """
    values = np.asarray(probabilities, np.float64)
    if values.ndim < 2 or values.shape[-1] == 0:
        raise ValueError(f"probabilities are (n, k >= 1), not {values.shape}")
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("probabilities are 0..1")
    return values
