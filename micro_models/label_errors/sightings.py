"""What the model saw of each given region, and which of its findings belong to none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micro_models.evaluation.overlap import bounds, similarities
from micro_models.regions import Keypoints, Point, Region

# Alike to this and it is the object; to less, but this much, the object badly drawn.
SAME, NEAR = 0.5, 0.1

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Sighting:
    """What was found at one given region; indices into what was found in its example.

    `same`: what has its label, `iou` its similarity; it is the object (`iou` >= SAME) or near it.
    `other`: the best of another label that is on the object, and on no other given one.
    """

    example: int
    index: int
    given: Region
    size: float
    same: int | None = None
    iou: float = 0.0
    other: int | None = None
    other_iou: float = 0.0
    twin: int | None = None
    twin_iou: float = 0.0

    @property
    def is_found(self) -> bool:
        """Whether something of its label is on it."""
        return self.same is not None and self.iou >= SAME


@dataclass(frozen=True)
class Leftover:
    """A finding that is no given region: `near` is its similarity to the nearest of its label."""

    example: int
    found: int
    near: float


@dataclass(frozen=True)
class Scene:
    """One example: its sightings, in the order of the given regions, and its leftovers."""

    sightings: tuple[Sighting, ...]
    leftovers: tuple[Leftover, ...]


def scene(
    example: int, given: Sequence[tuple[int, Region]], found: Sequence[Region], *, point_px: float
) -> Scene:
    """Give each finding to at most one given region: of its label on it, of another label on it,
    of its label near it; the most alike and surest first.

    `given` comes with its indices.
    """
    ours, theirs = [one.shape for one in found], [region.shape for _, region in given]
    alike = similarities(ours, theirs, point_px=point_px).T  # the given one is the true one
    equal = np.array([[g.label == f.label for f in found] for _, g in given], np.bool_)
    equal = equal.reshape(alike.shape)
    worth = alike * np.array([0.5 + one.score for one in found]).reshape(1, -1)
    same, other = _Matching(len(given)), _Matching(len(given))
    taken: set[int] = set()
    same.fill(worth * (equal & (alike >= SAME)), taken)
    other.fill(worth * (~equal & (alike >= SAME)), taken)
    same.fill(worth * (equal & (alike >= NEAR)), taken, unless=other)
    twins = _twins([region for _, region in given], point_px)
    sightings = []
    for row, (index, region) in enumerate(given):
        a, b = same.of[row], other.of[row]
        twin, twin_iou = twins[row]
        sightings.append(
            Sighting(
                example,
                index,
                region,
                size_of(region),
                a,
                0.0 if a is None else float(alike[row, a]),
                b,
                0.0 if b is None else float(alike[row, b]),
                None if twin is None else given[twin][0],
                twin_iou,
            )
        )
    near = (alike * equal).max(axis=0, initial=0.0)
    free = [at for at in range(len(found)) if at not in taken]
    return Scene(tuple(sightings), tuple(Leftover(example, at, float(near[at])) for at in free))


class _Matching:
    """Which finding each given region got; greedy, the greatest worth first."""

    def __init__(self, count: int) -> None:
        self.of: list[int | None] = [None] * count

    def fill(self, worth: Matrix, taken: set[int], *, unless: _Matching | None = None) -> None:
        """Give what is free to those that have none yet (nor in `unless`)."""
        for row, column in _best_first(worth):
            has = self.of[row] is not None or (unless is not None and unless.of[row] is not None)
            if not has and column not in taken:
                self.of[row] = column
                taken.add(column)


def _best_first(worth: Matrix) -> Iterator[tuple[int, int]]:
    rows, columns = np.nonzero(worth > 0)
    order = np.argsort(-worth[rows, columns], kind="stable")
    for at in order:
        yield int(rows[at]), int(columns[at])


def _twins(given: Sequence[Region], point_px: float) -> list[tuple[int | None, float]]:
    """Of each region the most alike other one of its label."""
    result: list[tuple[int | None, float]] = [(None, 0.0)] * len(given)
    for label in {one.label for one in given}:
        rows = [i for i, one in enumerate(given) if one.label == label]
        shapes = [given[i].shape for i in rows]
        alike = similarities(shapes, shapes, point_px=point_px)
        np.fill_diagonal(alike, 0.0)
        for place, row in enumerate(rows):
            best = int(alike[place].argmax())
            if alike[place, best] > 0:
                result[row] = (rows[best], float(alike[place, best]))
    return result


def size_of(region: Region) -> float:
    """The square root of the area of the box around it, in pixels; of a point 1."""
    if isinstance(region.shape, Point):
        return 1.0
    box = bounds(region.shape)
    return float(np.sqrt((box.x1 - box.x0) * (box.y1 - box.y0)))


def is_empty(region: Region) -> bool:
    """Whether a region that should have an area has none, or a skeleton no point.

    >>> from micro_models.regions import Box
    >>> is_empty(Region("car", Box(5, 5, 5, 9))), is_empty(Region("car", Point(5, 5)))
    (True, False)
    """
    if isinstance(region.shape, Point):
        return False
    if isinstance(region.shape, Keypoints):
        return not bool((region.shape.scores > 0).any())
    return size_of(region) <= 0
