"""The maps that a tiny network gives, told as regions of the image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from micro_models.geometry import polygon_to_mask
from micro_models.regions import (
    Box,
    Ellipse,
    Floats,
    Keypoints,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)
from micro_models.trainers.tiny.masks import cut_out, drawn
from micro_models.trainers.tiny.peaks import Peaks, find_peaks
from micro_models.trainers.tiny.skeletons import skeleton
from micro_models.trainers.tiny.spec import OUTLINED, Kind, Spec
from micro_models.trainers.tiny.things import ring
from micro_models.trainers.tiny.warp import moved_shape

Pair = tuple[float, float]


def decode(
    outputs: Mapping[str, Floats],
    spec: Spec,
    *,
    width_px: int,
    height_px: int,
    scale: Pair = (1.0, 1.0),
    stride: int = 4,
    min_score: float = 0.05,
    max_objects: int | None = None,
    max_overlap: float = 0.5,
) -> list[Region]:
    """The regions that a network's answer tells, best first, in pixels of the original image.

    `outputs` by the names of `spec.heads`, float32 (channels, h, w), `heat`, `mask`, `point_heat`
    and `classes` (channels,) as probabilities; cells outside the image, from padding, are not
    looked at. `width_px`, `height_px`: of the original image; `scale`: pixels of the network's
    input for one of the original's, along x and y. Every class of the whole image is told whatever
    its score. An image that was seen in tiles is put together before: then no object is told twice.

    >>> heat, sides = np.zeros((1, 8, 8), np.float32), np.ones((4, 8, 8), np.float32)
    >>> heat[0, 3, 4] = 0.75
    >>> spec = Spec.from_json({"located": [["car", "box", 0]], "classes": [],
    ...                        "exclusive": False, "most_objects": 1})
    >>> decode({"heat": heat, "sides": sides}, spec, width_px=64, height_px=64, scale=(0.5, 0.5))
    [Region(label='car', shape=Box(x0=28.0, y0=20.0, x1=44.0, y1=36.0), score=0.75)]
    """
    regions = [
        Region(label, WholeImage(), _score(chance))
        for label, chance in zip(spec.classes, outputs.get("classes", ()), strict=False)
    ]
    if spec.located:
        rows = max(math.ceil(height_px * scale[1] / stride - 1e-6), 1)
        columns = max(math.ceil(width_px * scale[0] / stride - 1e-6), 1)
        seen = {name: of[:, :rows, :columns] for name, of in outputs.items() if name != "classes"}
        most = max_objects or max(100, 4 * spec.most_objects)
        found = find_peaks(seen, spec, min_score=min_score, most=most, max_overlap=max_overlap)
        cell_px = stride / scale[0], stride / scale[1]
        shapes = _shapes(found, seen, spec, cell_px, (width_px, height_px))
        regions += [
            Region(spec.located[index].label, shape, _score(score))
            for shape, index, score in zip(shapes, found.index, found.score, strict=True)
            if shape is not None
        ]
    return sorted(regions, key=lambda region: -region.score)


def _score(chance: float) -> float:
    return float(np.nan_to_num(min(max(chance, 0.0), 1.0)))


def _shapes(
    found: Peaks, outputs: Mapping[str, Floats], spec: Spec, cell_px: Pair, size_px: tuple[int, int]
) -> Iterator[Shape | None]:
    """In the order of `found`; None for what lies outside the image."""
    gain = np.array(cell_px, np.float32)
    patches = cut_out(found, outputs, spec)
    for one in range(len(found)):
        kind = spec.located[found.index[one]].kind
        if kind is Kind.KEYPOINTS:
            bones = skeleton(found, one, outputs, spec)
            yield Keypoints(bones.points * gain, bones.scores)
            continue
        shape: Shape | None = (
            drawn(patches[one], kind, cell_px, size_px) if one in patches else None
        )
        if shape is None:
            shape = _plain(kind, found, one, cell_px, size_px)
        yield shape


def _plain(
    kind: Kind, found: Peaks, one: int, cell_px: Pair, size_px: tuple[int, int]
) -> Shape | None:
    """The shape that centre, sides and angle tell; None outside the image."""
    x, y = (found.center[one] * cell_px).tolist()
    most_x, most_y = size_px
    if kind is Kind.POINT:
        return Point(min(max(x, 0.0), most_x), min(max(y, 0.0), most_y))
    if kind is Kind.ROTATED or kind is Kind.ELLIPSE:
        if not (0 <= x <= most_x and 0 <= y <= most_y):
            return None
        # The network sees images stretched a little, so that sides and angles are to be undone.
        matrix = np.array([[cell_px[0], 0, 0], [0, cell_px[1], 0]], np.float64)
        return moved_shape(_turned(kind, found, one), matrix, size_px)
    width, height = (found.sides[one] * cell_px).tolist()
    x0, x1 = (min(max(edge, 0.0), most_x) for edge in (x - width / 2, x + width / 2))
    y0, y1 = (min(max(edge, 0.0), most_y) for edge in (y - height / 2, y + height / 2))
    if x0 >= x1 or y0 >= y1:
        return None
    box = Box(x0, y0, x1, y1)
    if kind not in OUTLINED:
        return box
    # Nothing of it was outlined: its box is all that is known.
    corners = Polygon(ring(box))
    if kind is Kind.POLYGON:
        return corners
    mask = polygon_to_mask(corners, width_px=most_x, height_px=most_y)
    return mask if mask.pixels.any() else None


def _turned(kind: Kind, found: Peaks, one: int) -> RotatedBox | Ellipse:
    """In cells."""
    (x, y), (width, height) = found.center[one].tolist(), found.sides[one].tolist()
    degrees = math.degrees(found.angle[one])
    if kind is Kind.ROTATED:
        return RotatedBox(x, y, width, height, degrees)
    return Ellipse(x, y, width / 2, height / 2, degrees)
