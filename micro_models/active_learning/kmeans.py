"""k-means diversity: one image of each cluster."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

_ROUNDS = 20


def kmeans_diversity(
    descriptions: ArrayLike, count: int, *, rng: Generator, weights: ArrayLike | None = None
) -> NDArray[np.int64]:
    """(n, d) -> (min(count, n),) different indices: the image nearest to each cluster's middle.

    `weights` (n,), 0 and up, draw the middles: with uncertainty as weight the clusters form where
    the model is unsure.
    Source: F. Zhdanov, Diverse mini-batch Active Learning (2019); seeds as in D. Arthur,
    S. Vassilvitskii, k-means++ (2007).

    >>> import numpy as np
    >>> places = [[0.0], [0.2], [0.1], [9.0], [9.2], [9.1]]
    >>> sorted(kmeans_diversity(places, 2, rng=np.random.default_rng(0)).tolist())
    [2, 5]
    """
    points = np.asarray(descriptions, np.float64)
    weight = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64)
    weight = weight if weight.sum() > 0 else np.ones(len(points))
    count = min(count, len(points))
    if not count:
        return np.zeros(0, np.int64)
    middles = points[_seeds(points, weight, count, rng)]
    for _ in range(_ROUNDS):
        nearest = _squares(points, middles).argmin(axis=1)
        moved = middles.copy()
        for cluster in range(count):
            inside = nearest == cluster
            if weight[inside].sum() > 0:
                moved[cluster] = np.average(points[inside], axis=0, weights=weight[inside])
        if np.allclose(moved, middles):
            break
        middles = moved
    squares = _squares(points, middles)
    chosen: list[int] = []
    for cluster in range(count):
        squares[chosen] = np.inf
        chosen.append(int(squares[:, cluster].argmin()))
    return np.array(chosen, np.int64)


def _seeds(
    points: NDArray[np.float64], weight: NDArray[np.float64], count: int, rng: Generator
) -> list[int]:
    """Drawn one after the other, each with a chance by its weight and squared distance."""
    seeds: list[int] = []
    near = np.ones(len(points))
    for _ in range(count):
        chance = weight * near
        chance = chance if chance.sum() > 0 else np.ones(len(points))
        seeds.append(int(rng.choice(len(points), p=chance / chance.sum())))
        near = _squares(points, points[seeds]).min(axis=1)
    return seeds


def _squares(points: NDArray[np.float64], middles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, d), (k, d) -> (n, k) squared distances."""
    return np.stack([((points - middle) ** 2).sum(axis=1) for middle in middles], axis=1)
