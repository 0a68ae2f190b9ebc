"""Outlines of objects from how likely each cell lies inside one."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from micro_models import geometry
from micro_models.regions import Bools, Floats, Mask, Polygon, RotatedBox, Shape

# Masks are as large as the image, one each: no answer holds more than so many pixels of them.
_MOST_PX = 1_000_000_000

# How far beyond its box an object may reach, parts of the box.
_BEYOND = 0.15


class _Window(NamedTuple):
    """Columns x0..x1 - 1 and rows y0..y1 - 1 of an image of some size."""

    x0: int
    y0: int
    x1: int
    y1: int
    width_px: int
    height_px: int


def shapes(
    inside: Floats, boxes: Floats, kind: str, *, width_px: int, height_px: int
) -> list[Shape]:
    """The areas, as shapes of a kind, of objects with boxes (n, 4) in pixels, best first.

    `inside` (rows, columns): how likely a cell lies in any of them. A pixel belongs to the object
    whose centre is nearest, in units of its box. Masks: as many as fit into a gigabyte.

    >>> inside = np.kron(np.float32([[0, 0, 0], [0, 1, 0], [0, 0, 0]]), np.ones((4, 4), np.float32))
    >>> box = np.float32([[8, 8, 16, 16]])
    >>> shapes(inside, box, "Mask", width_px=24, height_px=24)[0].area_px
    64
    """
    most = max(_MOST_PX // (width_px * height_px), 1) if kind == "Mask" else len(boxes)
    found = []
    for index in range(min(len(boxes), most)):
        window = _window(boxes[index], width_px, height_px)
        own = _largest(_owned(inside, boxes, index, window))
        found.append(_shape(own if own.any() else _oval(boxes[index], window), window, kind))
    return found


def _window(box: Floats, width_px: int, height_px: int) -> _Window:
    """The pixels that the object may cover; at least one."""
    beyond = _BEYOND * (box[2:] - box[:2])
    low = np.clip(np.floor(box[:2] - beyond), 0, [width_px - 1, height_px - 1])
    high = np.clip(np.ceil(box[2:] + beyond), low + 1, [width_px, height_px])
    return _Window(int(low[0]), int(low[1]), int(high[0]), int(high[1]), width_px, height_px)


def _owned(inside: Floats, boxes: Floats, index: int, window: _Window) -> Bools:
    """The window's pixels that are inside and nearer to this object than to any other."""
    rows, columns = inside.shape
    across, down = columns / window.width_px, rows / window.height_px
    likely = cv2.warpAffine(
        np.ascontiguousarray(inside),
        np.array(
            [
                [across, 0, (window.x0 + 0.5) * across - 0.5],
                [0, down, (window.y0 + 0.5) * down - 0.5],
            ]
        ),
        (window.x1 - window.x0, window.y1 - window.y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mine = _distance(boxes[index], window)
    own = likely > 0.5
    touches = (boxes[:, 0] < window.x1) & (boxes[:, 2] > window.x0)
    touches &= (boxes[:, 1] < window.y1) & (boxes[:, 3] > window.y0)
    touches[index] = False
    for other in boxes[touches]:
        own &= mine <= _distance(other, window)
    return np.asarray(own)


def _distance(box: Floats, window: _Window) -> Floats:
    """Of each pixel of the window, squared, to the box's centre, in halves of its sides."""
    x = np.arange(window.x0, window.x1, dtype=np.float32) + 0.5
    y = np.arange(window.y0, window.y1, dtype=np.float32)[:, None] + 0.5
    half = np.maximum((box[2:] - box[:2]) / 2, 0.5)
    center = (box[:2] + box[2:]) / 2
    return np.asarray(((x - center[0]) / half[0]) ** 2 + ((y - center[1]) / half[1]) ** 2)


def _oval(box: Floats, window: _Window) -> Bools:
    """The oval in the box, at least a pixel: a guess where no pixel is likely inside."""
    distance = _distance(box, window)
    return np.asarray((distance <= 1) | (distance == distance.min()))


def _largest(own: Bools) -> Bools:
    """The largest part, of pixels that share sides."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(own.astype(np.uint8), connectivity=4)
    return np.asarray(parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()) if count > 2 else own


def _shape(own: Bools, window: _Window, kind: str) -> Shape:
    """The window's pixels, at least one, as a shape in the image."""
    if kind == "Mask":
        pixels = np.zeros((window.height_px, window.width_px), np.bool_)
        pixels[window.y0 : window.y1, window.x0 : window.x1] = own
        return Mask(pixels)
    corner = np.array([window.x0, window.y0], np.float32)
    ellipse = geometry.mask_to_ellipse(Mask(own)) if kind == "Ellipse" else None
    if ellipse is not None:
        x, y = ellipse.center_x + window.x0, ellipse.center_y + window.y0
        return replace(ellipse, center_x=x, center_y=y)
    outline = geometry.mask_to_polygons(Mask(own))[0].points + corner
    return _turned(outline) if kind == "RotatedBox" else Polygon(outline)


def _turned(outline: Floats) -> RotatedBox:
    """The smallest turned box around an outline; width >= height, -90 <= angle < 90."""
    (x, y), (width, height), angle = cv2.minAreaRect(outline)
    if width < height:
        width, height, angle = height, width, angle + 90
    return RotatedBox(x, y, width, height, (angle + 90) % 180 - 90)
