"""At which size images are looked at: objects should be about as large as the network sees best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.evaluation.overlap import bounds
from micro_models.examples import Example, image_of
from micro_models.regions import Keypoints, Point, Region, WholeImage

# The shorter side of a typical object, and of a typical one of the label with the smallest, in
# pixels at the working scale.
_USUAL_PX, _SMALLEST_PX = 24.0, 22.0
# Never shrunk to less than this: around an object there should be something to tell it from.
_LEAST_IMAGE_PX = 128.0
_MOST_ENLARGED = 2.0
# From so many multiples on, an image's side is stretched to the next, by 10 % at most.
_LITTLE_STRETCHED = 5
# The sides of a whole image as it is seen for its classes.
VIEW_PX = 128
# Key points are found to a few hundredths of the object.
_SKELETON_PX = 64.0


def working_scale(examples: Sequence[Example]) -> float:
    """How many pixels the network should see for one of the images', at most 2.

    >>> from micro_models.regions import Box, Image
    >>> image = Image(np.zeros((480, 640, 3), np.uint8))
    >>> working_scale([Example(image, [Region("car", Box(0, 0, 96, 48))])])
    0.5
    """
    images = [image_of(example.picture) for example in examples]
    sizes: dict[str, list[float]] = {}
    for region in (region for example in examples for region in example.regions):
        size = _size(region)
        if size is not None:
            sizes.setdefault(region.label, []).append(size)
    if not sizes:
        return 1.0
    longest = float(np.median([max(image.width_px, image.height_px) for image in images]))
    usual = float(np.median([size for some in sizes.values() for size in some]))
    smallest = min(float(np.median(some)) for some in sizes.values())
    wanted = max(_USUAL_PX / usual, _SMALLEST_PX / smallest)
    return min(max(wanted, min(_LEAST_IMAGE_PX / longest, 1.0)), _MOST_ENLARGED)


def _size(region: Region) -> float | None:
    """The shorter side in pixels, as of a box; None without a side that is known."""
    if isinstance(region.shape, WholeImage | Point):
        return None
    box = bounds(region.shape)
    if isinstance(region.shape, Keypoints):
        longer = max(box.x1 - box.x0, box.y1 - box.y0)
        return max(longer * _USUAL_PX / _SKELETON_PX, 1.0)
    return max(min(box.x1 - box.x0, box.y1 - box.y0), 1.0)


def resized(pixels: NDArray[np.uint8], *, scale: float) -> NDArray[np.uint8]:
    """(h, w, 3) -> about (h * scale, w * scale, 3), at least one pixel each way.

    >>> resized(np.zeros((10, 20, 3), np.uint8), scale=0.5).shape
    (5, 10, 3)
    """
    height, width = (max(round(size * scale), 1) for size in pixels.shape[:2])
    return _resized(pixels, height, width)


def fitted(
    pixels: NDArray[np.uint8], *, scale: float, multiple: int
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """The image at about `scale` with sides that are multiples, and its exact scale along x and y.

    It is stretched rather than padded: an object at the edge should look cut off as it did in
    training. Only small images, which would change too much, are continued by their last pixels.

    >>> seen, scale = fitted(np.zeros((100, 200, 3), np.uint8), scale=1.0, multiple=16)
    >>> seen.shape, scale
    ((96, 192, 3), (0.96, 0.96))
    """
    small = _LITTLE_STRETCHED * multiple
    wanted = [max(round(size * scale), 1) for size in pixels.shape[:2]]
    height, width = (
        round(size / multiple) * multiple if size >= small else size for size in wanted
    )
    seen = _resized(pixels, height, width)
    exact = width / pixels.shape[1], height / pixels.shape[0]
    below, right = -height % multiple, -width % multiple
    if below or right:
        edge = cv2.BORDER_REPLICATE
        seen = np.asarray(cv2.copyMakeBorder(seen, 0, below, 0, right, edge), np.uint8)
    return seen, exact


def _resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if (height, width) == pixels.shape[:2]:
        return pixels
    how = cv2.INTER_AREA if height < pixels.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def view(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 3) -> (128, 128, 3): all of the image, as it is seen for its classes."""
    return _resized(pixels, VIEW_PX, VIEW_PX)


def spans(length: int, *, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Starts and ends of equal tiles that cover 0..length, each sharing `overlap` with the next.

    All are multiples of 16 if the arguments are.

    >>> spans(320, tile=128, overlap=32)
    [(0, 128), (96, 224), (192, 320)]
    """
    if length <= tile:
        return [(0, length)]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [min(index * (tile - overlap), length - tile) for index in range(count)]
    return [(start, start + tile) for start in starts]
