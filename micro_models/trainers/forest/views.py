"""Views of an image: a little larger, darker, mirrored, so that few labels say more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.trainers.forest.objects import Objects


@dataclass(frozen=True)
class View:
    """How an image is looked at: cells of `cell_x` x `cell_y` pixels, after changes, in this order.

    The first `left`, `top` pixels are cut off; it is mirrored; `gain` and `bias` change the
    brightness.

    >>> View(4, 4, left=4).grid(16, 8)
    (2, 3)
    """

    cell_x: float
    cell_y: float
    left: int = 0
    top: int = 0
    mirrored: bool = False
    gain: float = 1.0
    bias: float = 0.0

    def grid(self, width_px: float, height_px: float) -> tuple[int, int]:
        """Rows and columns of cells, at least one each."""
        rows = max(round((height_px - self.top) / self.cell_y), 1)
        return rows, max(round((width_px - self.left) / self.cell_x), 1)

    def image(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(2 rows, 2 columns, 3): the pixels (h, w, 3) so seen, four to a cell."""
        height, width = pixels.shape[:2]
        rows, columns = self.grid(width, height)
        seen = self._moved(pixels, 2 * rows, 2 * columns)
        if (self.gain, self.bias) != (1.0, 0.0):
            table = np.clip(np.arange(256) * self.gain + self.bias, 0, 255).astype(np.uint8)
            seen = np.asarray(cv2.LUT(seen, table), np.uint8)
        return seen

    def objects(self, objects: Objects) -> Objects:
        """The objects so seen, in cells."""
        width, height = objects.width_px - self.left, objects.height_px - self.top
        rows, columns = self.grid(objects.width_px, objects.height_px)
        corners: NDArray[Any] = objects.boxes.reshape(-1, 2, 2)
        joined = np.concatenate([corners, objects.points[..., :2]], axis=1)
        places: NDArray[Any] = joined - np.array([self.left, self.top], np.float32)
        if self.mirrored:
            places[..., 0] = width - places[..., 0]
        places = places * np.array([columns / width, rows / height], np.float32)
        ends, spots = places[:, :2], places[:, 2:]
        boxes = np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1)
        points = np.concatenate([spots, objects.points[..., 2:]], axis=-1)
        areas = tuple(
            None if area is None else self._moved(area, rows, columns) for area in objects.inside
        )
        return Objects(
            objects.kind, boxes.astype(np.float32), points.astype(np.float32), areas, columns, rows
        )

    def _moved(self, pixels: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
        """Cut, scaled and mirrored."""
        cut = pixels[self.top :, self.left :]
        shrinks = cut.shape[0] >= rows and cut.shape[1] >= columns
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        seen = np.asarray(cv2.resize(cut, (columns, rows), interpolation=way), np.uint8)
        return np.ascontiguousarray(seen[:, ::-1]) if self.mirrored else seen


def random_view(cell: float, rng: np.random.Generator, *, mirror: bool) -> View:
    """A view a little larger or smaller, shifted by less than a cell, brighter or darker.

    >>> view = random_view(4.0, np.random.default_rng(0), mirror=False)
    >>> view.mirrored, 3 < view.cell_x < 6
    (False, True)
    """
    size = cell * np.exp(rng.uniform(-0.2, 0.2))
    aspect = np.exp(rng.uniform(-0.07, 0.07))
    return View(
        cell_x=float(size * aspect),
        cell_y=float(size / aspect),
        left=int(rng.integers(max(round(cell), 1))),
        top=int(rng.integers(max(round(cell), 1))),
        mirrored=bool(rng.integers(2)) and mirror,
        gain=float(rng.uniform(0.8, 1.2)),
        bias=float(rng.uniform(-15, 15)),
    )


def without_cut(view: View, width_px: int, height_px: int) -> View:
    """The view, with no more cut off than leaves a pixel.

    >>> without_cut(View(4, 4, left=3, top=3), 2, 9).left
    1
    """
    return replace(view, left=min(view.left, width_px - 1), top=min(view.top, height_px - 1))
