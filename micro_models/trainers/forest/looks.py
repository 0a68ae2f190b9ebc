"""What a whole image looks like, as one row of numbers: colours, edges and textures by place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Floats

# The image is looked at as a square of this side, which is divided into 1, 2 x 2 and 4 x 4 places.
_SIDE = 128
_PLACES = (1, 2, 4)

_DIRECTIONS = 8
_LEVELS = 8


def describe(pixels: NDArray[np.uint8]) -> Floats:
    """(d,) float32, 0..1: square roots of histograms of colour, edge direction and local pattern.

    Spatial pyramid: S. Lazebnik, C. Schmid, J. Ponce, CVPR 2006. Local binary patterns: T. Ojala,
    M. Pietikäinen, T. Mäenpää, PAMI 24 (2002) 971-987.

    >>> describe(np.zeros((4, 6, 3), np.uint8)).shape
    (1050,)
    """
    shrinks = min(pixels.shape[:2]) >= _SIDE
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=way)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    light = lab[..., 0].astype(np.float32) / 255
    one = np.ones(light.shape, np.float32)
    edge, direction = _edges(light)
    rows = [
        _pyramid(direction, edge, _DIRECTIONS, (1, 2, 4)),
        _pyramid(
            _edges(cv2.GaussianBlur(light, (0, 0), 3))[1],
            _edges(cv2.GaussianBlur(light, (0, 0), 3))[0],
            _DIRECTIONS,
            (1, 2, 4),
        ),
        _pyramid(lab[..., 0] // (256 // _LEVELS), one, _LEVELS, (1, 2, 4)),
        _pyramid(_hue(lab), one, 16, (1, 2, 4)),
        _pyramid(_pattern(light), one, 10, (1, 2, 4)),
    ]
    return np.concatenate(rows).astype(np.float32)


def _edges(light: Floats) -> tuple[Floats, NDArray[np.intp]]:
    x, y = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    turn = np.arctan2(y, x) / np.pi % 1
    return cv2.magnitude(x, y) + 1e-4, np.minimum(
        (turn * _DIRECTIONS).astype(np.intp), _DIRECTIONS - 1
    )


def _hue(lab: NDArray[np.uint8]) -> NDArray[np.intp]:
    """4 x 4 bins of the two colours, finer near grey."""
    ab = (lab[..., 1:].astype(np.float32) - 128) / 128
    spread = np.sign(ab) * np.sqrt(np.abs(ab))
    bins = np.clip(((spread + 0.8) / 1.6 * 4).astype(np.intp), 0, 3)
    return bins[..., 0] * 4 + bins[..., 1]


def _pattern(light: Floats) -> NDArray[np.intp]:
    """Rotation-invariant uniform local binary patterns, 0..9."""
    padded = cv2.copyMakeBorder(light, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    h, w = light.shape
    spots = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    bits = np.stack([padded[y : y + h, x : x + w] > light + 0.01 for y, x in spots])
    changes = (bits != np.roll(bits, 1, axis=0)).sum(axis=0)
    return np.where(changes <= 2, bits.sum(axis=0), 9)


def _pyramid(bins, weight, count, places) -> Floats:
    """The histograms of all places, each of sum 1, its square roots, one after another."""
    parts = []
    h, w = weight.shape
    for n in places:
        place = (np.arange(h) * n // h)[:, None] * n + (np.arange(w) * n // w)[None]
        table = np.bincount((place * count + bins).ravel(), weight.ravel(), n * n * count).reshape(
            n * n, count
        )
        table = np.sqrt(table / table.sum(axis=1, keepdims=True)) / n
        parts.append(table.ravel())
    return np.concatenate(parts)
