"""Cells of many objects at once, as columns of a table: hundreds cost hardly more than one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Bools, Floats

Ints = NDArray[np.intp]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """n cells, one row each: the number of the object, where, and the height there, 0..1."""

    owner: Ints
    row: Ints
    column: Ints
    height: Floats

    def where(self, which: Bools | Ints) -> Cells:
        """Some of them.

        >>> nothing = joined([])
        >>> len(nothing.where(nothing.height > 0).row)
        0
        """
        return Cells(*(getattr(self, one.name)[which] for one in fields(self)))


def joined(parts: Sequence[Cells]) -> Cells:
    """One table of several.

    >>> one = Cells(np.array([0]), np.array([2]), np.array([3]), np.ones(1, np.float32))
    >>> joined([one, one]).row.tolist()
    [2, 2]
    """
    if not parts:
        none = np.zeros(0, np.intp)
        return Cells(none, none, none, np.zeros(0, np.float32))
    columns = ([getattr(part, one.name) for part in parts] for one in fields(Cells))
    return Cells(*(np.concatenate(column) for column in columns))


def bells_at(
    centers: Matrix, spreads: Matrix, angles: NDArray[np.float64], shape: tuple[int, int]
) -> Cells:
    """Normal curves, 1 at their centres, in the cells of a grid (h, w) where they matter.

    `centers`, `spreads` (n, 2) x, y in cells, standard deviations along and across `angles` (n,).

    >>> bell = bells_at(np.array([[2.5, 1.5]]), np.ones((1, 2)), np.zeros(1), (4, 5))
    >>> int(bell.row[bell.height.argmax()]), int(bell.column[bell.height.argmax()])
    (1, 2)
    """
    reach = np.where(angles[:, None] == 0, spreads, spreads.max(axis=1, keepdims=True)) * 3
    most = np.array(shape[::-1])
    low = np.floor(centers - reach).clip(0, most).astype(np.intp)
    high = np.ceil(centers + reach).clip(0, most).astype(np.intp)
    width, height = (high - low).T
    counts = width * height
    owner = np.repeat(np.arange(len(centers)), counts)
    at = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    down, across = np.divmod(at, width[owner])
    row, column = low[owner, 1] + down, low[owner, 0] + across
    dx, dy = column + 0.5 - centers[owner, 0], row + 0.5 - centers[owner, 1]
    cos, sin = np.cos(angles)[owner], np.sin(angles)[owner]
    dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
    away = (dx / spreads[owner, 0]) ** 2 + (dy / spreads[owner, 1]) ** 2
    return Cells(owner, row, column, np.exp(away * -0.5).astype(np.float32))
