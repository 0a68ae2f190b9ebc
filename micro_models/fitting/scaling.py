"""Images and what is labelled in them, larger or smaller."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.examples import Picture
from micro_models.pictures import read_upright, upright_size
from micro_models.regions import (
    Box,
    Ellipse,
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


def size_of(picture: Picture) -> tuple[int, int]:
    """(width, height) in pixels, of a file from its header alone.

    >>> import numpy as np
    >>> size_of(Image(np.zeros((40, 60, 3), np.uint8)))
    (60, 40)
    """
    if isinstance(picture, Image):
        return picture.width_px, picture.height_px
    return upright_size(Path(picture))


def read_at(picture: Picture, factor: float) -> Image:
    """A picture `factor` times as wide and high, 0..1; a large file is not read whole for that.

    >>> import numpy as np
    >>> read_at(Image(np.zeros((40, 60, 3), np.uint8)), 0.5).width_px
    30
    """
    if isinstance(picture, Image):
        return scaled_image(picture, factor)
    return read_upright(Path(picture), factor=factor)


def scaled_image(image: Image, factor: float) -> Image:
    """The image `factor` times as wide and high, at least a pixel; itself for a factor of 1.

    >>> import numpy as np
    >>> small = scaled_image(Image(np.zeros((40, 60, 3), np.uint8)), 0.5)
    >>> small.width_px, small.height_px
    (30, 20)
    """
    if factor == 1.0:
        return image
    width = max(round(image.width_px * factor), 1)
    height = max(round(image.height_px * factor), 1)
    return Image(_resized(image.pixels, width, height))


def scaled_region(region: Region, factor: float, *, size: tuple[int, int]) -> Region:
    """The region of an image in the image `factor` times as large, whose `size` is (width, height).

    `size` is for masks, which are as large as their image; all else is multiplied.

    >>> scaled_region(Region("car", Box(10, 20, 30, 40)), 0.5, size=(320, 240)).shape
    Box(x0=5.0, y0=10.0, x1=15.0, y1=20.0)
    """
    if factor == 1.0:
        return region
    return replace(region, shape=_scaled(region.shape, factor, size))


def _scaled(shape: Shape, f: float, size: tuple[int, int]) -> Shape:
    match shape:
        case Box():
            return Box(shape.x0 * f, shape.y0 * f, shape.x1 * f, shape.y1 * f)
        case RotatedBox():
            x, y = shape.center_x * f, shape.center_y * f
            return RotatedBox(x, y, shape.width_px * f, shape.height_px * f, shape.angle_deg)
        case Ellipse():
            x, y = shape.center_x * f, shape.center_y * f
            return Ellipse(x, y, shape.radius_x * f, shape.radius_y * f, shape.angle_deg)
        case Polygon():
            return Polygon((shape.points * f).astype(np.float32))
        case Mask():
            return Mask(_resized(shape.pixels.astype(np.uint8) * 255, *size) > 127)
        case Point():
            return Point(shape.x * f, shape.y * f)
        case Keypoints():
            return Keypoints((shape.points * f).astype(np.float32), shape.scores)
        case WholeImage():
            return shape


def _resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    grows = width > pixels.shape[1] or height > pixels.shape[0]
    how = cv2.INTER_LINEAR if grows else cv2.INTER_AREA
    resized = cv2.resize(pixels, (width, height), interpolation=how)
    return np.asarray(resized, dtype=np.uint8)


def factor_for(pixels: float, *, limit: float) -> float:
    """How much smaller, 0..1, the sides of images of `pixels` in all must be for the limit.

    >>> factor_for(4_000_000, limit=1_000_000), factor_for(10, limit=20)
    (0.5, 1.0)
    """
    return min(math.sqrt(limit / pixels), 1.0) if pixels > 0 else 1.0
