"""Where a forest looks: the size of its cells, and which places around a cell it may ask about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.interface import ModelFileError
from micro_models.regions import Floats
from micro_models.trainers.forest import planes as looks
from micro_models.trainers.forest.objects import Objects

# Cells across a small object's shorter side: as many, unless the image then has too many cells;
# then fewer, but not less than five, unless the image then has far too many.
_FINE, _COARSE = 8, 5
_ENOUGH, _MOST = 6000, 400_000

# No answer looks farther than this, cells.
_FAR = 96

_NINE = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))
_GRID = tuple((y / 4, x / 4) for y in range(-2, 3) for x in range(-2, 3))
_RING = tuple((0.9 * y, 0.9 * x) for y, x in _NINE if y or x)


@dataclass(frozen=True, eq=False)
class Sight:
    """What of an image is looked at.

    `cell_px`: a cell's side in an image of `area_px` (0: in any image; else cells grow with the
    image); `coarse`: side of the coarse planes' boxes, and `margin` around the image, cells;
    `features` (f, 3): plane, rows down and columns right of the cell that is asked about.
    """

    cell_px: float
    area_px: float
    coarse: int
    margin: int
    features: NDArray[np.int64]

    def cell(self, width_px: int, height_px: int) -> float:
        """The side of a cell in an image, pixels."""
        area = width_px * height_px
        size = self.cell_px * (np.sqrt(area / self.area_px) if self.area_px else 1.0)
        return float(max(size, np.sqrt(area / (4 * _MOST))))

    def look(self, work: NDArray[np.uint8]) -> Floats:
        """(p, rows + 2 margin, columns + 2 margin) padded planes of (2 rows, 2 columns, 3)."""
        seen = looks.planes(work, coarse=self.coarse)
        return looks.padded(seen, margin=self.margin)

    def offsets(self, seen: Floats) -> NDArray[np.int64]:
        """(f,) what to add to the flat index of a cell in the first plane, for each feature."""
        _, height, width = seen.shape
        plane, down, right = self.features.T
        return np.asarray(plane * (height * width) + down * width + right)

    def index(self, seen: Floats, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m,) the flat index of cells, which are numbered row by row without the margin."""
        width = seen.shape[2]
        y, x = np.divmod(cells, width - 2 * self.margin)
        return np.asarray((y + self.margin) * width + x + self.margin)

    def settings(self) -> dict[str, float]:
        """Its numbers, for `restored`."""
        names = ("cell_px", "area_px", "coarse", "margin")
        return {name: getattr(self, name) for name in names}


def restored(settings: Mapping[str, Any], features: NDArray[Any]) -> Sight:
    """The same sight again.

    Errors: `ModelFileError` for numbers that no training made.
    """
    try:
        cell, area = float(settings["cell_px"]), float(settings["area_px"])
        coarse, margin = int(settings["coarse"]), int(settings["margin"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelFileError(f"a forest's settings are incomplete: {error}") from error
    table = np.asarray(features)
    fits = (
        table.ndim == 2
        and table.shape[1] == 3
        and table.dtype == np.int64
        and 0.25 <= cell < 1e5
        and 0 <= area < 1e12
        and 1 <= coarse <= _FAR
        and 0 <= margin <= _FAR
        and bool(((table[:, 0] >= 0) & (table[:, 0] < looks.COUNT * looks.LEVELS)).all())
        and bool((np.abs(table[:, 1:]) <= margin).all())
    )
    if not fits:
        raise ModelFileError("a forest's features are out of range; train the model again")
    return Sight(cell, area, coarse, margin, table)


def sight_for(images: Sequence[Objects]) -> Sight:
    """Cells so small that small objects are a few across, but not too many in an image.

    Of images that differ in size it asks whether the objects do likewise.
    """
    areas = np.concatenate(
        [np.full(len(one.boxes), one.width_px * one.height_px) for one in images]
    )
    sizes = np.concatenate([one.boxes[:, 2:] - one.boxes[:, :2] for one in images])
    if not len(sizes):
        areas, sizes = np.array([1e5]), np.full((1, 2), 16.0)
    sizes = np.maximum(sizes, 2)
    usual = float(np.median([one.width_px * one.height_px for one in images]))
    length = np.log(sizes.prod(axis=1))
    grows = bool(np.std(length - np.log(areas)) < 0.8 * np.std(length))
    if grows:
        sizes = sizes * np.sqrt(usual / areas)[:, None]
    short = _short(sizes.min(axis=1), np.concatenate([one.kind for one in images]))
    most = max(short / _COARSE, np.sqrt(usual / _MOST))
    cell = float(np.clip(np.sqrt(usual / _ENOUGH), min(short / _FINE, most), most))
    cell = max(cell, 0.5)
    features = _features(sizes / cell)
    coarse = max(3, 2 * round(short / cell / 8) + 1)
    return Sight(
        cell, usual if grows else 0.0, coarse, int(np.abs(features[:, 1:]).max()), features
    )


def _short(sizes: NDArray[np.floating[Any]], kind: NDArray[np.intp]) -> float:
    """The usual shorter side of the smallest label's objects, or of small ones of all."""
    usual = [float(np.median(sizes[kind == one])) for one in np.unique(kind)]
    return min(float(np.quantile(sizes, 0.3)), *usual)


def _features(sizes: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """(f, 3): fine planes close to the cell, coarse ones over an object and around it."""
    length = np.sort(np.sqrt(sizes.prod(axis=1)))
    low, high = np.quantile(length, [0.1, 0.9])
    shares = (0.5,) if high < 2 * low else (0.15, 0.85)
    table = [(plane, y, x) for plane in range(looks.COUNT) for y, x in _NINE]
    for share in shares:
        width, height = np.minimum(np.quantile(sizes, share, axis=0), _FAR / 2)
        places = sorted({(round(y * height), round(x * width)) for y, x in (*_GRID, *_RING)})
        coarse = range(looks.COUNT, 2 * looks.COUNT)
        table += [(plane, y, x) for plane in coarse for y, x in places]
    return np.array(table, np.int64)
