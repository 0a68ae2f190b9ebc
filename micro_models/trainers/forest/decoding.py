"""What the leaves say of every cell, made into regions in pixels of the image."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Bools, Box, Floats, Keypoints, Point, Region, Shape
from micro_models.trainers.forest import areas
from micro_models.trainers.forest.objects import MASK_LIKE
from micro_models.trainers.forest.targets import Layout

Ints = NDArray[np.intp]

# (kind, boxes (n, 4) in cells) -> the boxes, on a second look.
Refined = Callable[[int, Floats], Floats]

# Of two boxes of a label that overlap more, the weaker goes; peaks looked at, per label.
_OVERLAP = 0.4
_PEAKS = 1000
# How far from the aim a key point is looked for, parts of the object; heat that says nothing.
_DRAW, _COLD = 0.25, 0.02
# How far from a peak cells vote, down and right.
_VOTERS = range(-2, 3)
_NEARBY = np.ones((3, 3), np.uint8)


def decode(
    answers: Floats,
    layout: Layout,
    refined: Refined,
    *,
    width_px: int,
    height_px: int,
    min_score: float,
) -> list[Region]:
    """The objects that (rows, columns, layout.width) answers tell of, best first."""
    rows, columns = answers.shape[:2]
    scale = np.array([width_px / columns, height_px / rows], np.float32)
    found: list[Region] = []
    for kind, known in enumerate(layout.kinds):
        scores, boxes = _found(answers, layout, kind, max(min_score, 0.02))
        boxes = refined(kind, boxes)
        kept = _apart(boxes)
        scores, boxes = scores[kept], boxes[kept] * np.tile(scale, 2)
        shapes: list[Shape]
        if known.shape in MASK_LIKE:
            inside = answers[..., layout.inside.start + kind]
            shapes = areas.shapes(
                inside, boxes, known.shape, width_px=width_px, height_px=height_px
            )
        elif known.shape == "Keypoints":
            shapes = [_skeleton(answers, layout, kind, box, scale) for box in boxes]
        elif known.shape == "Point":
            shapes = [Point(float(x0 + x1) / 2, float(y0 + y1) / 2) for x0, y0, x1, y1 in boxes]
        else:
            shapes = [Box(*box) for box in _clipped(boxes, width_px, height_px).tolist()]
        found += [
            Region(known.label, shape, score)
            for shape, score in zip(shapes, scores.tolist(), strict=False)
        ]
    return sorted(found, key=lambda region: -region.score)


def _found(answers: Floats, layout: Layout, kind: int, min_score: float) -> tuple[Floats, Floats]:
    """(n,) scores, falling, and (n, 4) boxes in cells."""
    heat = cv2.GaussianBlur(np.ascontiguousarray(answers[..., kind]), (0, 0), 0.7)
    y, x = np.nonzero((heat >= cv2.dilate(heat, _NEARBY)) & (heat >= min_score))
    order = np.argsort(-heat[y, x], kind="stable")[:_PEAKS]
    y, x = y[order], x[order]
    boxes, known = _boxes(answers, layout, kind, y, x)
    scores = np.clip(np.asarray(heat[y, x], np.float32), 0, 1)[known]
    kept = _apart(boxes[known])
    return scores[kept], boxes[known][kept]


def _boxes(answers: Floats, layout: Layout, kind: int, y: Ints, x: Ints) -> tuple[Floats, Bools]:
    """(n, 4) the mean of the boxes that the cells about each peak vote for; if any does."""
    rows, columns = answers.shape[:2]
    total = np.zeros((len(y), 4), np.float32)
    weights = np.zeros(len(y), np.float32)
    for down in _VOTERS:
        for right in _VOTERS:
            at_y, at_x = np.clip(y + down, 0, rows - 1), np.clip(x + right, 0, columns - 1)
            said = answers[at_y, at_x]
            sides = said[:, layout.sides]
            weight = (sides[:, 0] * said[:, kind]) ** 2
            reach = sides[:, 1:] / np.maximum(sides[:, :1], 1e-6)
            place = np.stack([at_x + 0.5, at_y + 0.5], axis=1)
            box = np.concatenate([place - reach[:, :2], place + reach[:, 2:]], axis=1)
            total += weight[:, None] * box
            weights += weight
    boxes = total / np.maximum(weights, 1e-9)[:, None]
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    return boxes, np.asarray(weights > 0)


def _apart(boxes: Floats) -> list[int]:
    """Indices of the boxes (n, 4), best first, that overlap no better one."""
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left: Ints = np.arange(len(boxes))
    kept: list[int] = []
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[left, :2])
        high = np.minimum(boxes[best, 2:], boxes[left, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        left = left[common <= _OVERLAP * (area[best] + area[left] - common)]
    return kept


def _clipped(boxes: Floats, width_px: int, height_px: int) -> Floats:
    return np.clip(boxes, 0, np.array([width_px, height_px] * 2, np.float32))


def _skeleton(answers: Floats, layout: Layout, kind: int, box: Floats, scale: Floats) -> Keypoints:
    """The key points of the object in a box: where its cells point, drawn to the warmest cell."""
    rows, columns = answers.shape[:2]
    cells = box / np.tile(scale, 2)
    low = np.clip(np.floor(cells[:2]), 0, [columns - 1, rows - 1]).astype(int)
    high = np.clip(np.ceil(cells[2:]), low + 1, [columns, rows]).astype(int)
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
    inner = answers[low[1] : high[1], low[0] : high[0]]
    reach = float(max(cells[2:] - cells[:2])) * _DRAW
    points, scores = [], []
    for column in layout.point_columns(kind):
        first = layout.ways.start + 3 * column
        weight, across, down = np.moveaxis(inner[..., first : first + 3], -1, 0)
        weight = np.maximum(weight, 1e-6)
        aim_x = float(np.average(x + across / weight, weights=weight))
        aim_y = float(np.average(y + down / weight, weights=weight))
        spot, score = _drawn(answers[..., len(layout.kinds) + column], aim_x, aim_y, reach)
        points.append(spot * scale)
        scores.append(score)
    found = np.array(points, np.float32).reshape(-1, 2)
    return Keypoints(found, np.clip(np.array(scores, np.float32), 0, 1))


def _drawn(heat: Floats, aim_x: float, aim_y: float, reach: float) -> tuple[Floats, float]:
    """x, y of the warmest place about an aim, cells, and how warm it is."""
    y, x = np.mgrid[: heat.shape[0], : heat.shape[1]] + 0.5
    near = heat * np.exp(-((x - aim_x) ** 2 + (y - aim_y) ** 2) / (2 * max(reach, 1.0) ** 2))
    down, right = np.unravel_index(int(near.argmax()), near.shape)
    if near[down, right] <= _COLD:
        return np.array([aim_x, aim_y], np.float32), float(near[down, right])
    part = slice(max(down - 1, 0), down + 2), slice(max(right - 1, 0), right + 2)
    spot = [np.average(place[part], weights=near[part]) for place in (x, y)]
    return np.array(spot, np.float32), float(heat[down, right])
