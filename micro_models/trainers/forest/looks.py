"""What a whole image looks like, as one row of numbers: colours, edges and textures by place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Floats

Ints = NDArray[np.intp]

# The image is looked at as a square of this side, which is divided into 1, 2 x 2 and 4 x 4 places.
_SIDE = 128
_PLACES = (1, 2, 4)

# So large a part of the pictures may look like another group by chance when they are mirrored.
_BY_CHANCE = 0.2

# A thumbnail's side.
_SMALL = 16

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
    lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.float32)
    light = np.asarray(lab[..., 0] / 255, np.float32)
    soft = np.asarray(cv2.GaussianBlur(light, (0, 0), 3), np.float32)
    one = np.ones(light.shape, np.float32)
    rows = [
        _pyramid(*_edges(light), _DIRECTIONS),
        _pyramid(*_edges(soft), _DIRECTIONS),
        _pyramid(np.minimum(light * _LEVELS, _LEVELS - 1).astype(np.intp), one, _LEVELS),
        _pyramid(_hue(lab), one, 16),
        _pyramid(_pattern(light), one, 10),
    ]
    return np.concatenate(rows)


def mirror_keeps(looks: Floats, mirrored: Floats, group: Ints) -> bool:
    """Whether things (n, d) of some groups (n,) still look like their group when mirrored (n, d).

    It compares how often the nearest other look is of the own group; a few may change by chance.

    >>> left, right = np.float32([[1, 0]]), np.float32([[0, 1]])
    >>> both, group = np.concatenate([left, right]), np.array([0, 1])
    >>> mirror_keeps(both, both[::-1], group), mirror_keeps(both, both, group)
    (False, True)
    """
    alone = np.bincount(group)[group] == 1
    own = group[:, None] == group[None]
    right = []
    for seen in (looks, mirrored):
        far = _distances(seen, looks)
        # How near it is to itself says nothing, unless there is nothing else to compare with.
        far[np.diag(~alone)] = np.inf
        nearest = np.where(own, far, np.inf).min(axis=1)
        right.append(nearest <= np.where(own, np.inf, far).min(axis=1))
    before, after = (int(np.count_nonzero(one)) for one in right)
    return before - after <= _BY_CHANCE * len(group)


def thumbnails(pixels: NDArray[np.uint8], boxes: Floats) -> Floats:
    """(n, _SMALL, _SMALL, 3) what is in boxes (n, 4), light and contrast made equal.

    >>> thumbnails(np.zeros((8, 8, 3), np.uint8), np.float32([[2, 2, 6, 9]])).shape
    (1, 16, 16, 3)
    """
    height, width = pixels.shape[:2]
    found = np.zeros((len(boxes), _SMALL, _SMALL, 3), np.float32)
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        left, top = (int(np.clip(at, 0, end - 1)) for at, end in ((x0, width), (y0, height)))
        right, bottom = max(int(min(x1, width)), left + 1), max(int(min(y1, height)), top + 1)
        crop = pixels[top:bottom, left:right]
        found[index] = cv2.resize(crop, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
        found[index] -= found[index].mean(axis=(0, 1))
        found[index] /= np.linalg.norm(found[index]) + 1
    return found


def _distances(one: Floats, other: Floats) -> NDArray[np.float64]:
    """(n, d), (m, d) -> (n, m) squared."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    lengths = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None]
    return np.asarray(lengths - 2 * first @ second.T)


def _edges(light: Floats) -> tuple[Ints, Floats]:
    """The direction of the edge at each pixel, as a bin, and how strong it is."""
    x, y = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    turn = np.arctan2(y, x) / np.pi % 1
    bins = np.minimum((turn * _DIRECTIONS).astype(np.intp), _DIRECTIONS - 1)
    return bins, np.asarray(np.sqrt(x * x + y * y) + 1e-4, np.float32)


def _hue(lab: Floats) -> Ints:
    """4 x 4 bins of the two colours, finer near grey."""
    colours = (lab[..., 1:] - 128) / 128
    spread = np.sign(colours) * np.sqrt(np.abs(colours))
    bins = np.clip(((spread + 0.8) / 1.6 * 4).astype(np.intp), 0, 3)
    return np.asarray(bins[..., 0] * 4 + bins[..., 1])


def _pattern(light: Floats) -> Ints:
    """Rotation-invariant uniform local binary patterns, 0..9."""
    around = np.pad(light, 1, mode="edge")
    height, width = light.shape
    spots = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
    bits = np.stack([around[y : y + height, x : x + width] > light + 0.01 for y, x in spots])
    changes = (bits != np.roll(bits, 1, axis=0)).sum(axis=0)
    return np.where(changes <= 2, bits.sum(axis=0), 9)


def _pyramid(bins: Ints, weight: Floats, count: int) -> Floats:
    """The histograms of all places, each of sum 1, their square roots, one after another."""
    rows = []
    height, width = weight.shape
    for side in _PLACES:
        place = (np.arange(height) * side // height)[:, None] * side
        place = place + (np.arange(width) * side // width)[None]
        flat = np.bincount((place * count + bins).ravel(), weight.ravel(), side * side * count)
        table = flat.reshape(side * side, count)
        rows.append(np.sqrt(table / table.sum(axis=1, keepdims=True)).ravel() / side)
    return np.asarray(np.concatenate(rows), np.float32)
