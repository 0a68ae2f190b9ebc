"""Shapes as people drew them: results of annotations in pixels of the picture as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

from backends.errors import BadRequest
from backends.label_studio.percents import decode_shape, visible_part
from micro_models.evaluation.overlap import bounds
from micro_models.regions import Box, Ellipse, Mask, Point, Polygon, RotatedBox, Shape

Size = tuple[int, int]

_NUMBERS = ("x", "y", "width", "height", "radiusX", "radiusY", "rotation")
_LARGEST = 1e6
# Nobody draws what is so many pictures away, and it would cost memory wherever it is compared.
_FAR = 10
# The editor keeps what is drawn on the picture; a point this part of a side off is rounding.
_POINT_OFF = 0.01
# A mask may have been painted on another rendition of the picture: of its proportions, and smaller
# or not much larger.
_SAME_PROPORTIONS = 0.02
_MOST_PIXELS = 4


def read_shape(item: Mapping[str, Any], size_px: Size) -> Shape:
    """The shape of a result on a picture of `size_px` (width, height), without what leaves it.

    Percents are of the picture's sides, whatever size the editor measured. A mask that was painted
    on another rendition of the picture is scaled. `image_rotation` changes nothing: the editor
    turns what it shows, and stores what was drawn as it lies on the upright picture.
    Errors: `BadRequest` for what is broken, empty, or outside the picture.
    """
    value = _checked(item.get("value"))
    measured = _measured(item, size_px) if {"rle", "imageDataURL"} & set(value) else size_px
    try:
        shape = decode_shape(value, measured)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadRequest(f"it is malformed: {str(error)[:100]}") from None
    return _scaled(shape, size_px) if isinstance(shape, Mask) else _trimmed(shape, size_px)


def _checked(value: Any) -> dict[str, Any]:
    """The value, if its numbers are numbers: Python would read text as such."""
    if not isinstance(value, Mapping):
        raise BadRequest("it has no value")
    for key in _NUMBERS:
        if value.get(key) is not None and not _is_number(value[key]):
            raise BadRequest(f"its {key} is no number of a sensible size")
    if "points" in value and not _are_points(value["points"]):
        raise BadRequest("its points are no pairs of numbers of a sensible size")
    if value.get("closed") is False:
        raise BadRequest("it is a polygon that nobody closed")
    # A side is negative while something is drawn backwards.
    radii = {key: abs(value[key]) for key in ("radiusX", "radiusY") if value.get(key) is not None}
    return {**value, **radii}


def _are_points(points: Any) -> bool:
    pairs = points if isinstance(points, list) else [None]
    return all(
        isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)) for pair in pairs
    )


def _is_number(value: Any) -> TypeGuard[int | float]:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and abs(value) <= _LARGEST  # which neither NaN nor infinity is


def _measured(item: Mapping[str, Any], size_px: Size) -> Size:
    """The size of the picture on which a mask was painted."""
    across, down = item.get("original_width"), item.get("original_height")
    if across is None and down is None:
        return size_px
    if not (_is_number(across) and _is_number(down) and min(across, down) >= 1):
        raise BadRequest("its original_width and original_height are no size of a picture")
    width, height = int(across), int(down)
    expected = width * size_px[1] / size_px[0]
    if abs(expected - height) > max(1.0, _SAME_PROPORTIONS * height):
        raise BadRequest(f"it was painted on {width} x {height} pixels, the picture has {size_px}")
    if width * height > _MOST_PIXELS * size_px[0] * size_px[1]:
        raise BadRequest(f"it has {width} x {height} pixels, many more than the picture")
    return width, height


def _scaled(mask: Mask, size_px: Size) -> Mask:
    pixels = mask.pixels
    if pixels.shape != (size_px[1], size_px[0]):
        resized = cv2.resize(pixels.view(np.uint8), size_px, interpolation=cv2.INTER_NEAREST)
        pixels = resized.astype(np.bool_)
    if not pixels.any():
        raise BadRequest("nothing is left of its mask")
    return Mask(pixels)


def _trimmed(shape: Shape, size_px: Size) -> Shape:
    """What the picture shows of a shape; an ellipse is kept whole."""
    width, height = size_px
    around = bounds(shape)
    margin = 1 if isinstance(shape, Ellipse) else _FAR
    if (
        min(around.x0 + margin * width, around.y0 + margin * height) < 0
        or around.x1 > (margin + 1) * width
        or around.y1 > (margin + 1) * height
    ):
        raise BadRequest("it reaches far beyond the picture")
    if isinstance(shape, Point):
        return _on_picture(shape, size_px)
    x0, x1 = max(around.x0, 0.0), min(around.x1, float(width))
    y0, y1 = max(around.y0, 0.0), min(around.y1, float(height))
    if not (x0 < x1 and y0 < y1) or not _has_area(shape):
        raise BadRequest("nothing of it is on the picture")
    match shape:
        case Box():
            return Box(x0, y0, x1, y1)
        case RotatedBox():
            seen = visible_part(shape, size_px)
            if not isinstance(seen, RotatedBox) or not _has_area(seen):
                raise BadRequest("nothing of it is on the picture")
            return seen
        case Polygon() if Box(x0, y0, x1, y1) != around:
            return _cut(shape, size_px)
    return shape


def _has_area(shape: Shape) -> bool:
    match shape:
        case RotatedBox():
            return min(shape.width_px, shape.height_px) > 0
        case Ellipse():
            return min(shape.radius_x, shape.radius_y) > 0
        case Polygon():
            return cv2.contourArea(cv2.convexHull(shape.points)) > 0
    return True


def _on_picture(point: Point, size_px: Size) -> Point:
    x, y = min(max(point.x, 0.0), size_px[0]), min(max(point.y, 0.0), size_px[1])
    if abs(x - point.x) > _POINT_OFF * size_px[0] or abs(y - point.y) > _POINT_OFF * size_px[1]:
        raise BadRequest("it is not on the picture")
    return Point(x, y)


def _cut(polygon: Polygon, size_px: Size) -> Polygon:
    """The polygon on the picture.

    Source: I. Sutherland, G. Hodgman, Reentrant Polygon Clipping (1974).
    """
    points: NDArray[np.float64] = polygon.points.astype(np.float64)
    for axis, side in enumerate(size_px):
        for edge, inwards in ((0.0, 1.0), (float(side), -1.0)):
            points = _cut_at(points, axis, edge, inwards)
    if len(points) < 3 or cv2.contourArea(cv2.convexHull(points.astype(np.float32))) <= 0:
        raise BadRequest("nothing of it is on the picture")
    return Polygon(points.astype(np.float32))


def _cut_at(
    points: NDArray[np.float64], axis: int, edge: float, inwards: float
) -> NDArray[np.float64]:
    """(n, 2) points of a polygon -> those of its part on one side of an edge."""
    depth = (points[:, axis] - edge) * inwards
    before = np.roll(depth, 1)
    crosses, stays = (before < 0) != (depth < 0), depth >= 0
    share = (before / np.where(crosses, before - depth, 1.0))[:, None]
    previous = np.roll(points, 1, axis=0)
    crossings = previous + share * (points - previous)
    crossings[:, axis] = edge
    # Each corner after the point where the way to it crosses the edge.
    both = np.stack([crossings, points], axis=1)
    kept: NDArray[np.float64] = both[np.stack([crosses, stays], axis=1)]
    return kept
