"""How much of each cell an outline covers."""

from __future__ import annotations

import math

import numpy as np

from micro_models.evaluation.overlap import bounds
from micro_models.geometry import polygon_to_mask
from micro_models.regions import Floats, Mask, Polygon

# A polygon is looked at in this many places across a cell, and as many down.
_FINE = 4


def coverage(
    outline: Polygon | Mask, *, stride: int, width: int, height: int
) -> tuple[Floats, int, int]:
    """The covered part, 0..1, of the cells around an outline, with their first row and column.

    `width` and `height` are of the whole grid, in cells; what lies outside of it is left out.

    >>> square = Polygon(np.array([[4, 4], [10, 4], [10, 8], [4, 8]], np.float32))
    >>> values, top, left = coverage(square, stride=4, width=8, height=8)
    >>> values.tolist(), top, left
    ([[1.0, 0.5]], 1, 1)
    """
    around = bounds(outline)
    left, top = (
        min(max(math.floor(at / stride), 0), most)
        for at, most in ((around.x0, width), (around.y0, height))
    )
    right, bottom = (
        min(max(math.ceil(at / stride), 0), most)
        for at, most in ((around.x1, width), (around.y1, height))
    )
    shape = bottom - top, right - left
    if min(shape) <= 0:
        return np.zeros((max(shape[0], 0), max(shape[1], 0)), np.float32), top, left
    if isinstance(outline, Polygon):
        fine = _FINE
        points = (outline.points / stride - np.array([left, top])) * fine
        pixels = polygon_to_mask(
            Polygon(points.astype(np.float32)), width_px=shape[1] * fine, height_px=shape[0] * fine
        ).pixels
    else:
        fine = stride
        pixels = np.zeros((shape[0] * fine, shape[1] * fine), np.bool_)
        part = outline.pixels[top * fine : bottom * fine, left * fine : right * fine]
        pixels[: part.shape[0], : part.shape[1]] = part
    cells = pixels.reshape(shape[0], fine, shape[1], fine)
    return cells.mean(axis=(1, 3), dtype=np.float32), top, left
