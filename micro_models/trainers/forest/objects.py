"""Labelled regions as numbers that a forest can learn, and views of an image to learn them from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models import geometry
from micro_models.examples import Example
from micro_models.regions import (
    Box,
    Ellipse,
    Floats,
    Image,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)

MASK_LIKE = ("RotatedBox", "Ellipse", "Polygon", "Mask")
LOCATED = (*MASK_LIKE, "Box", "Point", "Keypoints")

# A point has no size; it is learned as if it were this part of the image's shorter side.
_POINT = 1 / 16


@dataclass(frozen=True)
class Kind:
    """A located label: the name of the shape that it is answered in, and its key points if any."""

    label: str
    shape: str
    points: int = 0


def kinds_of(examples: Sequence[Example]) -> tuple[Kind, ...]:
    """The located labels, sorted, each with its shape in most of its examples.

    >>> box = Region("dog", Box(0, 0, 4, 4))
    >>> kinds_of([Example("a.png", [box]), Example("b.png", [Region("day", WholeImage())])])
    (Kind(label='dog', shape='Box', points=0),)
    """
    seen: dict[str, dict[tuple[str, int], int]] = {}
    for region in (region for example in examples for region in example.regions):
        shape = region.shape
        if not isinstance(shape, WholeImage):
            points = len(shape.points) if isinstance(shape, Keypoints) else 0
            counts = seen.setdefault(region.label, {})
            key = type(shape).__name__, points
            counts[key] = counts.get(key, 0) + 1
    most = {label: max(counts, key=lambda key: counts[key]) for label, counts in seen.items()}
    return tuple(Kind(label, *most[label]) for label in sorted(most))


@dataclass(frozen=True, eq=False)
class Objects:
    """The located regions of an image of `width_px` x `height_px`.

    `kind` (n,) index of the label; `boxes` (n, 4) x0, y0, x1, y1 pixels; `points` (n, p, 3) x, y
    and whether seen; `inside` per label (height, width) uint8 0 or 255, or None where no region of
    the label has an area other than its box.
    """

    kind: NDArray[np.intp]
    boxes: Floats
    points: Floats
    inside: tuple[NDArray[np.uint8] | None, ...]
    width_px: float
    height_px: float


def objects_of(image: Image, regions: Sequence[Region], kinds: Sequence[Kind]) -> Objects:
    """The located regions of one image; regions wholly outside it are left out."""
    names = [kind.label for kind in kinds]
    width, height = image.width_px, image.height_px
    most = max((kind.points for kind in kinds), default=0)
    inside: list[NDArray[np.uint8] | None] = [
        np.zeros((height, width), np.uint8) if kind.shape in MASK_LIKE else None for kind in kinds
    ]
    found, boxes, points = [], [], []
    for region in regions:
        box = extent(region.shape, width_px=width, height_px=height)
        if box is None or region.label not in names:
            continue
        kind = names.index(region.label)
        found.append(kind)
        boxes.append((box.x0, box.y0, box.x1, box.y1))
        points.append(_points_of(region.shape, kinds[kind].points, most))
        area = inside[kind]
        if area is not None:
            _paint(area, region.shape)
    return Objects(
        np.array(found, np.intp),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(points, np.float32).reshape(len(points), most, 3),
        tuple(inside),
        width,
        height,
    )


def extent(shape: Shape, *, width_px: int, height_px: int) -> Box | None:
    """The upright box around a shape in an image; None if they share no pixel.

    >>> extent(Ellipse(5, 5, 3, 2), width_px=20, height_px=20)
    Box(x0=2.0, y0=3.0, x1=8.0, y1=7.0)
    """
    corners = _corners(shape, _POINT * min(width_px, height_px))
    if corners is None or not len(corners):
        return None
    x0, y0 = corners.min(axis=0).tolist()
    x1, y1 = corners.max(axis=0).tolist()
    if x1 <= 0 or y1 <= 0 or x0 >= width_px or y0 >= height_px:
        return None
    return Box(x0, y0, x1, y1)


def _corners(shape: Shape, nominal_px: float) -> Floats | None:
    """(n, 2) points whose upright hull is the extent; None for a shape that has none."""
    match shape:
        case Box():
            return np.array([[shape.x0, shape.y0], [shape.x1, shape.y1]], np.float32)
        case RotatedBox():
            return shape.corners()
        case Polygon():
            return shape.points
        case Ellipse():
            angle = np.deg2rad(shape.angle_deg)
            wide = np.hypot(shape.radius_x * np.cos(angle), shape.radius_y * np.sin(angle))
            high = np.hypot(shape.radius_x * np.sin(angle), shape.radius_y * np.cos(angle))
            return _about(shape.center_x, shape.center_y, float(wide), float(high))
        case Mask():
            box = geometry.tight_box(shape)
            return _corners(box, nominal_px) if box else None
        case Point():
            return _about(shape.x, shape.y, nominal_px / 2, nominal_px / 2)
        case Keypoints():
            return _around(shape.points[shape.scores > 0], nominal_px)
        case WholeImage():
            return None


def _about(x: float, y: float, wide: float, high: float) -> Floats:
    return np.array([[x - wide, y - high], [x + wide, y + high]], np.float32)


def _around(points: Floats, nominal_px: float) -> Floats | None:
    """A skeleton has flesh: its hull is widened, a thin one more."""
    if not len(points):
        return None
    size = np.ptp(points, axis=0)
    reach = np.maximum((1.1 * size.max() - size) / 4, nominal_px / 4)
    return np.asarray(np.concatenate([points - reach, points + reach]), np.float32)


def _points_of(shape: Shape, count: int, most: int) -> Floats:
    """(most, 3); not seen beyond those that there are."""
    points = np.zeros((most, 3), np.float32)
    if isinstance(shape, Keypoints):
        count = min(count, len(shape.points))
        points[:count, :2] = shape.points[:count]
        points[:count, 2] = shape.scores[:count] > 0
    return points


def _paint(area: NDArray[np.uint8], shape: Shape) -> None:
    """Fill a shape; a polygon of a million corners costs as much as its area."""
    match shape:
        case Mask():
            if shape.pixels.shape == area.shape:
                area[shape.pixels] = 255
        case RotatedBox():
            cv2.fillPoly(area, [np.round(shape.corners()).astype(np.int32)], 255)
        case Polygon():
            cv2.fillPoly(area, [np.round(shape.points).astype(np.int32)], 255)
        case Ellipse():
            center = round(shape.center_x), round(shape.center_y)
            axes = round(shape.radius_x), round(shape.radius_y)
            cv2.ellipse(area, center, axes, shape.angle_deg, 0, 360, 255, cv2.FILLED)
        case Box():
            low, high = (round(max(shape.x0, 0)), round(max(shape.y0, 0))), (shape.x1, shape.y1)
            area[low[1] : round(max(high[1], 0)), low[0] : round(max(high[0], 0))] = 255
        case Point() | Keypoints() | WholeImage():
            pass
