"""What a YOLO learns from: examples at its input's scale, turned, moved and recoloured anew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.examples import Example, image_of
from micro_models.geometry import mask_to_polygons
from micro_models.regions import (
    Box,
    Ellipse,
    Floats,
    Keypoints,
    Mask,
    Point,
    Polygon,
    RotatedBox,
    Shape,
    WholeImage,
)

Pixels = NDArray[np.uint8]

# What ultralytics pads with.
GREY = 114
# Less of an object than this is no example of it.
_LEAST_SEEN = 0.25
# Around a skeleton, whose joints lie inside its object, in parts of its longer side.
_MARGIN = 0.1


@dataclass(frozen=True, eq=False)
class Instance:
    """One object in a picture: its class, its outlines (k, 2) and, if it has, key points (n, 3).

    No outline: a class of the whole picture. All in pixels of its `Sample`; the third number of a
    key point is 1 where it is seen.
    """

    label: int
    rings: tuple[Floats, ...] = ()
    points: Floats | None = None


@dataclass(frozen=True)
class Freedom:
    """What may be done to a picture without making another thing of what is in it."""

    turned: bool = False
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture (height, width, 3) RGB at the scale that the network works at."""

    pixels: Pixels
    instances: tuple[Instance, ...]


def sample_of(
    example: Example, labels: Mapping[str, int], *, size_px: int, points: int, squeezed: bool
) -> Sample:
    """The example with its longer side of `size_px` and its objects.

    If `squeezed`, both sides are so long, and it has the classes of the whole instead of objects.
    `points`: how many key points the network gives; a shorter skeleton gets unseen ones.
    """
    image = image_of(example.picture)
    width, height = inner_size(image.width_px, image.height_px, size_px, squeezed=squeezed)
    scale = np.array([width / image.width_px, height / image.height_px], np.float32)
    instances = []
    for region in example.regions:
        if isinstance(region.shape, WholeImage) and squeezed:
            instances.append(Instance(labels[region.label]))
        rings = tuple(ring * scale for ring in outlines(region.shape))
        rings = tuple(ring for ring in rings if np.isfinite(ring).all())
        if squeezed or not rings or _seen(rings, width, height) is None:
            continue
        found = _padded(region.shape, points, scale) if points else None
        instances.append(Instance(labels[region.label], rings, found))
    return Sample(resized(image.pixels, width, height), tuple(instances))


