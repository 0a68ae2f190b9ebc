"""A photo in a few megabytes: a small copy of all of it, and JPEG tiles for a close look.

An object of 100 pixels in a 12-megapixel photo needs the photo's own pixels; an object as large
as the photo does not. Tiles of the fine copy are decoded only where a window needs them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
OVERVIEW_PX = 500_000
DETAIL_PX = 12_000_000
DETAIL_BYTES = 4_000_000
TILE_PX = 512
JPEG_QUALITY = 90
LONGEST_PX = 1024
SHORTEST_PX = 16


@dataclass(frozen=True)
class Window:
    """A part of an image; edges in image pixels, x0 < x1 and y0 < y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area_px(self) -> float:
        """Its area in square pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


@dataclass(frozen=True, eq=False)
class View:
    """A window's pixels (h, w, 3) RGB uint8, resized; `window` is exactly what they cover."""

    pixels: Bytes
    window: Window

    @property
    def step_x(self) -> float:
        """Image pixels per column."""
        return (self.window.x1 - self.window.x0) / float(self.pixels.shape[1])

    @property
    def step_y(self) -> float:
        """Image pixels per row."""
        return (self.window.y1 - self.window.y0) / float(self.pixels.shape[0])


def store(pixels: Bytes) -> dict[str, NDArray[Any]]:
    """(height, width, 3) RGB uint8 -> named arrays, about 6 MB at most, for `read`."""
    overview = _shrunk(pixels, OVERVIEW_PX)
    arrays: dict[str, NDArray[Any]] = {"overview": overview}
    budget_px = DETAIL_PX
    while overview.shape != pixels.shape and budget_px > 2 * OVERVIEW_PX:
        detail = _shrunk(pixels, budget_px)
        tiles = [_encoded(tile) for tile in _tiles(detail)]
        if sum(len(tile) for tile in tiles) <= DETAIL_BYTES:
            arrays["tiles"] = np.concatenate(tiles)
            arrays["tile_ends"] = np.cumsum([len(tile) for tile in tiles], dtype=np.int64)
            arrays["detail_size"] = np.array(detail.shape[:2], np.int64)
            break
        budget_px //= 2
    return arrays


def read(
    arrays: Mapping[str, NDArray[Any]], size_px: tuple[int, int], window: Window, *, budget_px: int
) -> View:
    """The window at no more than about `budget_px` pixels and no finer than the image itself.

    `size_px` is the image's width and height. The view may cover a little more than the window.
    """
    wanted = min(1.0, math.sqrt(budget_px / window.area_px))
    overview = arrays["overview"]
    coarse = math.sqrt(overview.shape[0] * overview.shape[1] / (size_px[0] * size_px[1]))
    fine = "tiles" in arrays and wanted > 1.2 * coarse
    height, width = arrays["detail_size"] if fine else overview.shape[:2]
    scale_x, scale_y = float(width) / size_px[0], float(height) / size_px[1]
    x0 = min(max(math.floor(window.x0 * scale_x), 0), int(width) - 1)
    y0 = min(max(math.floor(window.y0 * scale_y), 0), int(height) - 1)
    x1 = min(max(math.ceil(window.x1 * scale_x), x0 + 1), int(width))
    y1 = min(max(math.ceil(window.y1 * scale_y), y0 + 1), int(height))
    crop = _detail(arrays, x0, y0, x1, y1) if fine else overview[y0:y1, x0:x1]
    columns = _side((x1 - x0) / scale_x * wanted)
    rows = _side((y1 - y0) / scale_y * wanted)
    shrinks = columns * rows < crop.shape[0] * crop.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(crop, (columns, rows), interpolation=way), np.uint8)
    return View(resized, Window(x0 / scale_x, y0 / scale_y, x1 / scale_x, y1 / scale_y))


def _side(length: float) -> int:
    return min(max(round(length), SHORTEST_PX), LONGEST_PX)


def _shrunk(pixels: Bytes, budget_px: int) -> Bytes:
    height, width = pixels.shape[:2]
    scale = math.sqrt(budget_px / (height * width))
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _tiles(pixels: Bytes) -> list[Bytes]:
    height, width = pixels.shape[:2]
    return [
        pixels[y : y + TILE_PX, x : x + TILE_PX]
        for y in range(0, height, TILE_PX)
        for x in range(0, width, TILE_PX)
    ]


def _encoded(tile: Bytes) -> Bytes:
    # Channel order does not matter to JPEG as long as decoding keeps it; only its idea of which
    # channel carries brightness does, hence the swap.
    done, data = cv2.imencode(".jpg", tile[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a tile of {tile.shape} could not be encoded as JPEG")
    return np.asarray(data, np.uint8).ravel()


def _detail(arrays: Mapping[str, NDArray[Any]], x0: int, y0: int, x1: int, y1: int) -> Bytes:
    """The fine copy's pixels [y0:y1, x0:x1], from the tiles that they lie in."""
    ends = arrays["tile_ends"]
    columns = -(-int(arrays["detail_size"][1]) // TILE_PX)
    crop = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    for row in range(y0 // TILE_PX, (y1 - 1) // TILE_PX + 1):
        for column in range(x0 // TILE_PX, (x1 - 1) // TILE_PX + 1):
            n = row * columns + column
            data = arrays["tiles"][int(ends[n - 1]) if n else 0 : int(ends[n])]
            tile = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[:, :, ::-1]
            left, top = column * TILE_PX, row * TILE_PX
            a, b = max(x0, left), min(x1, left + tile.shape[1])
            c, d = max(y0, top), min(y1, top + tile.shape[0])
            crop[c - y0 : d - y0, a - x0 : b - x0] = tile[c - top : d - top, a - left : b - left]
    return crop
