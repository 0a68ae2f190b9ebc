"""How exactly each annotator draws, told by how alike they are two by two."""

from __future__ import annotations

import numpy as np

from micro_models.consensus.votes import Ints, Matrix

# Nobody is taken to be more exact than this part of a region.
_FLOOR = 0.01
_SHRINK = 4.0


def spreads(one: Ints, other: Ints, losses: Matrix, n_people: int) -> Matrix:
    """(people,) each one's error, in parts of a region, from (n,) `losses` of pairs.

    A loss, 1 - similarity of what `one` and `other` drew of the same thing, comes of both errors:
    its square is in the mean the sum of both squares. Solved by turns; who has few pairs is as the
    mean. Of two people who always draw together nothing tells who is better.

    >>> pairs = np.array([(0, 1), (0, 2), (1, 2)] * 20)
    >>> spreads(pairs[:, 0], pairs[:, 1], np.array([0.05, 0.2, 0.2] * 20), 3).round(2)
    array([0.04, 0.04, 0.17])
    """
    ones, others = np.concatenate([one, other]), np.concatenate([other, one])
    squares = np.concatenate([losses, losses]) ** 2
    mean = max(float(squares.mean()) / 2 if len(squares) else 0.0, _FLOOR**2)
    found = np.full(n_people, mean)
    for _ in range(50):
        # Pairs with one who is inexact tell less of the other.
        trust = (mean / (found[ones] + found[others])) ** 2
        sums = np.bincount(ones, trust * (squares - found[others]), minlength=n_people)
        count = np.bincount(ones, trust, minlength=n_people)
        new = np.maximum((sums + _SHRINK * mean) / (count + _SHRINK), _FLOOR**2)
        found = (found + new) / 2
    return np.asarray(np.sqrt(found))
