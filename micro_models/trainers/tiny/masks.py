"""The outlines of found objects, cut out of the maps that tell which cells belong to any."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from micro_models.geometry import mask_to_polygons
from micro_models.regions import Bools, Floats, Mask, Polygon
from micro_models.trainers.tiny.peaks import Ints, Peaks
from micro_models.trainers.tiny.spec import OUTLINED, Kind, Spec

# An outline may reach beyond its box by this part of the side, and this many cells.
_BEYOND, _BEYOND_CELLS = 0.1, 1.0
# The edge of an object lies where half of a cell is covered; one that is too small to cover any
# cell has it at this part of its own highest value.
_EDGE, _SMALL_EDGE = 0.5, 0.6
# Less than this is no outline at all.
_NOTHING = 0.1
# Parts smaller than this, compared with the largest, are noise.
_SMALL_PART = 0.1


@dataclass(frozen=True, eq=False)
class Patch:
    """How much of each cell belongs to one object, 0..1; its first cell is at `top`, `left`."""

    values: Floats
    top: int
    left: int


def cut_out(found: Peaks, outputs: Mapping[str, Floats], spec: Spec) -> dict[int, Patch]:
    """By number of the found object, the patch of each one whose label has outlines.

    A covered cell belongs to the object whose box is most like the one that the cell itself tells.
    Source of the idea: B. Cheng et al., Panoptic-DeepLab (CVPR 2020), arxiv.org/abs/1911.10194.
    """
    patches: dict[int, Patch] = {}
    for index, located in enumerate(spec.located):
        if located.kind in OUTLINED:
            numbers = np.flatnonzero(found.index == index)
            covered = np.nan_to_num(outputs["mask"][spec.mask_channel(index)])
            patches |= _shared_out(found, numbers, covered, outputs["sides"])
    return patches


def _shared_out(found: Peaks, numbers: Ints, covered: Floats, sides: Floats) -> dict[int, Patch]:
    owner = np.full(covered.shape, -1, np.intp)
    likeness = np.full(covered.shape, -1, np.float32)
    windows = {int(number): _window(found, number, covered.shape) for number in numbers}
    for number, window in windows.items():
        alike = _alike(found, number, sides, window)
        better = alike > likeness[window]
        owner[window][better] = number
        likeness[window][better] = alike[better]
    patches = {}
    for number, window in windows.items():
        values = covered[window]
        # Towards a neighbour the edge lies where it is as near to 0 as it is to 1.
        mine = (owner[window] == number) | (values < _EDGE)
        values = np.where(mine, values, 1 - values)
        patches[number] = Patch(values, window[0].start, window[1].start)
    return patches


def _window(found: Peaks, number: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the cells that may belong to the object; it has at least one cell."""
    reach = found.sides[number] * (0.5 + _BEYOND) + _BEYOND_CELLS
    (x0, y0), (x1, y1) = found.center[number] - reach, found.center[number] + reach
    row, column = int(found.row[number]), int(found.column[number])
    rows = slice(max(min(math.floor(y0), row), 0), min(max(math.ceil(y1), row + 1), shape[0]))
    columns = slice(
        max(min(math.floor(x0), column), 0), min(max(math.ceil(x1), column + 1), shape[1])
    )
    return rows, columns


def _alike(found: Peaks, number: int, sides: Floats, window: tuple[slice, slice]) -> Floats:
    """(a, b) intersection over union of the boxes that cells tell with the object's box."""
    rows, columns = window
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + np.float32(0.5)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5)
    left, top, right, bottom = np.nan_to_num(sides[:, rows, columns]).clip(0, 1e5)
    (x0, y0), (x1, y1) = (
        found.center[number] - found.sides[number] / 2,
        found.center[number] + found.sides[number] / 2,
    )
    width = np.minimum(x + right, x1) - np.maximum(x - left, x0)
    height = np.minimum(y + bottom, y1) - np.maximum(y - top, y0)
    common = np.maximum(width, 0) * np.maximum(height, 0)
    both = (left + right) * (top + bottom) + found.sides[number].prod()
    alike: Floats = (common / np.maximum(both - common, 1e-6)).astype(np.float32)
    return alike


def drawn(
    patch: Patch, kind: Kind, cell_px: tuple[float, float], size_px: tuple[int, int]
) -> Mask | Polygon | None:
    """The outline in pixels of an image of `size_px`; None where the patch shows none.

    >>> patch = Patch(np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32), top=1, left=1)
    >>> drawn(patch, Kind.MASK, (4.0, 4.0), (24, 20)).area_px
    16
    """
    highest = float(patch.values.max())
    if highest < _NOTHING:
        return None
    pixels, top, left = _enlarged(patch, min(_EDGE, _SMALL_EDGE * highest), cell_px, size_px)
    if not pixels.any():
        return None
    pixels = _without_specks(pixels)
    if kind is Kind.MASK:
        whole = np.zeros(size_px[::-1], np.bool_)
        whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return Mask(whole)
    (largest, *_) = mask_to_polygons(Mask(pixels))
    return Polygon(largest.points + np.array([left, top], np.float32))


def _enlarged(
    patch: Patch, edge: float, cell_px: tuple[float, float], size_px: tuple[int, int]
) -> tuple[Bools, int, int]:
    """The pixels in the patch whose value, between the cells' middles, is above the edge."""
    (rows, columns), (gain_x, gain_y) = patch.values.shape, cell_px
    left, right = (
        min(max(round(at * gain_x), 0), size_px[0]) for at in (patch.left, patch.left + columns)
    )
    top, bottom = (
        min(max(round(at * gain_y), 0), size_px[1]) for at in (patch.top, patch.top + rows)
    )
    if left >= right or top >= bottom:
        return np.zeros((1, 1), np.bool_), 0, 0
    to_cells = np.array(
        [
            [1 / gain_x, 0, (left + 0.5) / gain_x - patch.left - 0.5],
            [0, 1 / gain_y, (top + 0.5) / gain_y - patch.top - 0.5],
        ]
    )
    fine = cv2.warpAffine(
        patch.values,
        to_cells,
        (right - left, bottom - top),
        # Straight lines between cells would cut the corners off small objects.
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(fine) > edge, top, left


def _without_specks(pixels: Bools) -> Bools:
    _, parts, stats, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    stays = areas >= max(_SMALL_PART * areas.max(), 1)
    kept: Bools = stays[parts]
    return kept
