"""What a model found at given regions, and which of its findings belong to none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.evaluation.overlap import bounds, similarities
from micro_models.label_errors.rates import Values, refitted
from micro_models.regions import Bools, Keypoints, Point, Polygon, Region, RotatedBox

# Alike to this and it is the object; to less, but this much, the object badly drawn.
SAME, NEAR = 0.5, 0.1

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """One example: n given regions with their `places` in it, m found ones, and how alike they are.

    `alike` (n, m) similarities 0..1, `equal` (n, m) whether the labels are. `paired`: which finding
    is each given region, of its label and on it, or None. `taken`: (m,) findings that are a given
    region, well or badly drawn, or with another label.
    """

    example: int
    places: tuple[int, ...]
    given: tuple[Region, ...]
    found: tuple[Region, ...]
    alike: Matrix
    equal: Bools
    paired: tuple[int | None, ...]
    taken: Bools

    @property
    def is_found(self) -> Bools:
        """(n,) whether each given region was found, with its label."""
        return np.array([one is not None for one in self.paired], np.bool_)


def scene(
    example: int, given: Mapping[int, Region], found: Sequence[Region], *, point_px: float
) -> Scene:
    """Give each finding to at most one given region: one of its label and on it, else of another
    label on it, else of its label near it; the most alike and surest first.

    `given`: by their places in the example.
    """
    regions = tuple(given.values())
    alike = similarities(
        [one.shape for one in found], [one.shape for one in regions], point_px=point_px
    ).T  # the given one is the true one
    labels = np.array([one.label for one in found], np.object_)
    equal = np.array([labels == one.label for one in regions], np.bool_).reshape(alike.shape)
    worth = alike * np.array([0.5 + one.score for one in found]).reshape(1, -1)
    rows: dict[int, int] = {}
    _pair(worth * (equal & (alike >= SAME)), rows)
    paired = tuple(rows.get(row) for row in range(len(regions)))
    _pair(worth * (~equal & (alike >= SAME)), rows)
    _pair(worth * (equal & (alike >= NEAR)), rows)
    taken = np.zeros(len(found), np.bool_)
    taken[list(rows.values())] = True
    return Scene(example, tuple(given), regions, tuple(found), alike, equal, paired, taken)


def _pair(worth: Matrix, rows: dict[int, int]) -> None:
    """Add to `rows` columns that are not in it yet for rows that are not; greedy."""
    taken = set(rows.values())
    for row, column in _best_first(worth):
        if row not in rows and column not in taken:
            rows[row] = column
            taken.add(column)


def _best_first(worth: Matrix) -> Iterator[tuple[int, int]]:
    rows, columns = np.nonzero(worth > 0)
    for at in np.argsort(-worth[rows, columns], kind="stable"):
        yield int(rows[at]), int(columns[at])


def probabilities(scenes: Sequence[Scene]) -> list[Values]:
    """Per scene (m,) the probability 0..1 that each finding is a given region of its label.

    The scores that came are fitted again, label by label, on the labels at hand.
    """
    result: list[Values] = [np.zeros(len(one.found)) for one in scenes]
    keys: dict[str, list[tuple[int, int]]] = {}
    for number, one in enumerate(scenes):
        for at, region in enumerate(one.found):
            keys.setdefault(region.label, []).append((number, at))
    pairs = [set(one.paired) for one in scenes]
    for some in keys.values():
        scores = np.array([scenes[number].found[at].score for number, at in some])
        right = np.array([at in pairs[number] for number, at in some], np.bool_)
        for (number, at), p in zip(some, refitted(scores, right), strict=True):
            result[number][at] = p
    return result


def twins(scene_: Scene, *, point_px: float) -> list[tuple[int, float] | None]:
    """Of each given region the most alike other one of its label, and how alike."""
    result: list[tuple[int, float] | None] = [None] * len(scene_.given)
    for label in {one.label for one in scene_.given}:
        rows = [i for i, one in enumerate(scene_.given) if one.label == label]
        shapes = [scene_.given[i].shape for i in rows]
        alike = similarities(shapes, shapes, point_px=point_px)
        np.fill_diagonal(alike, 0.0)
        for place, row in enumerate(rows):
            best = int(alike[place].argmax())
            if alike[place, best] > 0:
                result[row] = (rows[best], float(alike[place, best]))
    return result


def is_empty(region: Region) -> bool:
    """Whether a region that should have an area has none, or a skeleton no point.

    >>> from micro_models.regions import Box
    >>> is_empty(Region("car", Box(5, 5, 5, 9))), is_empty(Region("car", Point(5, 5)))
    (True, False)
    """
    shape = region.shape
    if isinstance(shape, Point):
        return False
    if isinstance(shape, Keypoints):
        return not bool((shape.scores > 0).any())
    if isinstance(shape, Polygon):
        return cv2.contourArea(shape.points) <= 0
    if isinstance(shape, RotatedBox):
        return shape.width_px * shape.height_px <= 0
    box = bounds(shape)
    return (box.x1 - box.x0) * (box.y1 - box.y0) <= 0
