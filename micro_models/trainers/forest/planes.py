"""What a forest sees of an image: planes of colour and edges on a coarse grid of cells.

After integral channel features: P. Dollár, Z. Tu, P. Perona, S. Belongie, BMVC 2009.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Floats

# Lightness, two colours, lightness and edge strength relative to their surroundings, local
# contrast, signed edges in x and y, four directions of edges.
COUNT = 12
LEVELS = 2

# Surroundings over which edges and lightness are normalised, in cells; a flat place stays flat.
_AROUND = 9
_FLAT = 0.02


def planes(work: NDArray[np.uint8], *, coarse: int) -> Floats:
    """(24, rows, columns) float32, about -1..1: 12 planes fine, then the same coarse.

    `work` (2 rows, 2 columns, 3): a cell is 2 x 2 pixels. A fine value is the mean over its cell,
    a coarse one over `coarse` x `coarse` cells.

    >>> seen = planes(np.full((8, 8, 3), 128, np.uint8), coarse=3)
    >>> seen.shape, bool(np.ptp(seen[0]) == 0)
    ((24, 4, 4), True)
    """
    rows, columns = work.shape[0] // 2, work.shape[1] // 2
    lab = cv2.cvtColor(work, cv2.COLOR_RGB2LAB).astype(np.float32) / 255
    light = lab[..., 0]
    x = cv2.Sobel(light, cv2.CV_32F, 1, 0, scale=0.25)
    y = cv2.Sobel(light, cv2.CV_32F, 0, 1, scale=0.25)
    edge = np.sqrt(x * x + y * y)  # cv2.magnitude depends on where in memory its arguments are
    size = (2 * _AROUND + 1, 2 * _AROUND + 1)
    usual = 1 / (cv2.blur(edge, size) + _FLAT)
    mean = cv2.blur(light, size)
    spread = np.sqrt(np.maximum(cv2.blur(light * light, size) - mean * mean, 0))
    x, y, strong = x * usual, y * usual, edge * usual
    length = strong + 1e-6
    along, across = (x * x - y * y) / length, 2 * x * y / length
    fine = [
        light,
        2.5 * (lab[..., 1] - 0.5),
        2.5 * (lab[..., 2] - 0.5),
        (light - mean) / (spread + _FLAT),
        strong,
        spread,
        x,
        y,
        np.maximum(along, 0),
        np.maximum(-along, 0),
        np.maximum(across, 0),
        np.maximum(-across, 0),
    ]
    cells = [cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA) for plane in fine]
    wide = [cv2.blur(plane, (coarse, coarse)) for plane in cells]
    return np.stack([*cells, *wide])


def padded(seen: Floats, *, margin: int) -> Floats:
    """Planes (p, h, w) with `margin` more cells on each side that repeat the edge.

    >>> padded(np.zeros((2, 3, 4), np.float32), margin=2).shape
    (2, 7, 8)
    """
    around = ((0, 0), (margin, margin), (margin, margin))
    return np.ascontiguousarray(np.pad(seen, around, mode="edge"))
