"""Regions as the maps that a tiny network should give: its targets, cell by cell.

A cell is a square of `stride` pixels. An object is a peak in the heat map of its label; around the
peak each cell tells how far the object's sides are away.
Source: X. Zhou et al., Objects as Points (2019), arxiv.org/abs/1904.07850; Z. Tian et al., FCOS
(ICCV 2019), arxiv.org/abs/1904.01355.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.regions import Bools, Box, Floats, Keypoints, Region
from micro_models.trainers.tiny.coverage import coverage
from micro_models.trainers.tiny.spec import OUTLINED, Spec
from micro_models.trainers.tiny.things import Pair, Thing, things

Window = tuple[slice, slice]

# Of an object's peak: how much of its sides one standard deviation is, and the least, in cells.
_SPREAD, _LEAST_SPREAD = 1 / 6, 0.7
# Sides are taught where the peak is at least this high.
_NEAR = 0.4
# What a cell that is no part of a peak's middle, but of the object's outline, counts for sides.
_OUTLINE_WEIGHT = 0.25
_LEAST_SIDE = 0.1
# A key point's peak, in standard deviations of cells.
_POINT_SPREAD = 1.0


@dataclass(frozen=True, eq=False)
class Targets:
    """What each head should give, float32, all (channels, h, w) but `classes`.

    `heat` (labels, h, w) 0..1, exactly 1 in one cell of each object; it counts where `heat_weight`
    (1, h, w) is 1. `sides` (4, h, w) left, top, right, bottom of the cell's middle in cells, the
    object turned upright about its centre; they count by `sides_weight` (1, h, w), as does `angle`
    (2, h, w), sin and cos of twice the angle, by `angle_weight`. `mask` (outlined labels, h, w) is
    the covered part of the cell, by `mask_weight` of the same shape. `point_heat` (points, h, w)
    peaks between cells, so that its highest is below 1: for a soft cross-entropy, by
    `point_weight` (points, h, w). `point_offset` (2 * points, h, w) x, y in cells from the cell's
    middle, by `point_offset_weight` (points, h, w). `classes` (classes,) 0 or 1. Heads that the
    spec has not are of 0 channels.
    """

    heat: Floats
    heat_weight: Floats
    sides: Floats
    sides_weight: Floats
    angle: Floats
    angle_weight: Floats
    mask: Floats
    mask_weight: Floats
    point_heat: Floats
    point_weight: Floats
    point_offset: Floats
    point_offset_weight: Floats
    classes: Floats


def encode(
    regions: Sequence[Region],
    spec: Spec,
    *,
    width_px: int,
    height_px: int,
    stride: int = 4,
    ignored: Iterable[Box] = (),
) -> Targets:
    """The targets for one image; h, w are its size in cells, rounded up.

    Objects whose centre is outside are left out. In `ignored` places nothing is background, since
    something half visible or mirrored is there.

    >>> from micro_models.trainers.tiny.spec import Kind, Located
    >>> spec = Spec((Located("car", Kind.BOX),))
    >>> targets = encode([Region("car", Box(8, 8, 32, 24))], spec, width_px=64, height_px=48)
    >>> targets.heat.shape, targets.sides[:, 4, 5].tolist()
    ((1, 12, 16), [3.5, 2.5, 2.5, 1.5])
    """
    height, width = math.ceil(height_px / stride), math.ceil(width_px / stride)
    empty = _empty(spec, height, width)
    _ignore(empty, ignored, stride)
    nearness = np.zeros((height, width), np.float32)
    taught = things(regions, spec, width_px=width_px, height_px=height_px, stride=stride)
    for thing in taught:
        if spec.located[thing.index].kind in OUTLINED:
            _teach_outline(empty, thing, spec.mask_channel(thing.index), nearness, stride)
    for thing in taught:
        middle, window = _teach_middle(empty, thing, nearness)
        if thing.skeleton is not None:
            first = spec.point_channel(thing.index)
            _teach_points(empty, thing.skeleton, first, middle, window)
    present = {region.label for region in regions}
    empty.classes[:] = [label in present for label in spec.classes]
    return empty


def _empty(spec: Spec, height: int, width: int) -> Targets:
    heads = spec.heads

    def zeros(name: str, share: int = 1) -> Floats:
        return np.zeros((heads.get(name, 0) // share, height, width), np.float32)

    def one(name: str) -> Floats:
        return np.zeros((min(heads.get(name, 0), 1), height, width), np.float32)

    return Targets(
        heat=zeros("heat"),
        heat_weight=one("heat") + 1,
        sides=zeros("sides"),
        sides_weight=one("sides"),
        angle=zeros("angle"),
        angle_weight=one("angle"),
        mask=zeros("mask"),
        mask_weight=zeros("mask") + 1,
        point_heat=zeros("point_heat"),
        point_weight=zeros("point_heat") + 1,
        point_offset=zeros("point_offset"),
        point_offset_weight=zeros("point_offset", 2),
        classes=np.zeros(len(spec.classes), np.float32),
    )


def _ignore(targets: Targets, ignored: Iterable[Box], stride: int) -> None:
    for box in ignored:
        rows = slice(max(math.floor(box.y0 / stride), 0), max(math.ceil(box.y1 / stride), 0))
        columns = slice(max(math.floor(box.x0 / stride), 0), max(math.ceil(box.x1 / stride), 0))
        for weight in (targets.heat_weight, targets.mask_weight, targets.point_weight):
            weight[:, rows, columns] = 0


def _teach_outline(
    targets: Targets, thing: Thing, channel: int, nearness: Floats, stride: int
) -> None:
    """Which cells belong to the object; their sides tell to which of several."""
    height, width = nearness.shape
    if thing.outline is None:
        # What of the box belongs to the object is not known.
        (x, y), (half_width, half_height) = thing.center, (side / 2 for side in thing.sides)
        rows = slice(max(int(y - half_height), 0), math.ceil(y + half_height))
        columns = slice(max(int(x - half_width), 0), math.ceil(x + half_width))
        targets.mask_weight[channel, rows, columns] = 0
        return
    covered, top, left = coverage(thing.outline, stride=stride, width=width, height=height)
    window = (slice(top, top + covered.shape[0]), slice(left, left + covered.shape[1]))
    mask = targets.mask[channel][window]
    np.maximum(mask, covered, out=mask)
    targets.mask_weight[channel][window][covered > 0] = 1
    # The nearness of an outline is below that of any middle, which is at least _NEAR.
    near = np.where(covered >= 0.5, covered * np.float32(_NEAR / 2), 0)
    _teach_sides(targets, thing, near, nearness, window)


def _teach_middle(targets: Targets, thing: Thing, nearness: Floats) -> tuple[Bools, Window]:
    """The object's peak and the sides around it; where in which window it is the nearest."""
    (x, y), (height, width) = thing.center, nearness.shape
    spread = (
        max(thing.sides[0] * _SPREAD, _LEAST_SPREAD),
        max(thing.sides[1] * _SPREAD, _LEAST_SPREAD),
    )
    peak, window = _bell(thing.center, spread, thing.angle, (height, width))
    rows, columns = window
    peak[min(int(y), height - 1) - rows.start, min(int(x), width - 1) - columns.start] = 1
    heat = targets.heat[thing.index][window]
    np.maximum(heat, peak, out=heat)
    targets.heat_weight[0][window][peak >= _NEAR] = 1
    if not thing.has_size:
        return np.zeros(peak.shape, np.bool_), window
    return _teach_sides(targets, thing, np.where(peak >= _NEAR, peak, 0), nearness, window), window


