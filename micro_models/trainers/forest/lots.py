"""Drawing by lot, of every group as many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(
    group: NDArray[np.intp], rng: np.random.Generator, *, most: int | None = None
) -> NDArray[np.intp]:
    """At most `most` of n things at random, of each group (n,) as many as can be; indices.

    The first are of as many groups as there are.

    >>> drawn = evenly(np.array([0, 0, 0, 0, 1]), np.random.default_rng(0), most=2)
    >>> sorted((drawn == 4).tolist())
    [False, True]
    """
    lots = rng.permutation(len(group))
    order = np.argsort(group[lots], kind="stable")
    own = group[lots][order]
    rank = np.empty(len(lots), np.int64)
    rank[order] = np.arange(len(own)) - np.searchsorted(own, own)
    return np.asarray(lots[np.argsort(rank, kind="stable")[:most]])
