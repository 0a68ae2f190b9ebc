"""Labelled regions as numbers that a forest can learn, and views of an image to learn them from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from micro_models import geometry
from micro_models.evaluation.overlap import bounds
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
from micro_models.tasks import answers_of

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
    return tuple(
        Kind(answer.label, answer.shape.__name__, answer.points)
        for answer in answers_of(examples)
        if answer.shape is not WholeImage
    )


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
            _paint(area, region.shape, box)
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
    box = _around(shape, _POINT * min(width_px, height_px))
    if box is None or box.x1 <= 0 or box.y1 <= 0 or box.x0 >= width_px or box.y0 >= height_px:
        return None
    x0, x1 = (min(max(x, -width_px), 2 * width_px) for x in (box.x0, box.x1))
    y0, y1 = (min(max(y, -height_px), 2 * height_px) for y in (box.y0, box.y1))
    return Box(x0, y0, x1, y1)


def _around(shape: Shape, nominal_px: float) -> Box | None:
    """The box around a shape, which a point has too; None for a shape that has none."""
    match shape:
        case WholeImage():
            return None
        case Point():
            half = nominal_px / 2
            return Box(shape.x - half, shape.y - half, shape.x + half, shape.y + half)
        case Keypoints():
            return _flesh(shape.points[shape.scores > 0].astype(np.float64), nominal_px)
        case Mask():
            return geometry.tight_box(shape)
        case _:
            return bounds(shape)


def _flesh(points: NDArray[np.float64], nominal_px: float) -> Box | None:
    """A skeleton has flesh: its hull is widened, a thin one more."""
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    size = high - low
    reach = np.maximum((1.1 * size.max() - size) / 4, nominal_px / 4)
    return Box(*(low - reach).tolist(), *(high + reach).tolist())


def _points_of(shape: Shape, count: int, most: int) -> Floats:
    """(most, 3); not seen beyond those that there are."""
    points = np.zeros((most, 3), np.float32)
    if isinstance(shape, Keypoints):
        count = min(count, len(shape.points))
        points[:count, :2] = shape.points[:count]
        points[:count, 2] = shape.scores[:count] > 0
    return points


def _paint(area: NDArray[np.uint8], shape: Shape, box: Box) -> None:
    """Fill the pixels whose middles lie in a shape, all of which are in a box."""
    height, width = area.shape
    x0, y0 = max(math.floor(box.x0), 0), max(math.floor(box.y0), 0)
    x1, y1 = max(min(math.ceil(box.x1), width), x0 + 1), max(min(math.ceil(box.y1), height), y0 + 1)
    size = {"width_px": x1 - x0, "height_px": y1 - y0}
    part, corner = area[y0:y1, x0:x1], np.array([x0, y0], np.float32)
    match shape:
        case Mask():
            if shape.pixels.shape == area.shape:
                part[shape.pixels[y0:y1, x0:x1]] = 255
        case Polygon():
            part[geometry.polygon_to_mask(Polygon(shape.points - corner), **size).pixels] = 255
        case Ellipse():
            x, y = shape.center_x - x0, shape.center_y - y0
            moved = replace(shape, center_x=x, center_y=y)
            part[geometry.ellipse_to_mask(moved, **size).pixels] = 255
        case RotatedBox() | Box():
            turned = shape.corners() if isinstance(shape, RotatedBox) else _corners(box)
            part[geometry.polygon_to_mask(Polygon(turned - corner), **size).pixels] = 255
        case Point() | Keypoints() | WholeImage():
            pass


def _corners(box: Box) -> Floats:
    """(4, 2)."""
    x0, y0, x1, y1 = box.x0, box.y0, box.x1, box.y1
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)
