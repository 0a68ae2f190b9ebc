"""Crops of the labelled images, each time turned, lit and placed differently."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.evaluation.overlap import bounds
from micro_models.regions import Box, Floats, Image, Region, WholeImage
from micro_models.trainers.tiny.layout import STRIDE
from micro_models.trainers.tiny.recipe import Recipe
from micro_models.trainers.tiny.scale import resized
from micro_models.trainers.tiny.spec import Spec
from micro_models.trainers.tiny.targets import Targets, encode

Labelled = tuple[Image, Sequence[Region]]


@dataclass(frozen=True, eq=False)
class Batch:
    """`images` (n, h, w, 3) uint8, and by head's name the stacked `targets` of all of them."""

    images: NDArray[np.uint8]
    targets: Mapping[str, Floats]


class Sampler:
    """Draws batches from `labelled` images for a network that sees them at `scale`."""

    def __init__(
        self, labelled: Sequence[Labelled], spec: Spec, *, scale: float, recipe: Recipe
    ) -> None:
        self._spec, self._recipe = spec, recipe
        # Shrunk once; enlarging is left to the crops, since it would cost memory.
        self._shrunk = min(scale, 1.0)
        self._zoom = scale / self._shrunk
        self._images = [resized(image.pixels, scale=self._shrunk) for image, _ in labelled]
        self._regions = [regions for _, regions in labelled]
        self._boxes = [_boxes(regions) * self._shrunk for regions in self._regions]
        colors = np.concatenate([image.reshape(-1, 3) for image in self._images])
        self.mean: Floats = colors.mean(axis=0).astype(np.float32)
        self.std: Floats = np.maximum(colors.std(axis=0), 10).astype(np.float32)

    @property
    def half_side(self) -> float:
        """Half of a typical object's side, in cells."""
        boxes = np.concatenate(self._boxes)
        if not len(boxes):
            return 3.0
        sides = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1))
        return float(np.median(sides)) * self._zoom / 2 / STRIDE

    def batch(self, rng: np.random.Generator) -> Batch:
        """A new batch of crops."""
        drawn = [self._crop(rng) for _ in range(self._recipe.batch)]
        names = [field.name for field in fields(Targets)]
        targets = {name: np.stack([getattr(one, name) for _, one in drawn]) for name in names}
        return Batch(np.stack([pixels for pixels, _ in drawn]), targets)

    def _crop(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Targets]:
        side = self._recipe.crop_px
        index = int(rng.integers(len(self._images)))
        image, boxes = self._images[index], self._boxes[index]
        turn = _random_turn(rng) * self._zoom
        if len(boxes) and rng.random() < self._recipe.object_share:
            box = boxes[rng.integers(len(boxes))]
            center = (box[:2] + box[2:]) / 2
            place = side / 2 + rng.uniform(-0.45, 0.45, 2) * side
        else:
            center = _anywhere(rng, image.shape[:2], side / self._zoom)
            place = np.array([side / 2, side / 2])
        matrix = np.concatenate([turn, (place - turn @ center)[:, None]], axis=1)
        pixels = cv2.warpAffine(
            image,
            matrix,
            (side, side),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=self.mean.tolist(),
        )
        pixels = _photometric(np.asarray(pixels, np.uint8), rng)
        matrix = matrix @ np.diag([self._shrunk, self._shrunk, 1])
        regions, ignored = _moved(self._regions[index], matrix, side)
        return pixels, encode(
            regions, self._spec, width_px=side, height_px=side, stride=STRIDE, ignored=ignored
        )


def _boxes(regions: Sequence[Region]) -> Floats:
    boxes = [bounds(one.shape) for one in regions if not isinstance(one.shape, WholeImage)]
    edges = [(box.x0, box.y0, box.x1, box.y1) for box in boxes]
    return np.array(edges, np.float32).reshape(-1, 4)


def _random_turn(rng: np.random.Generator) -> NDArray[np.float64]:
    size, aspect = math.exp(rng.uniform(-0.35, 0.35)), math.exp(rng.uniform(-0.1, 0.1))
    return np.diag([size * aspect * (-1 if rng.random() < 0.5 else 1), size / aspect])


def _anywhere(rng: np.random.Generator, size: tuple[int, ...], side: float) -> NDArray[np.float64]:
    """The middle x, y of a crop that shows little beyond the edge."""
    height, width = size
    margin = 0.35 * side
    x = rng.uniform(min(margin, width / 2), max(width - margin, width / 2))
    y = rng.uniform(min(margin, height / 2), max(height - margin, height / 2))
    return np.array([x, y])


def _photometric(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(0.7, 1.3) * (1 + rng.uniform(-0.1, 0.1, 3))
    table = np.arange(256)[:, None] * gain + rng.uniform(-25, 25)
    pixels = np.asarray(cv2.LUT(pixels, table.clip(0, 255).astype(np.uint8)[None]), np.uint8)
    if rng.random() < 0.25:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (3, 3), 0), np.uint8)
    if rng.random() < 0.3:
        noise = rng.standard_normal(pixels.shape, dtype=np.float32) * 8
        pixels = (pixels + noise).clip(0, 255).astype(np.uint8)
    return pixels


def _moved(
    regions: Sequence[Region], matrix: NDArray[np.float64], side: int
) -> tuple[list[Region], list[Box]]:
    kept: list[Region] = []
    ignored: list[Box] = []
    for region in regions:
        if isinstance(region.shape, WholeImage):
            continue
        box = bounds(region.shape)
        corners = np.array([[box.x0, box.y0, 1], [box.x1, box.y1, 1]]) @ matrix.T
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        a0, b0, a1, b1 = max(x0, 0), max(y0, 0), min(x1, side), min(y1, side)
        if a0 >= a1 or b0 >= b1:
            continue
        inside = Box(a0, b0, a1, b1)
        if 0 <= (x0 + x1) / 2 < side and 0 <= (y0 + y1) / 2 < side:
            kept.append(Region(region.label, Box(x0, y0, x1, y1)))
        else:
            ignored.append(inside)
    return kept, ignored
