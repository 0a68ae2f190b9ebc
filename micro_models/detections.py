"""What a detector sees in an image, before anyone asks for boxes, masks or points of it."""

from __future__ import annotations

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

    def mask(self, within: Box) -> Mask:
        """The full-size mask, nothing outside `within`."""
        raise NotImplementedError


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
