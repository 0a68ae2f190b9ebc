"""How alike two shapes are: 0..1, 1 = the same place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.geometry import ellipse_to_mask, polygon_to_mask, tight_box
from micro_models.regions import (
    Bools,
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

Matrix = NDArray[np.float64]

# Two points this far apart are alike to 0.5; a point says nothing about its object's size.
POINT_PX = 10.0
# Key points off by this part of the object's length are alike to exp(-1/2) = 0.61.
KEYPOINT_SPREAD = 0.1
# Shapes without pixels of their own are drawn this large, in pixels, to be compared.
_DRAWN_PX = (64.0, 512.0)

_Areal = Box | RotatedBox | Ellipse | Polygon | Mask


def similarity(one: Shape, other: Shape, *, point_px: float = POINT_PX) -> float:
    """How alike two shapes are: 0..1, 1 = the same; `other` is the true one where it matters.

    Whatever has an area: intersection over union, exact for boxes and rotated boxes, of pixels for
    all else. Key points: the mean over the points seen in `other` of exp(-d^2 / 2 (s k)^2), as in
    COCO's object key point similarity, s being the longer side of the box around them and k = 0.1
    for every point. Points: the same curve, 0.5 at a distance of `point_px`. Whole image: 1. Shapes
    that cannot be compared (a point and a box, skeletons of another number of points): 0.

    Source: T.-Y. Lin et al., Microsoft COCO (2014); cocodataset.org/#keypoints-eval.

    >>> from micro_models.regions import Box, Point
    >>> similarity(Box(0, 0, 10, 10), Box(0, 0, 10, 5)), similarity(Point(3, 4), Point(3, 14))
    (0.5, 0.5)
    """
    return float(similarities([one], [other], point_px=point_px)[0, 0])


def similarities(
    found: Sequence[Shape], truth: Sequence[Shape], *, point_px: float = POINT_PX
) -> Matrix:
    """(n,) shapes and (m,) shapes -> (n, m) `similarity` of each with each, 0..1.

    >>> from micro_models.regions import Box
    >>> boxes = [Box(0, 0, 10, 10), Box(20, 0, 30, 10)]
    >>> similarities(boxes, boxes[:1]).tolist()
    [[1.0], [0.0]]
    """
    ours, theirs = [_extent(shape) for shape in found], [_extent(shape) for shape in truth]
    result = _box_ious(_edges(ours), _edges(theirs))
    for row, column in np.argwhere(~(_are_boxes(found)[:, None] & _are_boxes(truth)[None, :])):
        one, other = ours[row], theirs[column]
        if isinstance(one.shape, _Areal) and isinstance(other.shape, _Areal):
            if result[row, column] > 0:  # else not even the boxes around them overlap
                result[row, column] = _area_iou(one, other)
        else:
            result[row, column] = _point_similarity(one.shape, other.shape, point_px)
    return result


@dataclass(frozen=True, eq=False)
class _Extent:
    """A shape, the x0, y0, x1, y1 around it, and of a mask the pixels between them."""

    shape: Shape
    edges: Matrix
    crop: Bools | None = None


def bounds(shape: Shape) -> Box:
    """The smallest upright box around a shape; of a whole image, and of nothing, an empty box.

    >>> from micro_models.regions import Ellipse
    >>> bounds(Ellipse(50, 50, 10, 20))
    Box(x0=40.0, y0=30.0, x1=60.0, y1=70.0)
    """
    match shape:
        case Box():
            return shape
        case RotatedBox():
            return _around(shape.corners())
        case Polygon():
            return _around(shape.points)
        case Keypoints():
            return _around(shape.points[shape.scores > 0])
        case Mask():
            return tight_box(shape) or Box(0, 0, 0, 0)
        case Point():
            return Box(shape.x, shape.y, shape.x, shape.y)
        case Ellipse():
            angle = math.radians(shape.angle_deg)
            a, b = shape.radius_x, shape.radius_y
            half_width = math.hypot(a * math.cos(angle), b * math.sin(angle))
            half_height = math.hypot(a * math.sin(angle), b * math.cos(angle))
            x, y = shape.center_x, shape.center_y
            return Box(x - half_width, y - half_height, x + half_width, y + half_height)
        case WholeImage():
            return Box(0, 0, 0, 0)


def _around(points: NDArray[np.float32]) -> Box:
    if not len(points):
        return Box(0, 0, 0, 0)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return Box(float(x0), float(y0), float(x1), float(y1))


def _extent(shape: Shape) -> _Extent:
    box = bounds(shape)
    edges = np.array([box.x0, box.y0, box.x1, box.y1], dtype=np.float64)
    if not isinstance(shape, Mask):
        return _Extent(shape, edges)
    x0, y0, x1, y1 = edges.astype(int)
    return _Extent(shape, edges, shape.pixels[y0:y1, x0:x1])


def _are_boxes(shapes: Sequence[Shape]) -> Bools:
    return np.array([isinstance(shape, Box) for shape in shapes], dtype=np.bool_)


def _edges(extents: Sequence[_Extent]) -> Matrix:
    """(n, 4)."""
    return np.array([extent.edges for extent in extents], dtype=np.float64).reshape(-1, 4)


def _box_ious(one: Matrix, other: Matrix) -> Matrix:
    """(n, 4), (m, 4) -> (n, m), 0 where neither has an area."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = (high - low).clip(min=0).prod(axis=2)
    areas = [(edges[:, 2:] - edges[:, :2]).prod(axis=1) for edges in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def _area_iou(one: _Extent, other: _Extent) -> float:
    if isinstance(one.shape, Box | RotatedBox) and isinstance(other.shape, Box | RotatedBox):
        return _convex_iou(_outline(one.shape), _outline(other.shape))
    return _drawn_iou(one, other)


def _outline(shape: Box | RotatedBox | Polygon) -> NDArray[np.float32]:
    """(n, 2) corners."""
    if isinstance(shape, Polygon):
        return shape.points
    if isinstance(shape, RotatedBox):
        return shape.corners()
    x0, y0, x1, y1 = shape.x0, shape.y0, shape.x1, shape.y1
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.float32)


