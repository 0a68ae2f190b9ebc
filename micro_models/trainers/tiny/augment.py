"""Labelled images made anew: what may be changed without making another thing of what is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.examples import Example
from micro_models.geometry import mask_to_ellipse
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    RotatedBox,
    Shape,
)
from micro_models.trainers.tiny.warp import Matrix, Moved, move, outlined, warp, warp_pixels

__all__ = [
    "Moved",
    "Policy",
    "about",
    "move",
    "outlined",
    "photometric",
    "random_affine",
    "warp",
    "warp_pixels",
]

Pixels = NDArray[np.uint8]
# Fewer directions than this tell nothing about all objects; boxes tell theirs less surely.
_FEW, _FEW_BOXES = 4, 10
# A side must be longer than the other by this factor for the object to have a direction.
_LONG, _LONG_BOX = 1.2, 1.1
# Upright boxes in all directions: at least this part of them is wide, and as many are tall.
_EACH = 0.15
# Directions with this standard deviation will be seen all around.
_ALL_AROUND_DEG = 45.0
# What is turned freely although boxes are upright loses its tight box: a few degrees cost little.
_SWAY_DEG = 4.0


@dataclass(frozen=True)
class Policy:
    """How far images may be changed: factors as exp(+-value), angles in degrees.

    `mirror`: left becomes right; `turn`: any side may be up, also upside down; `any_angle`: the
    shapes stay exact under every angle, so that `turn` is not in quarters only.
    """

    size: float = 0.35
    aspect: float = 0.1
    sway_deg: float = _SWAY_DEG
    mirror: bool = True
    turn: bool = False
    any_angle: bool = False

    @staticmethod
    def of(examples: Iterable[Example]) -> Policy:
        """What the examples allow: skeletons and pairs of points are not mirrored, since left
        would become right; images are turned as far as their objects are, label by label.

        >>> from micro_models.regions import Region
        >>> tall, wide = Example("a.png", [Region("car", Box(0, 0, 5, 20))] * 9), Example(
        ...     "b.png", [Region("car", Box(0, 0, 20, 5))] * 9)
        >>> Policy.of([tall]).turn, Policy.of([tall, wide]).turn
        (False, True)
        """
        shapes: dict[str, list[Shape]] = {}
        for region in (region for each in examples for region in each.regions):
            shapes.setdefault(region.label, []).append(region.shape)
        every = [shape for some in shapes.values() for shape in some]
        points = [label for label, some in shapes.items() if isinstance(some[0], Point)]
        bones = any(isinstance(shape, Keypoints) for shape in every)
        known = [_spread_deg(some) for some in shapes.values()]
        spread = min((deg for deg in known if deg is not None), default=0.0)
        exact = not any(isinstance(shape, Box) for shape in every)
        return Policy(
            sway_deg=max(2 * spread, _SWAY_DEG) if exact else _SWAY_DEG,
            mirror=not bones and len(points) < 2,
            turn=spread > _ALL_AROUND_DEG,
            any_angle=exact,
        )


def random_affine(rng: np.random.Generator, policy: Policy) -> Matrix:
    """(2, 2): a random change of size, aspect, side and direction, about the origin.

    >>> random_affine(np.random.default_rng(0), Policy(0, 0, 0, mirror=False))
    array([[1., 0.],
           [0., 1.]])
    """
    size = math.exp(rng.uniform(-policy.size, policy.size))
    aspect = math.exp(rng.uniform(-policy.aspect, policy.aspect))
    flip = -1.0 if policy.mirror and rng.random() < 0.5 else 1.0
    angle = rng.uniform(-policy.sway_deg, policy.sway_deg)
    if policy.turn:
        angle += rng.uniform(0, 360) if policy.any_angle else 90.0 * rng.integers(4)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turned = np.array([[cos, -sin], [sin, cos]]) @ np.diag([flip * aspect, 1 / aspect])
    changed: Matrix = size * turned
    return changed


def about(turn: Matrix, center: NDArray[np.float64], place: NDArray[np.float64]) -> Matrix:
    """(2, 3): `turn` (2, 2) and a shift that brings the point `center` to `place`; x, y in pixels.

    >>> about(np.eye(2), np.array([10.0, 20.0]), np.array([0.0, 5.0])).tolist()
    [[1.0, 0.0, -10.0], [0.0, 1.0, -15.0]]
    """
    return np.concatenate([turn, (place - turn @ center)[:, None]], axis=1)


def photometric(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """(h, w, 3) uint8 in another light: brightness, contrast, tint, and at times blur or noise.

    >>> grey = np.full((8, 8, 3), 128, np.uint8)
    >>> photometric(grey, np.random.default_rng(0)).shape
    (8, 8, 3)
    """
    gain = rng.uniform(0.7, 1.3) * (1 + rng.uniform(-0.1, 0.1, 3))
    table = np.arange(256)[:, None] * gain + rng.uniform(-25, 25)
    lit = np.asarray(cv2.LUT(pixels, table.clip(0, 255).astype(np.uint8)[None]), np.uint8)
    if rng.random() < 0.25:
        lit = _blurred(lit, rng)
    if rng.random() < 0.3:
        lit = _noisy(lit, rng)
    return lit


def _blurred(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Out of focus, or moved while the shutter was open."""
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(pixels, (3, 3), 0), np.uint8)
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    reach, angle = (length - 1) / 2, rng.uniform(0, math.pi)
    way = np.array([math.cos(angle), math.sin(angle)]) * reach
    start, end = (np.rint(reach + sign * way).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    return np.asarray(cv2.filter2D(pixels, -1, kernel / kernel.sum()), np.uint8)


def _noisy(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    noise = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
    share = rng.uniform(0.03, 0.15)
    return np.asarray(cv2.addWeighted(pixels, 1.0, noise, share, -127.5 * share), np.uint8)


def _spread_deg(shapes: Iterable[Shape]) -> float | None:
    """The standard deviation of the directions of a label's objects; None if they tell none."""
    lines, ways, uprights = [], [], []
    for shape in shapes:
        if isinstance(shape, Keypoints):
            ways += _way(shape)
        elif isinstance(shape, Box):
            uprights += [math.log((shape.x1 - shape.x0 + 1e-3) / (shape.y1 - shape.y0 + 1e-3))]
        elif (angle := _line(shape)) is not None:
            lines.append(2 * angle)
    if len(uprights) >= _FEW_BOXES:
        wide, tall = (sum(sign * one > math.log(_LONG_BOX) for one in uprights) for sign in (1, -1))
        if min(wide, tall) >= _EACH * len(uprights):
            return 90.0
        # Most of them lie alike; of those that are as wide as tall nobody knows.
        return 0.0 if 2 * max(wide, tall) > len(uprights) else None
    if len(ways) >= _FEW:
        return _deviation_deg(ways)
    return _deviation_deg(lines) / 2 if len(lines) >= _FEW else None


def _deviation_deg(angles: list[float]) -> float:
    """Of angles in radians; the circular standard deviation."""
    length = float(abs(np.exp(1j * np.array(angles)).mean()))
    return math.degrees(math.sqrt(-2 * math.log(min(max(length, 1e-3), 1.0))))


def _line(shape: Shape) -> float | None:
    """The direction of the longer axis in radians; None if there is none."""
    match shape:
        case RotatedBox():
            sides, angle = [shape.width_px, shape.height_px], shape.angle_deg
        case Ellipse():
            sides, angle = [shape.radius_x, shape.radius_y], shape.angle_deg
        case Polygon():
            _, rectangle, angle = cv2.minAreaRect(shape.points)
            sides = list(rectangle)
        case Mask():
            ellipse = mask_to_ellipse(shape)
            return None if ellipse is None else _line(ellipse)
        case _:
            return None
    if max(sides) < _LONG * min(sides):
        return None
    return math.radians(angle + (90 if sides[0] < sides[1] else 0))


def _way(bones: Keypoints) -> list[float]:
    """The direction from the first to the last point that was seen, in radians; at most one."""
    seen = bones.points[bones.scores > 0]
    if len(seen) < 2:
        return []
    x, y = (seen[-1] - seen[0]).tolist()
    return [math.atan2(y, x)]
