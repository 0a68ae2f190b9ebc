"""What an image looks like as a whole, in a few numbers: its colours and its texture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Image

Description = NDArray[np.float32]

# Of an image of any size this much is looked at.
_SIDE_PX = 96
# Lab of 8 bits is neutral at 128, and most colours are near it: bins are narrow there.
_LIGHTNESS = np.linspace(0, 255, 10)
_TINT = 128 + np.array([-60, -34, -20, -11, -5, 0, 5, 11, 20, 34, 60])
_DIRECTIONS = 8
_SCALES = 3
# So that colour, texture's directions and its strength each move about as far between two scenes.
_COLOUR, _DIRECTION, _STRENGTH = 1.0, 0.5, 0.25


def describe(image: Image) -> Description:
    """(d,) float32: histograms of its colours, and the direction and strength of its edges.

    Descriptions of alike images are near each other (`apart`), wherever in the image things are and
    however large it is.

    >>> import numpy as np
    >>> black, white = (Image(np.full((48, 64, 3), level, np.uint8)) for level in (0, 255))
    >>> describe(black).shape, bool(np.linalg.norm(describe(black) - describe(white)) > 1)
    ((59,), True)
    """
    lab = cv2.cvtColor(_small(image), cv2.COLOR_RGB2LAB).astype(np.float32)
    colours = [_histogram(lab[..., n], bins) for n, bins in enumerate((_LIGHTNESS, _TINT, _TINT))]
    textures = []
    lightness = np.ascontiguousarray(lab[..., 0])
    for _ in range(_SCALES):
        textures.append(_texture(lightness))
        lightness = np.asarray(cv2.pyrDown(lightness), dtype=np.float32)
    return np.concatenate([_COLOUR * np.concatenate(colours), *textures]).astype(np.float32)


def apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, d), (m, d) descriptions -> (n, m) float32 how unlike they are; 0 = alike.

    >>> import numpy as np
    >>> apart(np.zeros((1, 4), np.float32), np.ones((2, 4), np.float32)).tolist()
    [[2.0, 2.0]]
    """
    return np.asarray(np.sqrt(((one[:, None, :] - other[None, :, :]) ** 2).sum(axis=2)))


def _small(image: Image) -> NDArray[np.uint8]:
    height, width = image.pixels.shape[:2]
    factor = min(_SIDE_PX / max(height, width), 1.0)
    size = max(round(width * factor), 8), max(round(height * factor), 8)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image.pixels, size, interpolation=how), dtype=np.uint8)


def _histogram(values: NDArray[np.float32], bins: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) root of the shares; a value between two bins counts in both, so nothing jumps."""
    at = np.interp(values.ravel(), bins, np.arange(len(bins)))
    low = at.astype(np.intp)
    part = at - low
    counts = np.bincount(low, 1 - part, len(bins) + 1) + np.bincount(low + 1, part, len(bins) + 1)
    return np.sqrt(counts[:-1] / len(at))


def _texture(lightness: NDArray[np.float32]) -> NDArray[np.float64]:
    """(directions + 1,): how the edges' strength is shared among directions, and how much it is."""
    across = cv2.Sobel(lightness, cv2.CV_32F, 1, 0, scale=0.25)
    down = cv2.Sobel(lightness, cv2.CV_32F, 0, 1, scale=0.25)
    strength, angle = cv2.cartToPolar(across, down)
    turned = (angle.ravel() % np.pi) * (_DIRECTIONS / np.pi)
    low = turned.astype(np.intp)
    part = turned - low
    weight = strength.ravel().astype(np.float64)
    sums = np.bincount(low % _DIRECTIONS, weight * (1 - part), _DIRECTIONS)
    sums += np.bincount((low + 1) % _DIRECTIONS, weight * part, _DIRECTIONS)
    # A flat image has no directions: a little of each, so that noise does not decide.
    shares = np.sqrt((sums + 0.5 / _DIRECTIONS * len(weight)) / (sums.sum() + 0.5 * len(weight)))
    return np.append(_DIRECTION * shares, _STRENGTH * np.log2(1.0 + weight.mean()))
