"""How large shapes are, and how much of one lies in another."""

from __future__ import annotations

import math

import cv2
import numpy as np

from micro_models.label_errors.rates import Values
from micro_models.regions import Box, Ellipse, Mask, Polygon, RotatedBox, Shape


def area(shape: Shape) -> float:
    """In square pixels; 0 for points, skeletons and whole images.

    >>> area(Box(0, 0, 10, 5))
    50.0
    """
    match shape:
        case Box():
            return float((shape.x1 - shape.x0) * (shape.y1 - shape.y0))
        case RotatedBox():
            return float(shape.width_px * shape.height_px)
        case Ellipse():
            return math.pi * shape.radius_x * shape.radius_y
        case Polygon():
            return float(cv2.contourArea(shape.points))
        case Mask():
            return float(np.count_nonzero(shape.pixels))
        case _:
            return 0.0


def inside(alike: Values, given: Values, found: Values) -> Values:
    """(n, m) IoU, (n,) and (m,) areas -> (n, m) 0..1 the share of each finding in each given one.

    What has no area is as much inside as it is alike.

    >>> inside(np.array([[0.25, 0.5]]), np.array([40.0]), np.array([10.0, 0.0])).tolist()
    [[1.0, 0.5]]
    """
    common = alike / (1 + alike) * (given[:, None] + found[None, :])
    share = np.divide(common, found[None, :], out=alike.copy(), where=found[None, :] > 0)
    return np.asarray(np.clip(share, 0, 1))
