"""Pure geometry: masks to boxes, polygons and ellipses, the way back, and overlap.

Coordinates are those of `regions`: pixel (column, row) covers [column, column + 1) x
[row, row + 1), so the outline of a mask runs along the edges of its pixels, and a pixel lies in a
shape when its centre does.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Bools, Box, Ellipse, Mask, Polygon, RotatedBox

Points = NDArray[np.float64]

# Parts and holes smaller than this are noise of a model rather than something to correct by hand.
SPECK_PX = 4.0


def tight_box(mask: Mask) -> Box | None:
    """The smallest box around the mask's pixels; None for an empty mask."""
    x, y, width, height = cv2.boundingRect(_bytes(mask.pixels))
    return Box(x, y, x + width, y + height) if width else None


def mask_to_polygons(
    mask: Mask, *, tolerance_px: float = 1.0, speck_px: float = SPECK_PX
) -> list[Polygon]:
    """Outlines of the mask's parts, the largest first; [] for an empty mask.

    A simplified outline stays within `tolerance_px` of the pixels' edges (0: exact). For a part
    so thin that it would lose a quarter of its area, the tolerance is halved until it does not.
    Pixels that touch at a corner are one part. A hole is cut by a bridge: the outline runs to the
    hole, around it the other way, and back by the same way, so that even-odd and nonzero filling
    both leave the hole open. Parts and holes below `speck_px` pixels are dropped and filled, but
    the largest part stays whatever its size.
    """
    box = tight_box(mask)
    if box is None:
        return []
    corner = np.array([box.x0, box.y0])
    crop = mask.pixels[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
    rings = sorted(_outlines(crop), key=_area, reverse=True)
    parts = [ring for ring in rings if _area(ring) > 0]
    parts = parts[:1] + [ring for ring in parts[1:] if _area(ring) >= speck_px]
    holes = [ring for ring in rings if -_area(ring) >= max(speck_px, 1.0)]
    polygons = []
    for part, inside in zip(parts, _holes_by_part(crop, parts, holes), strict=True):
        ring = _simplified(part, tolerance_px)
        for hole in inside:
            ring = _bridged(ring, _simplified(hole, tolerance_px))
        polygons.append(Polygon((ring + corner).astype(np.float32)))
    return polygons


def polygon_to_mask(polygon: Polygon, *, width_px: int, height_px: int) -> Mask:
    """The pixels whose centres lie in the polygon (even-odd); its left and top edges belong."""
    inside = np.zeros((height_px, width_px), dtype=np.bool_)
    start = polygon.points.astype(np.float64)
    end = np.roll(start, -1, axis=0)
    # An edge crosses the centre lines row + 0.5 of the rows first..last - 1.
    rows = np.clip(np.ceil(np.stack([start[:, 1], end[:, 1]]) - 0.5), 0, height_px).astype(int)
    first, last = rows.min(axis=0), rows.max(axis=0)
    counts = last - first
    if not counts.any():
        return Mask(inside)
    edge = np.repeat(np.arange(len(start)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    slope = (end - start)[edge]
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope[:, 0] / slope[:, 1]
    column = np.clip(np.ceil(x - 0.5), 0, width_px).astype(int)
    left, right, top, bottom = column.min(), column.max(), row.min(), row.max() + 1
    # Each crossing flips all pixels to its right.
    shape = (bottom - top, right - left + 1)
    flips = np.bincount((row - top) * shape[1] + column - left, minlength=shape[0] * shape[1])
    flips = (flips.reshape(shape) & 1).astype(np.uint8)
    inside[top:bottom, left:right] = np.bitwise_xor.accumulate(flips, axis=1)[:, :-1]
    return Mask(inside)


def rotated_box_to_mask(box: RotatedBox, *, width_px: int, height_px: int) -> Mask:
    """The pixels whose centres lie in the box."""
    return polygon_to_mask(Polygon(box.corners()), width_px=width_px, height_px=height_px)


def ellipse_to_mask(ellipse: Ellipse, *, width_px: int, height_px: int) -> Mask:
    """The pixels whose centres lie in the ellipse."""
    angle = math.radians(ellipse.angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    x = np.arange(width_px)[None, :] + 0.5 - ellipse.center_x
    y = np.arange(height_px)[:, None] + 0.5 - ellipse.center_y
    across = (x * cos + y * sin) / max(ellipse.radius_x, 1e-9)
    down = (y * cos - x * sin) / max(ellipse.radius_y, 1e-9)
    return Mask(across**2 + down**2 <= 1)


def mask_to_ellipse(mask: Mask) -> Ellipse | None:
    """The ellipse with the mask's centre, area, direction and proportions; None if empty.

    Direction and proportions come from the second moments of the pixels' squares.
    """
    box = tight_box(mask)
    if box is None:
        return None
    crop = mask.pixels[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
    moments = cv2.moments(_bytes(crop), binaryImage=True)
    area = moments["m00"]
    # A pixel is a square, not a point: its own second moment is 1/12.
    xx, yy = moments["mu20"] / area + 1 / 12, moments["mu02"] / area + 1 / 12
    xy = moments["mu11"] / area
    spread = math.hypot((xx - yy) / 2, xy)
    longer, shorter = (xx + yy) / 2 + spread, max((xx + yy) / 2 - spread, 1 / 12)
    ratio = math.sqrt(longer / shorter)
    return Ellipse(
        center_x=box.x0 + moments["m10"] / area + 0.5,
        center_y=box.y0 + moments["m01"] / area + 0.5,
        radius_x=math.sqrt(area / math.pi * ratio),
        radius_y=math.sqrt(area / math.pi / ratio),
        angle_deg=math.degrees(math.atan2(2 * xy, xx - yy) / 2) % 180,
    )


def iou(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks of one size, 0..1; 1 when both are empty."""
    union = np.count_nonzero(one.pixels | other.pixels)
    return np.count_nonzero(one.pixels & other.pixels) / union if union else 1.0


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1; 0 when neither has an area."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    common = max(width, 0.0) * max(height, 0.0)
    both = sum((box.x1 - box.x0) * (box.y1 - box.y0) for box in (one, other))
    return common / (both - common) if both else 0.0


def _bytes(pixels: Bools) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels).view(np.uint8)


def _outlines(pixels: Bools) -> list[Points]:
    """Closed rings along pixel edges, corners only: parts clockwise, holes the other way.

    Horizontal stretches of edge are found row by row; each ends where, in its column, a vertical
    stretch leads to the start of the next. So endpoints, sorted by column, belong in pairs.
    """
    height, width = pixels.shape
    padded = np.zeros((height + 2, width + 2), dtype=np.bool_)
    padded[1:-1, 1:-1] = pixels
    edges = np.flatnonzero(padded[1:] != padded[:-1])  # edge above padded row y + 1, column x
    y, x = np.divmod(edges, width + 2)
    below = padded[y + 1, x]  # the mask lies below the edge: run right, else run left
    goes_on = (np.diff(edges) == 1) & (below[1:] == below[:-1])
    first = np.append(True, ~goes_on)
    last = np.append(~goes_on, True)
    y, x0, x1, right = y[first], x[first] - 1, x[last], below[first]
    count = len(y)
    ends_x = np.concatenate([x0, x1])
    is_left_end = np.arange(2 * count) < count
    is_start = np.concatenate([right, ~right])
    # Where two pixels touch at a corner two endpoints coincide; this order joins the pixels.
    order = np.lexsort((is_start != is_left_end, np.concatenate([y, y]), ends_x))
    pairs = order.reshape(-1, 2)
    leads_to = np.empty(count, dtype=np.int64)
    from_end = np.where(is_start[pairs[:, 0]], pairs[:, 1], pairs[:, 0])
    to_start = np.where(is_start[pairs[:, 0]], pairs[:, 0], pairs[:, 1])
    leads_to[from_end % count] = to_start % count
    start_x, end_x = np.where(right, x0, x1), np.where(right, x1, x0)
    corners = np.stack([start_x, y, end_x, y], axis=1).astype(np.float64)
    return [corners[cycle].reshape(-1, 2) for cycle in _cycles(leads_to.tolist())]


def _cycles(leads_to: list[int]) -> list[list[int]]:
    cycles = []
    seen = [False] * len(leads_to)
    for start in range(len(leads_to)):
        cycle = []
        at = start
        while not seen[at]:
            seen[at] = True
            cycle.append(at)
            at = leads_to[at]
        if cycle:
            cycles.append(cycle)
    return cycles


def _area(ring: Points) -> float:
    """Positive for a clockwise ring, y being down."""
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _holes_by_part(crop: Bools, parts: list[Points], holes: list[Points]) -> list[list[Points]]:
    """The holes of each part, the largest first."""
    if len(parts) == 1:
        return [holes]
    found: list[list[Points]] = [[] for _ in parts]
    if holes:
        _, labels = cv2.connectedComponents(_bytes(crop), connectivity=8)
        # The pixel at the lower right of a part's topmost left corner is in the part; the pixel
        # above such a corner of a hole is in the part around it.
        owner = {int(labels[y, x]): index for index, (x, y) in enumerate(map(_top, parts))}
        for hole in holes:
            x, y = _top(hole)
            index = owner.get(int(labels[y - 1, x]))
            if index is not None:  # None: a hole in a dropped speck
                found[index].append(hole)
    return found


def _top(ring: Points) -> tuple[int, int]:
    """The topmost corner, among several the leftmost."""
    x, y = ring[np.lexsort((ring[:, 0], ring[:, 1]))[0]].astype(int)
    return int(x), int(y)


def _bridged(ring: Points, hole: Points) -> Points:
    """One ring that runs around the hole on its way."""
    distances = ((ring - hole[0]) ** 2).sum(axis=1)
    near = int(distances.argmin())
    return np.concatenate([ring[: near + 1], hole, hole[:1], ring[near:]])


def _simplified(ring: Points, tolerance_px: float) -> Points:
    """Fewer corners, none of the dropped ones farther than the tolerance from the new outline."""
    area = _area(ring)
    while tolerance_px >= 0.05:
        simple = ring[_kept(ring, tolerance_px)]
        if len(simple) >= 3 and abs(_area(simple) - area) <= abs(area) / 4:
            return simple
        tolerance_px /= 2
    return ring


def _kept(ring: Points, tolerance_px: float) -> NDArray[np.int64]:
    """Indices that Douglas and Peucker keep, all stretches being split in the same step.

    The distance is to the stretch, not to the endless line through it, so the bound holds.
    Source: D. Douglas, T. Peucker, Cartographica 10 (1973) 112-122.
    """
    count = len(ring)
    far = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    kept = np.array(sorted({0, far}), dtype=np.int64)
    inner = np.setdiff1d(np.arange(count), kept)
    while len(inner):
        stretch = np.searchsorted(kept, inner) - 1
        start, end = ring[kept[stretch]], ring[np.append(kept, 0)[stretch + 1]]
        distance = _distance(ring[inner], start, end)
        firsts = np.flatnonzero(np.append(True, np.diff(stretch) > 0))
        farthest = np.maximum.reduceat(distance, firsts)
        is_split = np.repeat(farthest > tolerance_px, np.diff(np.append(firsts, len(inner))))
        if not is_split.any():
            break
        inner, distance, stretch = inner[is_split], distance[is_split], stretch[is_split]
        # The last of a stretch in ascending order of distance is its farthest corner.
        order = np.lexsort((distance, stretch))
        new = inner[order[np.append(np.diff(stretch) > 0, True)]]
        kept = np.union1d(kept, new)
        inner = np.setdiff1d(inner, new, assume_unique=True)
    return kept


def _distance(points: Points, start: Points, end: Points) -> NDArray[np.float64]:
    """From each point to its own stretch between start and end."""
    along = end - start
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    share = np.clip(((points - start) * along).sum(axis=1) / length, 0, 1)
    return np.asarray(np.hypot(*(points - start - along * share[:, None]).T))
