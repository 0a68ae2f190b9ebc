"""The peaks of heat maps, and the boxes that their cells tell, each object once; all in cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Bools, Floats
from micro_models.trainers.tiny.spec import TURNED, Spec

Ints = NDArray[np.intp]
_SMALLEST, _LARGEST = 1e-2, 1e5


@dataclass(frozen=True, eq=False)
class Peaks:
    """n objects, best first, in cells: their located labels' `index`, cells, centres and sides.

    `index`, `row`, `column` (n,) int; `score`, `angle` (n,), `center`, `sides` (n, 2) x, y float32;
    the angle is in radians, clockwise.
    """

    index: Ints
    row: Ints
    column: Ints
    score: Floats
    center: Floats
    sides: Floats
    angle: Floats

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Ints | Bools) -> Peaks:
        return Peaks(*(getattr(self, one.name)[which] for one in fields(self)))


def find_peaks(
    outputs: Mapping[str, Floats], spec: Spec, *, min_score: float, most: int, max_overlap: float
) -> Peaks:
    """At most `most` peaks, none overlapping a better one of its label by more than `max_overlap`.

    `outputs` by head: `heat` (labels, h, w) 0..1, `sides` (4, h, w), `angle` (2, h, w) if needed.

    >>> heat, sides = np.zeros((1, 8, 8), np.float32), np.ones((4, 8, 8), np.float32)
    >>> heat[0, 3, 4:6] = 0.9, 0.8
    >>> spec = Spec.from_json({"located": [["car", "box", 0]], "classes": [],
    ...                        "exclusive": False, "most_objects": 1})
    >>> found = find_peaks({"heat": heat, "sides": sides}, spec, min_score=0.5, most=9,
    ...                    max_overlap=0.5)
    >>> found.center.tolist(), found.sides.tolist()
    ([[4.5, 3.5]], [[2.0, 2.0]])
    """
    # Some of them will turn out to be the same object.
    index, row, column = _highest(outputs["heat"], min_score, 2 * most)
    score = outputs["heat"][index, row, column].clip(0, 1)
    left, top, right, bottom = _finite(outputs["sides"][:, row, column]).clip(0, _LARGEST)
    middle = np.stack([column + 0.5, row + 0.5], axis=1)
    center = (middle + np.stack([right - left, bottom - top], axis=1) / 2).astype(np.float32)
    sides = np.maximum(np.stack([left + right, top + bottom], axis=1), _SMALLEST)
    angle: Floats = np.zeros(len(index), np.float32)
    if "angle" in outputs:
        sin, cos = _finite(outputs["angle"][:, row, column])
        turned = np.array([one.kind in TURNED for one in spec.located])[index]
        angle = np.where(turned, np.arctan2(sin, cos) / 2, 0).astype(np.float32)
    found = Peaks(index, row, column, score, center, sides, angle)
    return found[_kept(found, max_overlap)[:most]]


def _highest(heat: Floats, min_score: float, most: int) -> tuple[Ints, Ints, Ints]:
    """(label, row, column) of the cells that none of their neighbours surpasses, best first."""
    around = np.ones((3, 3), np.uint8)
    at = [np.flatnonzero((one >= cv2.dilate(one, around)) & (one >= min_score)) for one in heat]
    flat = np.concatenate([cells + one * heat[0].size for one, cells in enumerate(at)])
    values = heat.reshape(-1)[flat]
    if len(flat) > most:
        best = np.sort(np.argpartition(-values, most - 1)[:most])
        flat, values = flat[best], values[best]
    order = np.argsort(-values, kind="stable")
    index, row, column = np.unravel_index(flat[order], heat.shape)
    return index, row, column


def _finite(values: Floats) -> Floats:
    return np.nan_to_num(values, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)


def _kept(found: Peaks, max_overlap: float) -> Ints:
    """Which stay when whatever overlaps a better one of its label is left out, best first."""
    alive = np.ones(len(found), np.bool_)
    low, high = found.center - found.sides / 2, found.center + found.sides / 2
    areas = found.sides.prod(axis=1)
    for one in range(len(found) - 1):
        if not alive[one]:
            continue
        rest = np.flatnonzero(alive[one + 1 :] & (found.index[one + 1 :] == found.index[one]))
        rest += one + 1
        if found.angle[one] or found.angle[rest].any():
            overlap = _turned_overlap(found, one, rest)
        else:
            inner = np.minimum(high[one], high[rest]) - np.maximum(low[one], low[rest])
            common = inner.clip(min=0).prod(axis=1)
            overlap = common / (areas[one] + areas[rest] - common)
        alive[rest[overlap > max_overlap]] = False
    return np.flatnonzero(alive)


def _turned_overlap(found: Peaks, one: int, rest: Ints) -> Floats:
    """(m,) intersection over union of one turned box with others."""
    overlap = np.zeros(len(rest), np.float32)
    away = found.center[rest] - found.center[one]
    reach = (np.hypot(*found.sides[one]) + np.hypot(*found.sides[rest].T)) / 2
    for near in np.flatnonzero(np.hypot(*away.T) < reach):
        mine, other = (
            ((0.0, 0.0), found.sides[one].tolist(), math.degrees(found.angle[one])),
            (
                away[near].tolist(),
                found.sides[rest[near]].tolist(),
                math.degrees(found.angle[rest[near]]),
            ),
        )
        _, corners = cv2.rotatedRectangleIntersection(mine, other)
        if corners is not None and len(corners) > 2:
            common = cv2.contourArea(cv2.convexHull(corners))
            both = found.sides[one].prod() + found.sides[rest[near]].prod()
            overlap[near] = common / max(both - common, 1e-9)
    return overlap
