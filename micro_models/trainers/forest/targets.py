"""What each cell of a view should answer: centres, sides, areas and the way to key points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micro_models.regions import Bools, Floats
from micro_models.trainers.forest.objects import Kind, Objects

# Cells whose heat is larger know the object's sides.
SURE = 0.5


@dataclass(frozen=True)
class Layout:
    """Which number of a leaf's row means what: slices of columns."""

    kinds: tuple[Kind, ...]

    @property
    def points(self) -> int:
        """The key points of all labels."""
        return sum(kind.points for kind in self.kinds)

    @property
    def parts(self) -> int:
        """Labels and key points: whatever has a centre."""
        return len(self.kinds) + self.points

    @property
    def inside(self) -> slice:
        """The areas of the labels."""
        return slice(self.parts, self.parts + len(self.kinds))

    @property
    def sides(self) -> slice:
        """Weight, then left, top, right, bottom times the weight, cells."""
        return slice(self.inside.stop, self.inside.stop + 5)

    @property
    def ways(self) -> slice:
        """Of each key point weight, then dx, dy times the weight, cells."""
        return slice(self.sides.stop, self.sides.stop + 3 * self.points)

    @property
    def width(self) -> int:
        """All columns."""
        return self.parts + len(self.kinds) + 5 + 3 * self.points

    def point_columns(self, kind: int) -> range:
        """The numbers among all key points of those of a label."""
        first = sum(other.points for other in self.kinds[:kind])
        return range(first, first + self.kinds[kind].points)


def encode(objects: Objects, layout: Layout) -> tuple[Floats, Bools]:
    """(rows, columns, layout.width) targets, and (rows, columns) whether on an object.

    Heat is a Gaussian of the object's size, 1 at its centre.
    """
    rows, columns = round(objects.height_px), round(objects.width_px)
    out = np.zeros((rows, columns, layout.width), np.float32)
    owned = np.zeros((rows, columns), np.bool_)
    best = np.zeros((rows, columns), np.float32)
    for index, (kind, box) in enumerate(zip(objects.kind, objects.boxes, strict=True)):
        window = _window(box, rows, columns)
        if window is None:
            continue
        x, y = _centers(window)
        heat = _heat(x, y, box)
        inside = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
        own = heat > best[window]
        best[window] = np.maximum(best[window], heat)
        owned[window] |= inside | (heat > SURE)
        cells = out[window]
        cells[..., kind] = np.maximum(cells[..., kind], heat)
        reach = np.stack([x - box[0], y - box[1], box[2] - x, box[3] - y], axis=-1)
        sure = own & (heat > SURE)
        cells[sure, layout.sides] = np.insert(reach[sure], 0, 1, axis=1)
        if objects.inside[kind] is None:
            cells[inside, layout.inside.start + kind] = 1
        spots = zip(layout.point_columns(int(kind)), objects.points[index], strict=False)
        for column, (at_x, at_y, seen) in spots:
            if seen:
                first = layout.ways.start + 3 * column
                way = np.stack([np.ones_like(x), at_x - x, at_y - y], axis=-1)
                cells[own & inside, first : first + 3] = way[own & inside]
                heat_at = out[..., len(layout.kinds) + column]
                _add_point(heat_at, at_x, at_y, float(max(box[2:] - box[:2])))
    for kind, area in enumerate(objects.inside):
        if area is not None:
            out[..., layout.inside.start + kind] = area.astype(np.float32) / 255
    return out, owned


def _add_point(heat: Floats, x: float, y: float, size: float) -> None:
    """A key point of an object of some size is as wide as a quarter of it."""
    reach = size / 8
    spot = np.array([x - reach, y - reach, x + reach, y + reach], np.float32)
    window = _window(spot, *heat.shape)
    if window is not None:
        heat[window] = np.maximum(heat[window], _heat(*_centers(window), spot))


def _centers(window: tuple[slice, slice]) -> tuple[Floats, Floats]:
    """x and y of the cells' centres."""
    down, right = (np.arange(part.start, part.stop, dtype=np.float32) + 0.5 for part in window)
    x, y = np.meshgrid(right, down)
    return x, y


def _window(box: Floats, rows: int, columns: int) -> tuple[slice, slice] | None:
    """The cells that a box touches; None if its centre is outside."""
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if not (0 <= center_x < columns and 0 <= center_y < rows):
        return None
    left, top = max(int(box[0]) - 1, 0), max(int(box[1]) - 1, 0)
    bottom, right = min(int(box[3]) + 2, rows), min(int(box[2]) + 2, columns)
    return slice(top, bottom), slice(left, right)


def _heat(x: Floats, y: Floats, box: Floats) -> Floats:
    """A Gaussian about the box's centre; 1 in the cell where that lies."""
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    wide, high = max((box[2] - box[0]) / 6, 0.5), max((box[3] - box[1]) / 6, 0.5)
    heat = np.exp(-(((x - center_x) / wide) ** 2 + ((y - center_y) / high) ** 2) / 2)
    heat[(np.floor(center_x) == x - 0.5) & (np.floor(center_y) == y - 0.5)] = 1
    return np.asarray(heat, np.float32)