def _teach_sides(
    targets: Targets, thing: Thing, near: Floats, nearness: Floats, window: Window
) -> Bools:
    """Where no other object is nearer, how far the sides are; tells where that is."""
    rows, columns = window
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + 0.5 - thing.center[0]
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5 - thing.center[1]
    half = thing.sides[0] / 2, thing.sides[1] / 2
    inside = (np.abs(dx) < half[0]) & (np.abs(dy) < half[1])
    mine: Bools = (near > nearness[window]) & (inside | (near == 1))
    sides = (half[0] + dx, half[1] + dy, half[0] - dx, half[1] - dy)
    for target, side in zip(targets.sides, sides, strict=True):
        np.copyto(target[window], np.maximum(side, _LEAST_SIDE), where=mine)
    np.copyto(nearness[window], near, where=mine)
    weight = np.where(near >= _NEAR, np.float32(1), np.float32(_OUTLINE_WEIGHT))
    np.copyto(targets.sides_weight[0][window], weight, where=mine)
    if len(targets.angle):
        targets.angle_weight[0][window][mine] = _angle_weight(thing)
        targets.angle[0][window][mine] = math.sin(2 * thing.angle)
        targets.angle[1][window][mine] = math.cos(2 * thing.angle)
    return mine


def _angle_weight(thing: Thing) -> float:
    """0..1, less for what is nearly round or square and so has hardly a direction."""
    if not thing.has_angle:
        return 0.0
    longer, shorter = thing.sides
    return 0.05 + 0.95 * min(max(longer - shorter, 0) / max(shorter / 2, 1e-6), 1.0)


def _teach_points(
    targets: Targets, skeleton: Keypoints, first: int, middle: Bools, window: Window
) -> None:
    """The peaks of the key points that were seen, and the way to them from the object's middle."""
    rows, columns = np.nonzero(middle)
    rows, columns = rows + window[0].start, columns + window[1].start
    for channel, ((x, y), score) in enumerate(
        zip(skeleton.points, skeleton.scores, strict=True), first
    ):
        if score <= 0:
            continue
        targets.point_offset[2 * channel, rows, columns] = x - columns - 0.5
        targets.point_offset[2 * channel + 1, rows, columns] = y - rows - 0.5
        targets.point_offset_weight[channel, rows, columns] = 1
        shape = targets.point_heat.shape[1:]
        peak, at = _bell((float(x), float(y)), (_POINT_SPREAD, _POINT_SPREAD), 0.0, shape)
        heat = targets.point_heat[channel][at]
        np.maximum(heat, peak, out=heat)
        targets.point_weight[channel][at][peak >= _NEAR] = 1


def _bell(
    center: Pair, spread: Pair, angle: float, shape: tuple[int, ...]
) -> tuple[Floats, Window]:
    """A normal curve, 1 at its centre, in the rows and columns where it matters; all in cells."""
    (x, y), (height, width) = center, shape
    farthest = 3 * max(spread)
    reach = (farthest, farthest) if angle else (3 * spread[0], 3 * spread[1])
    columns = slice(*(min(max(int(at), 0), width) for at in (x - reach[0], x + reach[0] + 1)))
    rows = slice(*(min(max(int(at), 0), height) for at in (y - reach[1], y + reach[1] + 1)))
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + (0.5 - x)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + (0.5 - y)
    if angle:
        cos, sin = math.cos(angle), math.sin(angle)
        dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
    away = (dx / spread[0]) ** 2 + (dy / spread[1]) ** 2
    return np.exp(away * np.float32(-0.5)), (rows, columns)
