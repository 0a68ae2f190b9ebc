"""Shapes moved within their picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    RotatedBox,
    Shape,
    WholeImage,
)


def shifted(shape: Shape, dx: float, dy: float) -> Shape:
    """The same shape, so many pixels further right and down; of a mask what stays in its picture.

    A mask moves by whole pixels; a whole image stays.

    >>> shifted(Box(0, 0, 10, 20), 5, -1)
    Box(x0=5, y0=-1, x1=15, y1=19)
    """
    match shape:
        case Box(x0, y0, x1, y1):
            return Box(x0 + dx, y0 + dy, x1 + dx, y1 + dy)
        case RotatedBox() | Ellipse():
            return replace(shape, center_x=shape.center_x + dx, center_y=shape.center_y + dy)
        case Polygon(points):
            return Polygon((points + np.array([dx, dy])).astype(np.float32))
        case Keypoints(points, scores):
            return Keypoints((points + np.array([dx, dy])).astype(np.float32), scores)
        case Point(x, y):
            return Point(x + dx, y + dy)
        case Mask():
            return _moved(shape, round(dx), round(dy))
        case WholeImage():
            return shape


def _moved(mask: Mask, dx: int, dy: int) -> Mask:
    height, width = mask.pixels.shape
    pixels = np.zeros_like(mask.pixels)
    rows, columns = max(0, height - abs(dy)), max(0, width - abs(dx))
    top, left = max(0, dy), max(0, dx)
    from_top, from_left = max(0, -dy), max(0, -dx)
    pixels[top : top + rows, left : left + columns] = mask.pixels[
        from_top : from_top + rows, from_left : from_left + columns
    ]
    return Mask(pixels)
