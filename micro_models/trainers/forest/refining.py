"""A second look at boxes: how far off their sides are, told by what is seen in and around them.

Linear regression from boxes that are off by chance, as in R. Girshick et al., CVPR 2014; done twice
over, as in P. Dollár, P. Welinder, P. Perona, CVPR 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.interface import ModelFileError
from micro_models.regions import Floats
from micro_models.trainers.forest import planes

# Places of a box, widened, that are looked at, in each direction; all fine planes at each.
_PLACES, _WIDENED = 8, 1.4
_NUMBERS = planes.COUNT * _PLACES**2

# A box to learn from is off by so much, parts of its size; it is corrected by no more than that.
_OFF, _MOST = 0.06, 0.3
_TIMES = 2

# No training makes larger numbers.
_LARGEST = 1e6

# Boxes to learn from, of an object in a view; the weight of the prior that all are right.
_OF_ONE, _DOUBT = 50, 10.0


@dataclass(frozen=True, eq=False)
class Known:
    """A view's padded planes, and its objects: kinds (n,) and boxes (n, 4) in cells."""

    seen: Floats
    kind: NDArray[np.intp]
    boxes: Floats


@dataclass(frozen=True, eq=False)
class Refiner:
    """`weights` (kinds, numbers + 1, 4): corrections of x0, y0, x1, y1 in sizes; the last is bias.

    Of a kind whose weights are 0 nothing is corrected.
    """

    weights: Floats

    def refined(self, seen: Floats, boxes: Floats, *, kind: int, margin: int) -> Floats:
        """Boxes (n, 4) in cells, nearer to what is seen in planes with a margin."""
        weights, bias = self.weights[kind, :-1], self.weights[kind, -1]
        for _ in range(_TIMES if weights.any() else 0):
            away = np.nan_to_num(_looks(seen, boxes, margin) @ weights + bias)
            boxes = boxes + np.clip(away, -_MOST, _MOST) * np.tile(_sizes(boxes), 2)
            boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        return boxes


def learned(
    views: Sequence[Known],
    kinds: Sequence[bool],
    *,
    margin: int,
    most: int,
    rng: np.random.Generator,
) -> Refiner:
    """Of those kinds that have boxes to be refined, each by `most` boxes at most.

    >>> seen = np.zeros((24, 9, 9), np.float32)
    >>> known = Known(seen, np.array([0]), np.float32([[1, 1, 4, 4]]))
    >>> learned([known], [True], margin=2, most=9, rng=np.random.default_rng(0)).weights.shape
    (1, 769, 4)
    """
    weights = np.zeros((len(kinds), _NUMBERS + 1, 4), np.float32)
    for kind, wanted in enumerate(kinds):
        if wanted:
            weights[kind] = _fitted(views, kind, margin, most, rng)
    return Refiner(weights)


def restored(array: NDArray[Any], *, kinds: int) -> Refiner:
    """The same again. Errors: `ModelFileError` for what is no refiner of so many kinds."""
    shape = (kinds, _NUMBERS + 1, 4)
    if array.shape != shape or array.dtype != np.float32 or not (np.abs(array) < _LARGEST).all():
        raise ModelFileError(f"the forest's corrections are {array.shape} {array.dtype}")
    return Refiner(array)


def _fitted(
    views: Sequence[Known], kind: int, margin: int, most: int, rng: np.random.Generator
) -> Floats:
    """(numbers + 1, 4) of one kind; 0 if there is no object of it."""
    counts = [int(np.count_nonzero(view.kind == kind)) for view in views]
    chosen = np.sort(rng.integers(max(sum(counts), 1), size=min(most, _OF_ONE * sum(counts))))
    looks, away = [], []
    for view, end, count in zip(views, np.cumsum(counts), counts, strict=True):
        own = chosen[(chosen >= end - count) & (chosen < end)] - (end - count)
        boxes = view.boxes[view.kind == kind][own]
        off = _moved(boxes, rng)
        looks.append(_looks(view.seen, off, margin))
        away.append((boxes - off) / np.tile(_sizes(off), 2))
    seen, truth = np.concatenate(looks), np.concatenate(away).astype(np.float32)
    if not len(seen):
        return np.zeros((_NUMBERS + 1, 4), np.float32)
    mean, bias = seen.mean(axis=0), truth.mean(axis=0)
    weights = _ridge(seen - mean, truth - bias)
    return np.concatenate([weights, (bias - mean @ weights)[None]])


def _ridge(seen: Floats, truth: Floats) -> Floats:
    """(f, 4) of numbers (n, f) and answers (n, 4), both of mean 0; by whichever is fewer."""
    doubt = _DOUBT * max(float((seen**2).mean()), 1e-6) * len(seen)
    if len(seen) < seen.shape[1]:
        inner = seen @ seen.T + doubt * np.eye(len(seen), dtype=np.float32)
        return np.asarray(seen.T @ np.linalg.solve(inner, truth), np.float32)
    inner = seen.T @ seen + doubt * np.eye(seen.shape[1], dtype=np.float32)
    return np.asarray(np.linalg.solve(inner, seen.T @ truth), np.float32)


def _moved(boxes: Floats, rng: np.random.Generator) -> Floats:
    sizes = _sizes(boxes)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2 + rng.normal(0, _OFF, sizes.shape) * sizes
    halves = sizes * np.exp(rng.normal(0, _OFF, sizes.shape)) / 2
    return np.asarray(np.concatenate([centers - halves, centers + halves], axis=1), np.float32)


def _sizes(boxes: Floats) -> Floats:
    """(n, 2) widths and heights, at least half a cell."""
    return np.asarray(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.5), np.float32)


def _looks(seen: Floats, boxes: Floats, margin: int) -> Floats:
    """(n, numbers) the fine planes at places on a grid over each box, in between cells."""
    _, height, width = seen.shape
    centers, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, _sizes(boxes)
    grid = ((np.arange(_PLACES, dtype=np.float32) + 0.5) / _PLACES - 0.5) * _WIDENED
    x = np.clip(centers[:, :1] + sizes[:, :1] * grid + (margin - 0.5), 0, width - 1)
    y = np.clip(centers[:, 1:] + sizes[:, 1:] * grid + (margin - 0.5), 0, height - 1)
    left, top = np.minimum(x.astype(np.intp), width - 2), np.minimum(y.astype(np.intp), height - 2)
    right_part = (x - left).astype(np.float32)[:, None, None, :]
    low_part = (y - top).astype(np.float32)[:, None, :, None]
    fine = seen[: planes.COUNT].reshape(-1)
    place = (top[:, :, None] * width + left[:, None])[:, None]
    at = place + (np.arange(planes.COUNT) * height * width)[:, None, None]
    above = fine.take(at) * (1 - right_part) + fine.take(at + 1) * right_part
    below = fine.take(at + width) * (1 - right_part) + fine.take(at + width + 1) * right_part
    return np.asarray((above * (1 - low_part) + below * low_part).reshape(-1, _NUMBERS), np.float32)