def inner_size(width: int, height: int, size_px: int, *, squeezed: bool) -> tuple[int, int]:
    """(width, height) of a picture in the network's input."""
    if squeezed:
        return size_px, size_px
    gain = size_px / max(width, height)
    return max(1, round(width * gain)), max(1, round(height * gain))


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """(height, width, 3); where it shrinks, every pixel counts."""
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = pixels.shape[0] > height and pixels.shape[1] > width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def bounds(rings: Sequence[Floats]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 around them."""
    corners = np.concatenate(rings)
    return (*corners.min(0).tolist(), *corners.max(0).tolist())


def varied(
    sample: Sample, size: tuple[int, int], freedom: Freedom, *, rng: np.random.Generator
) -> Sample:
    """The sample as it might have looked too, on a canvas of (width, height)."""
    matrix = _matrix(sample, size, freedom, rng)
    # OpenCV counts from the middle of the first pixel, we from its corner.
    by_middle = matrix.copy()
    by_middle[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    moved = cv2.warpAffine(sample.pixels, by_middle, size, borderValue=(GREY,) * 3)
    pixels = _recoloured(np.asarray(moved, np.uint8), rng)
    instances = [_moved(one, sample, matrix, size) for one in sample.instances]
    return Sample(pixels, tuple(one for one in instances if one is not None))


def _matrix(
    sample: Sample, size: tuple[int, int], freedom: Freedom, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(2, 3) from the sample to the canvas: zoomed, shifted, perhaps mirrored and turned."""
    height, width = sample.pixels.shape[:2]
    # A third as it is, which is what it will meet.
    scale = 1.0 if rng.random() < 1 / 3 else math.exp(rng.uniform(math.log(0.6), math.log(1.6)))
    angle = math.radians(rng.uniform(-20, 20)) if freedom.turned and scale != 1 else 0.0
    mirror = -1.0 if freedom.mirrored and rng.random() < 0.5 else 1.0
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    # Zoomed in, the canvas shows a part of the picture; zoomed out, the picture lies in it.
    target = np.array(size)
    spare = np.abs(np.array([width, height]) - target / scale) / 2
    shift = rng.uniform(-1, 1, 2) * (spare + 0.05 * target / scale)
    center = np.array([width, height]) / 2 + (shift if scale != 1 else 0)
    return np.concatenate([linear, (target / 2 - linear @ center)[:, None]], axis=1)


def _moved(
    one: Instance, sample: Sample, matrix: NDArray[np.float64], size: tuple[int, int]
) -> Instance | None:
    if not one.rings:
        return one
    height, width = sample.pixels.shape[:2]
    rings = tuple(_mapped(ring, matrix) for ring in one.rings)
    before, after = _seen(one.rings, width, height), _seen(rings, *size)
    zoom = abs(float(np.linalg.det(matrix[:, :2])))
    if before is None or after is None or after < _LEAST_SEEN * before * zoom:
        return None
    points = one.points
    if points is not None:
        places = _mapped(points[:, :2], matrix)
        inside = np.all((places >= 0) & (places < np.array(size)), axis=1, keepdims=True)
        points = np.concatenate([places, points[:, 2:] * inside], axis=1, dtype=np.float32)
    return Instance(one.label, rings, points)


def _mapped(places: Floats, matrix: NDArray[np.float64]) -> Floats:
    return (places @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def _seen(rings: Sequence[Floats], width: int, height: int) -> float | None:
    """How many pixels of its box are inside; None where nothing is, or it has no area."""
    x0, y0, x1, y1 = bounds(rings)
    across, down = min(x1, width) - max(x0, 0), min(y1, height) - max(y0, 0)
    return across * down if across > 0 and down > 0 else None


def _recoloured(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    gain = rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)
    levels = np.arange(256)[:, None] * gain + rng.uniform(-20, 20)
    return np.asarray(cv2.LUT(pixels, levels.clip(0, 255).astype(np.uint8)[None]), np.uint8)


def outlines(shape: Shape) -> list[Floats]:
    """(k, 2) outlines of a shape's parts, in pixels of its image; none of what has no extent."""
    match shape:
        case Box(x0, y0, x1, y1):
            return [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)]
        case RotatedBox():
            return [shape.corners()]
        case Ellipse():
            turns = np.linspace(0, 2 * math.pi, 32, endpoint=False)
            flat = np.stack([np.cos(turns) * shape.radius_x, np.sin(turns) * shape.radius_y], 1)
            angle = math.radians(shape.angle_deg)
            cos, sin = math.cos(angle), math.sin(angle)
            around = flat @ np.array([[cos, sin], [-sin, cos]])
            return [(around + np.array([shape.center_x, shape.center_y])).astype(np.float32)]
        case Polygon():
            return [shape.points]
        case Mask():
            return [polygon.points for polygon in mask_to_polygons(shape)]
        case Keypoints():
            return _around(shape)
        case Point() | WholeImage():
            return []


def _around(skeleton: Keypoints) -> list[Floats]:
    seen = skeleton.points[skeleton.scores > 0]
    if not len(seen):
        return []
    least, most = seen.min(0), seen.max(0)
    margin = max(float((most - least).max()) * _MARGIN, 2.0)
    (x0, y0), (x1, y1) = (least - margin).tolist(), (most + margin).tolist()
    return outlines(Box(x0, y0, x1, y1))


def _padded(skeleton: Shape, count: int, scale: Floats) -> Floats:
    """(count, 3) x, y, seen; of another shape nothing is seen."""
    rows = np.zeros((count, 3), np.float32)
    if not isinstance(skeleton, Keypoints):
        return rows
    found = min(count, len(skeleton.points))
    rows[:found, :2] = skeleton.points[:found] * scale
    rows[:found, 2] = skeleton.scores[:found] > 0
    return rows
