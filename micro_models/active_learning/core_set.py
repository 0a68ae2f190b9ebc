"""Core set: the images that leave no other image far away."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray


def core_set(
    descriptions: ArrayLike, count: int, *, rng: Generator, labelled: ArrayLike | None = None
) -> NDArray[np.int64]:
    """(n, d) -> (min(count, n),) indices: each the farthest from all labelled and chosen before.

    The greedy 2-approximation of the k-center problem. Without `labelled` (m, d) the first is
    drawn by `rng`.
    Source: O. Sener, S. Savarese, Active Learning for Convolutional Neural Networks: A Core-Set
    Approach (2018).

    >>> import numpy as np
    >>> places = [[0.0], [0.1], [5.0], [9.0]]
    >>> core_set(places, 2, rng=np.random.default_rng(0), labelled=[[0.0]]).tolist()
    [3, 2]
    """
    points = np.asarray(descriptions, np.float64)
    known = np.zeros((0, 1)) if labelled is None else np.asarray(labelled, np.float64)
    return spread(points, np.ones(len(points)), count, rng=rng, labelled=known)


def spread(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    count: int,
    *,
    rng: Generator,
    labelled: NDArray[np.float64],
) -> NDArray[np.int64]:
    """(n, d) -> indices in order of choice: each of the greatest weight times distance.

    The distance is to the nearest of `labelled` (m, d) and of those chosen before.

    >>> import numpy as np
    >>> points, rng = np.array([[1.0], [2.0], [4.0]]), np.random.default_rng(0)
    >>> spread(points, np.array([9.0, 1.0, 1.0]), 2, rng=rng, labelled=np.zeros((1, 1))).tolist()
    [0, 2]
    """
    left = np.ones(len(points), np.bool_)
    near = _nearest(points, labelled) if len(labelled) else np.full(len(points), np.inf)
    chosen: list[int] = []
    for _ in range(min(count, len(points))):
        # Before anything is known all are equally far; equal values are drawn by lot.
        value = np.where(left, weights * (near if np.isfinite(near).all() else 1.0), -1.0)
        best = int(rng.choice(np.flatnonzero(value == value.max())))
        chosen.append(best)
        left[best] = False
        near = np.minimum(near, np.linalg.norm(points - points[best], axis=1))
    return np.array(chosen, np.int64)


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    near = np.full(len(points), np.inf)
    for other in others:  # row by row: all at once would be (n, m, d)
        near = np.minimum(near, np.linalg.norm(points - other, axis=1))
    return near