def _convex_iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    origin = one.mean(axis=0)  # near 0 so that float32 is exact enough
    one, other = one - origin, other - origin
    # `cv2.intersectConvexConvex` misses a tenth of the pairs that are nearly equal.
    _, corners = cv2.rotatedRectangleIntersection(cv2.minAreaRect(one), cv2.minAreaRect(other))
    if corners is None or len(corners) < 3:
        return 0.0
    common = cv2.contourArea(cv2.convexHull(corners))
    union = cv2.contourArea(one) + cv2.contourArea(other) - common
    return min(max(common / union, 0.0), 1.0) if union > 0 else 0.0


def _drawn_iou(one: _Extent, other: _Extent) -> float:
    """By drawing both on one grid: the pixels of the mask among them, else one fine enough.

    The grid covers the two alone, however large the image is.
    """
    has_pixels = one.crop is not None or other.crop is not None
    low = np.minimum(one.edges[:2], other.edges[:2])
    low = np.floor(low) if has_pixels else low
    size = np.maximum(one.edges[2:], other.edges[2:]) - low
    longer = float(size.max())
    scale = 1.0 if has_pixels else min(max(longer, _DRAWN_PX[0]), _DRAWN_PX[1]) / longer
    width, height = np.ceil(size * scale).clip(min=1).astype(int)
    first, second = (_drawn(extent, low, scale, int(width), int(height)) for extent in (one, other))
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def _drawn(extent: _Extent, low: Matrix, scale: float, width: int, height: int) -> Bools:
    """(height, width) of a grid that begins at `low` and has `scale` cells a pixel."""
    shape = extent.shape
    if extent.crop is not None:
        grid = np.zeros((height, width), np.bool_)
        x, y = (extent.edges[:2] - low).astype(int)
        grid[y : y + extent.crop.shape[0], x : x + extent.crop.shape[1]] = extent.crop
        return grid
    if isinstance(shape, Ellipse):
        x, y = (np.array([shape.center_x, shape.center_y]) - low) * scale
        radii = (shape.radius_x * scale, shape.radius_y * scale)
        moved = Ellipse(float(x), float(y), *radii, shape.angle_deg)
        return ellipse_to_mask(moved, width_px=width, height_px=height).pixels
    if isinstance(shape, Box | RotatedBox | Polygon):
        points = ((_outline(shape) - low) * scale).astype(np.float32)
        return polygon_to_mask(Polygon(points), width_px=width, height_px=height).pixels
    return np.zeros((height, width), np.bool_)


def _point_similarity(one: Shape, other: Shape, point_px: float) -> float:
    if isinstance(one, WholeImage) and isinstance(other, WholeImage):
        return 1.0
    if isinstance(one, Point) and isinstance(other, Point):
        return _closeness(math.hypot(one.x - other.x, one.y - other.y), point_px)
    if isinstance(one, Keypoints) and isinstance(other, Keypoints):
        return _keypoint_similarity(one, other, point_px)
    return 0.0


def _keypoint_similarity(one: Keypoints, other: Keypoints, point_px: float) -> float:
    seen = other.scores > 0
    if len(one.points) != len(other.points) or not seen.any():
        return 0.0
    box = bounds(other)
    length_px = max(box.x1 - box.x0, box.y1 - box.y0)
    # One point seen has no length: then it is compared as a point is.
    half_px = KEYPOINT_SPREAD * length_px * math.sqrt(2 * math.log(2)) if length_px else point_px
    away = np.hypot(*(one.points - other.points)[seen].T)
    alike = [_closeness(float(distance), half_px) for distance in away]
    return float(np.mean(np.where(one.scores[seen] > 0, alike, 0.0)))


def _closeness(distance_px: float, half_px: float) -> float:
    """1 at 0, 0.5 at `half_px`, on a bell curve."""
    return float(2.0 ** -((distance_px / half_px) ** 2))
