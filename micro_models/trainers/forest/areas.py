"""Outlines of objects from how likely each cell lies inside one."""

from __future__ import annotations

import cv2
import numpy as np

from micro_models import geometry
from micro_models.regions import Bools, Box, Floats, Mask, Polygon, RotatedBox, Shape

# Masks are as large as the image, one each: no answer holds more than so many pixels of them.
_MOST_PX = 1_000_000_000

# How far beyond its box an object may reach, parts of the box.
_BEYOND = 0.15


def shapes(
    inside: Floats, boxes: Floats, kind: str, *, width_px: int, height_px: int
) -> list[Shape]:
    """The areas, as shapes of a kind, of objects with boxes (n, 4) in pixels, best first.

    `inside` (rows, columns): how likely a cell lies in any of them. A pixel belongs to the object
    whose centre is nearest, in units of its box. As many as fit into a gigabyte.
    """
    most = max(_MOST_PX // (width_px * height_px), 1) if kind == "Mask" else len(boxes)
    found = []
    for index in range(min(len(boxes), most)):
        window = _window(boxes[index], width_px, height_px)
        own = _owned(inside, boxes, index, window, (width_px, height_px))
        found.append(_shape(own, boxes[index], window, kind, (width_px, height_px)))
    return found


def _window(box: Floats, width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the pixels that the object may cover; at least one."""
    beyond = _BEYOND * (box[2:] - box[:2])
    x0, y0 = np.clip(np.floor(box[:2] - beyond), 0, [width_px - 1, height_px - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(box[2:] + beyond), [x0 + 1, y0 + 1], [width_px, height_px]).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


def _owned(inside: Floats, boxes: Floats, index: int, window, size) -> Bools:
    """The window's pixels that are inside and nearer to this object than to any other."""
    x0, y0, x1, y1 = window
    rows, columns = inside.shape
    across, down = columns / size[0], rows / size[1]
    matrix = np.array([[across, 0, (x0 + 0.5) * across - 0.5], [0, down, (y0 + 0.5) * down - 0.5]])
    likely = cv2.warpAffine(
        np.ascontiguousarray(inside),
        matrix,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    x, y = np.arange(x0, x1) + 0.5, np.arange(y0, y1)[:, None] + 0.5
    mine = _distance(boxes[index], x, y)
    own = (likely > 0.5) & (mine < (1 + 2 * _BEYOND) ** 2 * 2)
    touches = (boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
    for other in np.flatnonzero(touches):
        if other != index:
            own &= mine <= _distance(boxes[other], x, y)
    return own


def _distance(box: Floats, x, y):
    """Squared distance to the box's centre, in halves of its sides."""
    half = np.maximum((box[2:] - box[:2]) / 2, 0.5)
    return ((x - (box[0] + box[2]) / 2) / half[0]) ** 2 + (
        (y - (box[1] + box[3]) / 2) / half[1]
    ) ** 2


def _shape(own: Bools, box: Floats, window, kind: str, size) -> Shape:
    own = _largest(own)
    x0, y0, x1, y1 = window
    if not own.any():
        x, y = np.arange(x0, x1) + 0.5, np.arange(y0, y1)[:, None] + 0.5
        own = _distance(box, x, y) <= 1
        if not own.any():
            own[own.shape[0] // 2, own.shape[1] // 2] = True
    if kind == "Mask":
        pixels = np.zeros((size[1], size[0]), np.bool_)
        pixels[y0:y1, x0:x1] = own
        return Mask(pixels)
    mask = Mask(own)
    if kind == "Ellipse":
        ellipse = geometry.mask_to_ellipse(mask)
        assert ellipse
        return type(ellipse)(
            ellipse.center_x + x0,
            ellipse.center_y + y0,
            ellipse.radius_x,
            ellipse.radius_y,
            ellipse.angle_deg,
        )
    outline = geometry.mask_to_polygons(mask)[0].points + np.array([x0, y0], np.float32)
    if kind == "Polygon":
        return Polygon(outline)
    return _turned(outline)


def _turned(outline: Floats) -> RotatedBox:
    """The smallest turned box around an outline; its width is the longer side, -90 <= angle < 90."""
    (x, y), (width, height), angle = cv2.minAreaRect(outline)
    if width < height:
        width, height, angle = height, width, angle + 90
    return RotatedBox(x, y, width, height, (angle + 90) % 180 - 90)


def _largest(own: Bools) -> Bools:
    """The largest connected part, its holes filled."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(own.astype(np.uint8), connectivity=4)
    if count < 2:
        return own
    return np.asarray(parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
