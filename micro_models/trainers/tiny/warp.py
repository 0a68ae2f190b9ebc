"""An image and its regions, turned, scaled, mirrored and moved together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.evaluation.overlap import bounds
from micro_models.geometry import mask_to_polygons
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
from micro_models.trainers.tiny.things import is_too_large, ring

# (2, 3): x, y, 1 in pixels of one image -> x, y in pixels of the other.
Matrix = NDArray[np.float64]
# Of an object of which less can be seen nobody knows whether a person would have labelled it.
LEAST_INSIDE = 0.25


@dataclass(frozen=True, eq=False)
class Moved:
    """Where regions came to lie; in `ignored` boxes there is something that is no background."""

    regions: tuple[Region, ...]
    ignored: tuple[Box, ...] = ()


def warp(
    image: Image, regions: Sequence[Region], matrix: Matrix, size_px: tuple[int, int]
) -> tuple[Image, Moved]:
    """The image of `size_px` (width, height) that `matrix` (2, 3) makes, and its regions.

    What lies beyond the image's edge shows its mirror image. The mirrored objects there are
    ignored: they are no background, and no object that anybody labelled either.

    >>> image = Image(np.zeros((40, 60, 3), np.uint8))
    >>> twice = np.array([[2.0, 0, 0], [0, 2, 0]])
    >>> larger, moved = warp(image, [Region("car", Box(10, 5, 20, 15))], twice, (60, 40))
    >>> larger.pixels.shape, moved.regions[0].shape
    ((40, 60, 3), Box(x0=20.0, y0=10.0, x1=40.0, y1=30.0))
    """
    pixels = warp_pixels(image.pixels, matrix, size_px)
    moved = move(regions, matrix, size_px)
    ghosts = _ghosts(regions, (image.width_px, image.height_px), matrix, size_px)
    return Image(pixels), Moved(moved.regions, (*moved.ignored, *ghosts))


def warp_pixels(
    pixels: NDArray[np.uint8],
    matrix: Matrix,
    size_px: tuple[int, int],
    *,
    color: Sequence[float] | None = None,
) -> NDArray[np.uint8]:
    """(h, w, 3) -> what `matrix` (2, 3) makes of it within `size_px` (width, height).

    Beyond its edge there is `color`, or its mirror image if that is None.

    >>> pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> mirrored = warp_pixels(pixels, np.array([[-1.0, 0, 2], [0, 1, 0]]), (2, 2))
    >>> bool((mirrored == pixels[:, ::-1]).all())
    True
    """
    warped = cv2.warpAffine(
        pixels,
        _by_middles(matrix),
        size_px,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101 if color is None else cv2.BORDER_CONSTANT,
        borderValue=color or (0, 0, 0),
    )
    return np.asarray(warped, np.uint8)


def move(
    regions: Iterable[Region],
    matrix: Matrix,
    size_px: tuple[int, int],
    *,
    least_inside: float = LEAST_INSIDE,
) -> Moved:
    """Where regions lie in an image of `size_px` (width, height) that `matrix` (2, 3) makes.

    Polygons are cut off at its edge, as if it were a photo's. Of what is less than
    `least_inside` within it the part that is to be seen is ignored. What is too large to be seen as
    a whole is not cut off; it is there where its centre is. It costs least for regions that
    `outlined` made.

    >>> right = np.array([[1.0, 0, 25], [0, 1, 0]])
    >>> move([Region("car", Box(0, 0, 10, 10))], right, (32, 32)).regions[0].shape
    Box(x0=25.0, y0=0.0, x1=35.0, y1=10.0)
    >>> move([Region("car", Box(5, 0, 15, 10))], right, (32, 32))
    Moved(regions=(), ignored=(Box(x0=30.0, y0=0.0, x1=32.0, y1=10.0),))
    """
    kept: list[Region] = []
    ignored: list[Box] = []
    for region in regions:
        if isinstance(region.shape, WholeImage):
            kept.append(region)
            continue
        shape = moved_shape(region.shape, matrix, size_px)
        visible = _common(bounds(shape), size_px)
        if visible is None or (isinstance(shape, Mask) and visible.x0 == visible.x1):
            continue
        part, share = _cut(shape, visible, size_px)
        if isinstance(shape, Mask):  # it has already lost what is outside
            whole = _box_around(bounds(region.shape), matrix)
            share = _cut(whole, _common(whole, size_px) or visible, size_px)[1]
        if share >= least_inside:
            kept.append(Region(region.label, part, region.score))
        else:
            ignored.append(visible)
    return Moved(tuple(kept), tuple(ignored))


def outlined(regions: Iterable[Region]) -> tuple[Region, ...]:
    """The same regions with masks as polygons, several parts joined by a bridge: cheap to move.

    >>> pixels = np.zeros((20, 30), np.bool_)
    >>> pixels[2:8, 3:9] = pixels[12:18, 13:19] = True
    >>> (region,) = outlined([Region("cell", Mask(pixels))])
    >>> bounds(region.shape)
    Box(x0=3.0, y0=2.0, x1=19.0, y1=18.0)
    """
    return tuple(
        Region(region.label, _outline(region.shape), region.score)
        if isinstance(region.shape, Mask)
        else region
        for region in regions
    )


def moved_shape(shape: Shape, matrix: Matrix, size_px: tuple[int, int]) -> Shape:
    """The shape after the change, which may reach beyond the image of `size_px`; a mask may not.

    An upright box goes around the turned ellipse in it, since few objects fill their corners.

    >>> quarter = np.array([[0.0, -1, 100], [1, 0, 0]])
    >>> moved_shape(Box(10, 20, 30, 60), quarter, (100, 100))
    Box(x0=40.0, y0=10.0, x1=80.0, y1=30.0)
    """
    match shape:
        case Box():
            half = np.array([shape.x1 - shape.x0, shape.y1 - shape.y0]) / 2
            x, y = _at(((shape.x0 + shape.x1) / 2, (shape.y0 + shape.y1) / 2), matrix)
            width, height = np.hypot(*(matrix[:, :2] * half).T).tolist()
            return Box(x - width, y - height, x + width, y + height)
        case RotatedBox():
            return _turned_box(shape, matrix)
        case Ellipse():
            return _turned_ellipse(shape, matrix)
        case Polygon():
            return Polygon(_points(shape.points, matrix))
        case Keypoints():
            return Keypoints(_points(shape.points, matrix), shape.scores)
        case Point():
            return Point(*_at((shape.x, shape.y), matrix))
        case Mask():
            return _moved_mask(shape, matrix, size_px)
        case WholeImage():
            return shape


def _by_middles(matrix: Matrix) -> Matrix:
    """The same change for coordinates that are 0 in the middle of the first pixel."""
    shifted = matrix.astype(np.float64)
    shifted[:, 2] += shifted[:, :2].sum(axis=1) * 0.5 - 0.5
    return shifted


def _points(points: Floats, matrix: Matrix) -> Floats:
    moved: Floats = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return moved


def _at(point: tuple[float, float], matrix: Matrix) -> tuple[float, float]:
    x, y = (matrix[:, :2] @ point + matrix[:, 2]).tolist()
    return x, y


def _turned_box(box: RotatedBox, matrix: Matrix) -> RotatedBox:
    """The rectangle closest to what may have become a parallelogram: the same axes, made square."""
    angle = math.radians(box.angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    along = matrix[:, :2] @ (cos * box.width_px, sin * box.width_px)
    across = matrix[:, :2] @ (-sin * box.height_px, cos * box.height_px)
    if np.linalg.det(matrix[:, :2]) < 0:
        across = -across
    direction = along + np.array([across[1], -across[0]])
    cos, sin = (direction / max(math.hypot(*direction), 1e-12)).tolist()
    width, height = along @ (cos, sin), across @ (-sin, cos)
    return RotatedBox(
        *_at((box.center_x, box.center_y), matrix),
        max(float(width), 0.0),
        max(float(height), 0.0),
        math.degrees(math.atan2(sin, cos)),
    )


def _turned_ellipse(ellipse: Ellipse, matrix: Matrix) -> Ellipse:
    angle = math.radians(ellipse.angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    axes = np.array([[cos, -sin], [sin, cos]]) * (ellipse.radius_x, ellipse.radius_y)
    directions, radii, _ = np.linalg.svd(matrix[:, :2] @ axes)
    return Ellipse(
        *_at((ellipse.center_x, ellipse.center_y), matrix),
        float(radii[0]),
        float(radii[1]),
        math.degrees(math.atan2(directions[1, 0], directions[0, 0])),
    )


def _moved_mask(mask: Mask, matrix: Matrix, size_px: tuple[int, int]) -> Mask:
    """Costs as much as its object is large, on either side."""
    pixels = np.zeros(size_px[::-1], np.bool_)
    around = bounds(mask)
    visible = _common(_box_around(around, matrix), size_px)
    if visible is None:
        return Mask(pixels)
    x0, y0, x1, y1 = (int(edge) for edge in (around.x0, around.y0, around.x1, around.y1))
    left, top = int(visible.x0), int(visible.y0)
    right, bottom = math.ceil(visible.x1), math.ceil(visible.y1)
    crop = mask.pixels[y0:y1, x0:x1].astype(np.uint8) * np.uint8(255)
    if not crop.size:
        return Mask(pixels)
    own = matrix.copy()
    own[:, 2] += matrix[:, :2] @ (x0, y0) - (left, top)
    part = cv2.warpAffine(crop, _by_middles(own), (right - left, bottom - top))
    pixels[top:bottom, left:right] = np.asarray(part) >= 128
    return Mask(pixels)


def _box_around(box: Box, matrix: Matrix) -> Box:
    """Around all four corners after the change."""
    return bounds(Polygon(_points(ring(box), matrix)))


def _outline(mask: Mask) -> Shape:
    # OpenCV's simplifying is quick; that lines may cross does no harm to what is filled.
    rings = [_simpler(one.points) for one in mask_to_polygons(mask, tolerance_px=0)]
    if not rings:
        return mask
    first = rings[0]
    ways = [np.concatenate([first[:1], ring, ring[:1]]) for ring in rings[1:]]
    return Polygon(np.concatenate([first, *ways]))


def _simpler(ring: Floats) -> Floats:
    fewer = np.asarray(cv2.approxPolyDP(ring, epsilon=0.5, closed=True), np.float32).reshape(-1, 2)
    # What is thin may all but vanish.
    stays = abs(cv2.contourArea(fewer)) >= 0.75 * abs(cv2.contourArea(ring))
    return fewer if stays and len(fewer) >= 3 else ring


def _common(box: Box, size_px: tuple[int, int]) -> Box | None:
    """The part of a box within the image; None if there is none."""
    x0, y0 = max(box.x0, 0.0), max(box.y0, 0.0)
    x1, y1 = min(box.x1, float(size_px[0])), min(box.y1, float(size_px[1]))
    return Box(x0, y0, x1, y1) if x0 <= x1 and y0 <= y1 else None


def _cut(shape: Shape, visible: Box, size_px: tuple[int, int]) -> tuple[Shape, float]:
    """What of a shape lies within the image, and which part of it that is, 0..1.

    `visible`: the part of its bounds. A turned box or an ellipse stays whole; it is told by its
    centre, so that without that nothing of it counts.
    """
    around = bounds(shape)
    if around == visible:
        return shape, 1.0
    # A box is easier to tell by its whole extent than by what the edge has left of it.
    if isinstance(shape, Box) or is_too_large(around, size_px):
        x, y = (around.x0 + around.x1) / 2, (around.y0 + around.y1) / 2
        return shape, 1.0 if 0 <= x < size_px[0] and 0 <= y < size_px[1] else 0.0
    match shape:
        case Keypoints():
            seen = _seen(shape, size_px)
            scores = np.where(seen, shape.scores, 0).astype(np.float32)
            return Keypoints(shape.points, scores), float(seen.sum() / (shape.scores > 0).sum())
        case Polygon():
            points = _cut_off(shape.points, size_px)
            part = Polygon(points) if len(points) >= 3 else shape
            return part, _share(points, shape.points)
        case RotatedBox() | Ellipse():
            corners = ring(shape)
            is_told = 0 <= shape.center_x < size_px[0] and 0 <= shape.center_y < size_px[1]
            return shape, _share(_cut_off(corners, size_px), corners) if is_told else 0.0
    return shape, 1.0


def _share(part: Floats, whole: Floats) -> float:
    """The area of one polygon in that of another, 0..1."""
    area = cv2.contourArea(whole)
    return cv2.contourArea(part) / area if area and len(part) else 0.0


def _seen(shape: Keypoints, size_px: tuple[int, int]) -> NDArray[np.bool_]:
    within = (shape.points >= 0) & (shape.points < np.array(size_px))
    return np.asarray(within.all(axis=1) & (shape.scores > 0))


def _cut_off(points: Floats, size_px: tuple[int, int]) -> Floats:
    """A polygon's part within the image.

    Source: I. Sutherland, G. Hodgman, Communications of the ACM 17 (1974) 32-42.
    """
    for axis in (0, 1):
        for edge, sign in ((0.0, 1.0), (float(size_px[axis]), -1.0)):
            within = (points[:, axis] - edge) * sign
            following, next_within = np.roll(points, -1, axis=0), np.roll(within, -1)
            crosses = (within < 0) != (next_within < 0)
            part = np.divide(within, within - next_within, out=np.zeros_like(within), where=crosses)
            crossing = points + (following - points) * part[:, None]
            both = np.stack([points, crossing], axis=1).reshape(-1, 2)
            points = both[np.stack([within >= 0, crosses], axis=1).reshape(-1)]
            if not len(points):
                return points.astype(np.float32)
    return points.astype(np.float32)


def _ghosts(
    regions: Sequence[Region], source_px: tuple[int, int], matrix: Matrix, size_px: tuple[int, int]
) -> list[Box]:
    """Where the mirrored objects are that `BORDER_REFLECT_101` shows beyond the image's edges."""
    located = [one.shape for one in regions if not isinstance(one.shape, WholeImage)]
    corners = np.array([[0, 0], [size_px[0], 0], [0, size_px[1]], size_px], np.float64)
    looked_at = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    ghosts = []
    flips = [
        [(1, 0)]
        + ([(-1, 1)] if looked_at[:, axis].min() < 0 else [])
        + ([(-1, 2 * side - 1)] if looked_at[:, axis].max() > side else [])
        for axis, side in enumerate(source_px)
    ]
    for sign_x, shift_x in flips[0]:
        for sign_y, shift_y in flips[1]:
            if sign_x > 0 and sign_y > 0:
                continue
            mirror = np.array([[sign_x, 0, shift_x], [0, sign_y, shift_y], [0, 0, 1]])
            there = [bounds(moved_shape(bounds(one), matrix @ mirror, size_px)) for one in located]
            ghosts += [seen for one in there if (seen := _common(one, size_px))]
    return ghosts
