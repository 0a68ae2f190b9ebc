"""What a detector sees in an image, before anyone asks for boxes, masks or points of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Box, Image, Keypoints, Mask, RotatedBox


class DetectorTask(StrEnum):
    """What a detector was trained to tell of an object."""

    DETECT = "detect"
    SEGMENT = "segment"
    POSE = "pose"
    OBB = "obb"
    CLASSIFY = "classify"


@dataclass(frozen=True, eq=False)
class Outline:
    """A mask as small as the model gave it: `values` (h, w) float32 0..1 over the whole image.

    A hundred full-size masks of a large photo would fill the memory.
    """

    values: NDArray[np.float32]
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        shape, dtype = self.values.shape, self.values.dtype
        if dtype != np.float32 or len(shape) != 2 or 0 in shape:
            raise ValueError(f"an outline is (h, w) float32, not {shape} {dtype}")

    def mask(self, within: Box) -> Mask:
        """The full-size mask, nothing outside `within`; costs as much as `within` is large."""
        pixels = np.zeros((self.height_px, self.width_px), np.bool_)
        # A pixel is inside if its middle is.
        x0, x1 = (_first(x, self.width_px) for x in (within.x0, within.x1))
        y0, y1 = (_first(y, self.height_px) for y in (within.y0, within.y1))
        height, width = self.values.shape
        rows = (np.arange(y0, y1) + 0.5) * height / self.height_px
        columns = (np.arange(x0, x1) + 0.5) * width / self.width_px
        # Between two values the edge lies where their log-odds cross 0, not where they cross 0.5.
        odds = self.values.clip(1e-6, 1 - 1e-6)
        pixels[y0:y1, x0:x1] = sampled(np.log(odds / (1 - odds)), rows, columns) > 0
        return Mask(pixels)


def sampled(
    values: NDArray[np.float32], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(..., h, w) between its cells' middles: (a,) and (b,) -> (..., a, b), linear.

    Cell (column, row) covers [column, column + 1) as a pixel does; the edge goes on outside.
    """
    for axis, places in ((-1, columns), (-2, rows)):
        last = values.shape[axis] - 1
        at = (places - 0.5).clip(0, last)
        low = at.astype(np.intp)
        part = (at - low).astype(np.float32)
        part = part if axis == -1 else part[:, None]
        near = values.take(low, axis)
        values = near + (values.take((low + 1).clip(max=last), axis) - near) * part
    return values


def _first(edge: float, size: int) -> int:
    return min(max(math.ceil(edge - 0.5), 0), size)


@dataclass(frozen=True, eq=False)
class Detection:
    """One object of class `label`. `box` is None where the class is about the whole image.

    `rotated`, `outline` and `keypoints` are there if the detector's task gives them.
    """

    label: str
    score: float
    box: Box | None = None
    rotated: RotatedBox | None = None
    outline: Outline | None = None
    keypoints: Keypoints | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score is 0..1, got {self.score}")


@dataclass(frozen=True)
class DetectOptions:
    """How to run a detector. Two runs with equal options give equal answers.

    `image_size_px`: the longer side that images are resized to, None for the model's own;
    `max_overlap`: of two boxes of a class with a larger IoU the weaker goes (across classes too if
    `across_classes`); `classes`: only these labels; `augment`: average over flips and scales.
    """

    min_score: float = 0.25
    image_size_px: int | None = None
    max_overlap: float = 0.7
    max_objects: int = 300
    across_classes: bool = False
    augment: bool = False
    classes: frozenset[str] | None = None


class Detector(Protocol):
    """Finds objects. Keeps nothing between calls; safe to call from many threads."""

    @property
    def name(self) -> str:
        """The file and its engine, for people."""

    @property
    def version(self) -> str:
        """Changes whenever an answer to the same options could: a hash over the weights."""

    @property
    def device(self) -> str:
        """Where it computes, for people."""

    @property
    def task(self) -> DetectorTask:
        """What it tells of an object."""

    @property
    def labels(self) -> Sequence[str]:
        """Its classes by index."""

    @property
    def nbytes(self) -> int:
        """About how much memory it holds."""

    def detect(self, images: Sequence[Image], *, options: DetectOptions) -> list[list[Detection]]:
        """Per image its objects, best first; a classifier gives every class of the image.

        Any number of images: it splits them into batches that fit the device's memory.
        """


class Tracker(Protocol):
    """Links detections over the frames of one clip; keeps the state of that clip."""

    def update(self, detections: Sequence[Detection], frame: Image) -> list[tuple[int, Detection]]:
        """The next frame's detections with the number of the object that each belongs to.

        Some may be left out: a tracker waits until it is sure.
        """
