"""Regions as a tiny network is taught them: each a box about a centre, turned or not."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from micro_models.evaluation.overlap import bounds
from micro_models.geometry import mask_to_ellipse
from micro_models.regions import (
    Box,
    Ellipse,
    Floats,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)
from micro_models.trainers.tiny.spec import OUTLINED, TURNED, Kind, Located, Spec

Pair = tuple[float, float]

# A point has no extent: it is taught as a square with sides of this many cells, so that the
# network tells where in its cell it lies.
POINT_CELLS = 6.0


@dataclass(frozen=True, eq=False)
class Thing:
    """One region of the located label `index`, in cells: centre and sides, turned by `angle`.

    `has_size` and `has_angle` tell whether the region's shape knows them. `outline`: what to fill,
    in pixels, if the label has outlines and the region too. `skeleton`: its key points, in cells.
    """

    index: int
    center: Pair
    sides: Pair
    angle: float = 0.0
    has_size: bool = True
    has_angle: bool = False
    outline: Polygon | Mask | None = None
    skeleton: Keypoints | None = None


def things(
    regions: Iterable[Region], spec: Spec, *, width_px: int, height_px: int, stride: int
) -> list[Thing]:
    """All regions with a place whose centre lies within the image, as things to teach.

    A box is told whole: what a crop's edge hides of it follows from the rest.

    >>> spec = Spec((Located("car", Kind.BOX),))
    >>> region = Region("car", Box(40, 10, 80, 30))
    >>> (car,) = things([region], spec, width_px=64, height_px=48, stride=4)
    >>> car.center, car.sides
    ((15.0, 5.0), (10.0, 5.0))
    """
    indices = {one.label: index for index, one in enumerate(spec.located)}
    found = []
    for region in regions:
        index = indices.get(region.label)
        if index is None or _is_nowhere(region.shape):
            continue
        thing = _thing(index, spec.located[index], region.shape, (width_px, height_px))
        if thing is None:
            continue
        x, y = thing.center
        if 0 <= x < width_px and 0 <= y < height_px:
            found.append(_in_cells(thing, spec.located[index].kind, stride))
    return found


def _is_nowhere(shape: Shape) -> bool:
    match shape:
        case Keypoints():
            return not (shape.scores > 0).any()
        case Mask():
            return not shape.pixels.any()
    return isinstance(shape, WholeImage)


def _in_cells(thing: Thing, kind: Kind, stride: int) -> Thing:
    (x, y), (width, height), bones = thing.center, thing.sides, thing.skeleton
    is_point = kind is Kind.POINT
    return replace(
        thing,
        center=(x / stride, y / stride),
        sides=(POINT_CELLS, POINT_CELLS) if is_point else (width / stride, height / stride),
        skeleton=bones and Keypoints(bones.points / np.float32(stride), bones.scores),
    )


def _thing(index: int, located: Located, shape: Shape, size_px: tuple[int, int]) -> Thing | None:
    """In pixels; None where nothing of it can be seen."""
    if located.kind in TURNED:
        return _turned(index, shape, size_px)
    is_whole = isinstance(shape, Box) and _holds(size_px, _middle(shape))
    box = bounds(shape) if is_whole else _cut(bounds(shape), size_px)
    if box is None:
        return None
    thing = Thing(index, _middle(box), _sides(box), has_size=not isinstance(shape, Point))
    if located.kind is Kind.POINT:
        return replace(thing, has_size=True)
    if located.kind in OUTLINED and isinstance(shape, Polygon | Mask | RotatedBox | Ellipse):
        outline = shape if isinstance(shape, Mask) else Polygon(ring(shape))
        return replace(thing, outline=outline)
    if located.kind is Kind.KEYPOINTS and isinstance(shape, Keypoints):
        return replace(thing, skeleton=_skeleton(shape, located.points))
    return thing


def _turned(index: int, shape: Shape, size_px: tuple[int, int]) -> Thing | None:
    """The longer side lies along the angle, so that one object is told in one way only."""
    has_size, has_angle = not isinstance(shape, Point), True
    match shape:
        case RotatedBox():
            center, angle = (shape.center_x, shape.center_y), math.radians(shape.angle_deg)
            sides = (shape.width_px, shape.height_px)
        case Ellipse():
            center, angle = (shape.center_x, shape.center_y), math.radians(shape.angle_deg)
            sides = (2 * shape.radius_x, 2 * shape.radius_y)
        case Polygon():
            (x, y), (width, height), degrees = cv2.minAreaRect(shape.points)
            center, sides, angle = (x, y), (width, height), math.radians(degrees)
        case Mask():
            ellipse = mask_to_ellipse(shape)
            return _turned(index, ellipse, size_px) if ellipse else None
        case _:
            box = _cut(bounds(shape), size_px)
            if box is None:
                return None
            center, sides, angle = _middle(box), _sides(box), 0.0
            has_angle = not isinstance(shape, Keypoints | Point)
    if sides[0] < sides[1]:
        sides, angle = (sides[1], sides[0]), angle + math.pi / 2
    return Thing(index, center, sides, angle, has_size=has_size, has_angle=has_angle)


def ring(shape: Box | RotatedBox | Ellipse | Polygon) -> Floats:
    """(n, 2) corners around a shape with an area.

    >>> ring(Ellipse(10, 10, 4, 4)).shape
    (32, 2)
    """
    match shape:
        case Polygon():
            return shape.points
        case RotatedBox():
            return shape.corners()
        case Ellipse():
            return _rim(shape)
    x0, y0, x1, y1 = shape.x0, shape.y0, shape.x1, shape.y1
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)


def _rim(ellipse: Ellipse, corners: int = 32) -> Floats:
    at = np.arange(corners) * 2 * math.pi / corners
    # The polygon has the ellipse's area.
    wider = math.sqrt(2 * math.pi / corners / math.sin(2 * math.pi / corners))
    x, y = np.cos(at) * ellipse.radius_x * wider, np.sin(at) * ellipse.radius_y * wider
    angle = math.radians(ellipse.angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
    rim: Floats = (turned + np.array([ellipse.center_x, ellipse.center_y])).astype(np.float32)
    return rim


def _middle(box: Box) -> Pair:
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2


def _sides(box: Box) -> Pair:
    return box.x1 - box.x0, box.y1 - box.y0


def is_too_large(box: Box, size_px: tuple[int, int]) -> bool:
    """Whether a box cannot be seen as a whole in an image of `size_px`, wherever it lies.

    >>> is_too_large(Box(10, 10, 80, 20), (64, 64))
    True
    """
    return box.x1 - box.x0 > size_px[0] or box.y1 - box.y0 > size_px[1]


def _holds(size_px: tuple[int, int], point: tuple[float, float]) -> bool:
    return 0 <= point[0] < size_px[0] and 0 <= point[1] < size_px[1]


def _cut(box: Box, size_px: tuple[int, int]) -> Box | None:
    """The part within the image; None if there is none."""
    if is_too_large(box, size_px):
        return box
    x0, y0 = max(box.x0, 0.0), max(box.y0, 0.0)
    x1, y1 = min(box.x1, float(size_px[0])), min(box.y1, float(size_px[1]))
    return Box(x0, y0, x1, y1) if x0 <= x1 and y0 <= y1 else None


def _skeleton(shape: Keypoints, count: int) -> Keypoints:
    """Exactly `count` points: what is too much is left out, what is missing was not seen."""
    points, scores = np.zeros((count, 2), np.float32), np.zeros(count, np.float32)
    known = min(count, len(shape.points))
    points[:known], scores[:known] = shape.points[:known], shape.scores[:known]
    return Keypoints(points, scores)
