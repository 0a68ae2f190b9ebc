"""The nouns of images and what is on them: pixels, frozen, checked when made.

Coordinates are continuous pixels of the upright image: x to the right, y down, (0, 0) the outer
corner of the first pixel, so that pixel (column, row) covers [column, column + 1) x [row, row + 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


def _finite(noun: object, *values: float) -> None:
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{type(noun).__name__} needs finite coordinates, got {values}")


@dataclass(frozen=True, eq=False)
class Image:
    """An upright RGB image: `pixels` (height, width, 3) uint8."""

    pixels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(f"an image is (height, width, 3) uint8, not {shape} {dtype}")

    @property
    def width_px(self) -> int:
        """The number of columns."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """The number of rows."""
        return int(self.pixels.shape[0])


@dataclass(frozen=True)
class Box:
    """An upright box; edges in pixels, x0 <= x1 and y0 <= y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        _finite(self, self.x0, self.y0, self.x1, self.y1)
        if self.x1 < self.x0 or self.y1 < self.y0:
            raise ValueError(f"a box needs x0 <= x1 and y0 <= y1, got {self}")


@dataclass(frozen=True)
class RotatedBox:
    """A box turned by `angle_deg` clockwise about its centre; centre and sides in pixels."""

    center_x: float
    center_y: float
    width_px: float
    height_px: float
    angle_deg: float

    def __post_init__(self) -> None:
        _finite(self, self.center_x, self.center_y, self.width_px, self.height_px, self.angle_deg)
        if self.width_px < 0 or self.height_px < 0:
            raise ValueError(f"a rotated box needs sides >= 0, got {self}")

    def corners(self) -> Floats:
        """(4, 2) corners x, y: top-left, top-right, bottom-right, bottom-left before turning."""
        angle = math.radians(self.angle_deg)
        cos, sin = math.cos(angle), math.sin(angle)
        dx = np.array([-1, 1, 1, -1]) * self.width_px / 2
        dy = np.array([-1, -1, 1, 1]) * self.height_px / 2
        x = self.center_x + dx * cos - dy * sin
        y = self.center_y + dx * sin + dy * cos
        return np.stack([x, y], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse turned by `angle_deg` clockwise; centre and half axes in pixels."""

    center_x: float
    center_y: float
    radius_x: float
    radius_y: float
    angle_deg: float = 0.0

    def __post_init__(self) -> None:
        _finite(self, self.center_x, self.center_y, self.radius_x, self.radius_y, self.angle_deg)
        if self.radius_x < 0 or self.radius_y < 0:
            raise ValueError(f"an ellipse needs radii >= 0, got {self}")


@dataclass(frozen=True, eq=False)
class Polygon:
    """A simple closed polygon: `points` (n >= 3, 2) float32 x, y; the last joins the first."""

    points: Floats

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2 or len(self.points) < 3:
            raise ValueError(f"a polygon is (n >= 3, 2), not {self.points.shape}")
        if not np.isfinite(self.points).all():
            raise ValueError("a polygon needs finite coordinates")


@dataclass(frozen=True, eq=False)
class Mask:
    """Which pixels belong: `pixels` (height, width) bool, as large as the image."""

    pixels: Bools

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.bool_ or self.pixels.ndim != 2 or 0 in self.pixels.shape:
            raise ValueError(
                f"a mask is (height, width) bool, not {self.pixels.shape} {self.pixels.dtype}"
            )

    @property
    def area_px(self) -> int:
        """How many pixels belong."""
        return int(np.count_nonzero(self.pixels))


@dataclass(frozen=True)
class Point:
    """A place without an extent; pixels."""

    x: float
    y: float

    def __post_init__(self) -> None:
        _finite(self, self.x, self.y)


@dataclass(frozen=True, eq=False)
class Keypoints:
    """A skeleton: `points` (n, 2) float32 x, y, and `scores` (n,) float32 0..1, 0 = not seen."""

    points: Floats
    scores: Floats

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise ValueError(f"key points are (n, 2), not {self.points.shape}")
        if self.scores.shape != (len(self.points),):
            raise ValueError(f"{len(self.points)} key points need as many scores")
        if not (np.isfinite(self.points).all() and np.isfinite(self.scores).all()):
            raise ValueError("key points need finite coordinates and scores")


@dataclass(frozen=True)
class WholeImage:
    """All of the image: the shape of a class that is about no part of it."""


Shape = Box | RotatedBox | Ellipse | Polygon | Mask | Point | Keypoints | WholeImage


@dataclass(frozen=True)
class Region:
    """One labelled shape; `score` is the model's estimate that it is right, 0..1."""

    label: str
    shape: Shape
    score: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score is 0..1, got {self.score}")


@dataclass(frozen=True)
class Click:
    """A point that belongs to the object, or (`positive=False`) does not; pixels."""

    x: float
    y: float
    positive: bool = True

    def __post_init__(self) -> None:
        _finite(self, self.x, self.y)


@dataclass(frozen=True, eq=False)
class Prompt:
    """What the annotator pointed at: clicks, at most one box, and the previous answer's hint.

    `hint` is `Segmentation.hint` of the same engine and image, handed back unread.
    """

    clicks: tuple[Click, ...] = ()
    box: Box | RotatedBox | None = None
    hint: Floats | None = None

    def __post_init__(self) -> None:
        if not self.clicks and self.box is None:
            raise ValueError("a prompt needs a click or a box")


@dataclass(frozen=True, eq=False)
class Segmentation:
    """An engine's answer: the mask (possibly empty), its estimated IoU 0..1, and a hint.

    `hint` is what the engine wants back with the next prompt for the same object (for SAM the
    low-resolution logits), or None.
    """

    mask: Mask
    score: float
    hint: Floats | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score is 0..1, got {self.score}")


@dataclass(frozen=True, eq=False)
class Embedding:
    """What an engine keeps of one image: named arrays, and the image's size in pixels."""

    arrays: Mapping[str, NDArray[Any]]
    width_px: int
    height_px: int
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nbytes", sum(array.nbytes for array in self.arrays.values()))
