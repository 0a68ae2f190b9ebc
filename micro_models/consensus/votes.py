"""Who called what how: votes as arrays, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Votes:
    """n votes: `items`, `workers` and `labels`, (n,) integers each counting from 0.

    `n_items`, `n_workers` and `n_classes` say how many there are in all: an item or a worker
    without any vote is allowed. A worker may vote on an item more than once; each counts.
    """

    items: Ints
    workers: Ints
    labels: Ints
    n_items: int
    n_workers: int
    n_classes: int

    def __post_init__(self) -> None:
        parts = (
            ("items", self.items, self.n_items),
            ("workers", self.workers, self.n_workers),
            ("labels", self.labels, self.n_classes),
        )
        for name, values, count in parts:
            if values.ndim != 1 or len(values) != len(self.items):
                raise ValueError("votes are three arrays of one length")
            if len(values) and not (values.min() >= 0 and values.max() < count):
                raise ValueError(f"{name} are 0..{count - 1}")
        if self.n_classes < 1:
            raise ValueError("votes need a class at least")

    @classmethod
    def of(
        cls,
        items: ArrayLike,
        workers: ArrayLike,
        labels: ArrayLike,
        *,
        n_items: int | None = None,
        n_workers: int | None = None,
        n_classes: int | None = None,
    ) -> Votes:
        """Votes from anything like arrays of integers; what is not counted is as many as are named.

        >>> Votes.of([0, 0, 1], [0, 1, 0], [2, 2, 0]).n_classes
        3
        """
        arrays = [np.asarray(part, dtype=np.int64) for part in (items, workers, labels)]
        counts = [
            int(part.max(initial=-1)) + 1 if count is None else count
            for part, count in zip(arrays, (n_items, n_workers, n_classes), strict=True)
        ]
        return cls(arrays[0], arrays[1], arrays[2], counts[0], counts[1], max(counts[2], 1))

    def counted(self) -> Matrix:
        """(items, classes) how often each item was called each class."""
        flat = np.bincount(
            self.items * self.n_classes + self.labels, minlength=self.n_items * self.n_classes
        )
        return flat.reshape(self.n_items, self.n_classes).astype(np.float64)

    def shares(self) -> Matrix:
        """(items, classes) shares of an item's votes; without any, each class alike."""
        counts = self.counted()
        total = counts.sum(axis=1, keepdims=True)
        return np.where(total > 0, counts / np.maximum(total, 1), 1 / self.n_classes)

    def per_item(self) -> Matrix:
        """(items,) how many votes each has."""
        return np.bincount(self.items, minlength=self.n_items).astype(np.float64)

    def summed(self, values: Matrix) -> Matrix:
        """(n, classes) something of each vote -> (items, classes) its sum for each item."""
        columns = [
            np.bincount(self.items, weights=values[:, at], minlength=self.n_items)
            for at in range(values.shape[1])
        ]
        return np.stack(columns, axis=1)

    def confusions(self, probabilities: Matrix) -> Matrix:
        """(items, classes) of the truth -> (workers, truth, said): expected counts."""
        size, cells = self.n_classes, self.workers * self.n_classes + self.labels
        columns = [
            np.bincount(
                cells, weights=probabilities[self.items, truth], minlength=self.n_workers * size
            ).reshape(self.n_workers, size)
            for truth in range(size)
        ]
        return np.stack(columns, axis=1)
