"""How an image lies in the input of a network: scaled, then padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.detections import sampled
from micro_models.regions import Floats, Image

_GREY = 114


@dataclass(frozen=True)
class Letterbox:
    """An image of `image_px` scaled to `inner_px`, which lies at `corner_px` in `outer_px`.

    All are (width, height) or (x, y). Equal images and limits give equal letterboxes, whatever
    else is in the batch.
    """

    image_px: tuple[int, int]
    inner_px: tuple[int, int]
    corner_px: tuple[int, int]
    outer_px: tuple[int, int]

    @classmethod
    def fit(cls, image: Image, limit_px: tuple[int, int], *, stride_px: int | None) -> Letterbox:
        """As large as `limit_px` allows; padded to whole strides, without one to the limit."""
        size = image.width_px, image.height_px
        gain = min(limit_px[0] / size[0], limit_px[1] / size[1])
        inner = max(1, round(size[0] * gain)), max(1, round(size[1] * gain))
        outer = limit_px
        if stride_px is not None:
            outer = _whole(inner[0], stride_px), _whole(inner[1], stride_px)
        corner = (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2
        return cls(size, inner, corner, outer)

    def fill(self, image: Image) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 BGR of `outer_px`."""
        scaled: NDArray[Any] = image.pixels
        if self.inner_px != self.image_px:
            scaled = cv2.resize(scaled, self.inner_px, interpolation=cv2.INTER_LINEAR)
        filled = np.full((self.outer_px[1], self.outer_px[0], 3), _GREY, np.uint8)
        x, y = self.corner_px
        filled[y : y + self.inner_px[1], x : x + self.inner_px[0]] = scaled[..., ::-1]
        return filled

    @property
    def scale(self) -> Floats:
        """(2,) pixels of the image per pixel of the input, x and y."""
        return (np.array(self.image_px) / self.inner_px).astype(np.float32)

    def to_image(self, points: Floats) -> Floats:
        """(..., 2) x, y in the input -> in the image, moved to its edge if outside."""
        moved = (points - np.array(self.corner_px, np.float32)) * self.scale
        return moved.clip(0, np.array(self.image_px)).astype(np.float32)

    def cropped(self, maps: Floats) -> Floats:
        """(n, h, w) maps over the input -> over the image alone, about as fine as they were."""
        axes = []
        for axis, cells in ((1, maps.shape[1]), (0, maps.shape[2])):
            cell_px = self.outer_px[axis] / cells
            count = max(1, round(self.inner_px[axis] / cell_px))
            centers = (np.arange(count) + 0.5) / count * self.inner_px[axis]
            axes.append((centers + self.corner_px[axis]) / cell_px)
        return sampled(maps, *axes)


def _whole(size_px: int, stride_px: int) -> int:
    return -(-size_px // stride_px) * stride_px
