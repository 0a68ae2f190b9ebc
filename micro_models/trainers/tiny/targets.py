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
from numpy.typing import NDArray

from micro_models.regions import Box, Floats, Region
from micro_models.trainers.tiny.cells import Cells, Matrix, bells_at, joined
from micro_models.trainers.tiny.coverage import coverage
from micro_models.trainers.tiny.spec import OUTLINED, Spec
from micro_models.trainers.tiny.things import Thing, things

# Of an object's peak: how much of its sides one standard deviation is, and the least, in cells.
_SPREAD, _LEAST_SPREAD = 1 / 6, 0.7
# Sides are taught where the peak is at least this high.
_NEAR = 0.4
# What a cell that is no part of a peak's middle, but of the object's outline, counts for sides.
_OUTLINE_WEIGHT = 0.25
_LEAST_SIDE = 0.1
# A cell belongs to an outline that covers so much of it.
_HALF = 0.5
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
    taught = things(regions, spec, width_px=width_px, height_px=height_px, stride=stride)
    if taught:
        centers = np.array([thing.center for thing in taught])
        sides = np.array([thing.sides for thing in taught])
        angles = np.array([thing.angle for thing in taught])
        bells = bells_at(
            centers, np.maximum(sides * _SPREAD, _LEAST_SPREAD), angles, (height, width)
        )
        _teach_heat(empty, taught, centers, bells)
        outlines = [
            _teach_outline(empty, thing, number, spec.mask_channel(thing.index), stride)
            for number, thing in enumerate(taught)
            if spec.located[thing.index].kind in OUTLINED
        ]
        has_size = np.array([thing.has_size for thing in taught])
        middles = bells.where((bells.height >= _NEAR) & has_size[bells.owner])
        winners = _teach_sides(empty, taught, centers, sides, joined([*outlines, middles]))
        _teach_points(empty, taught, spec, winners.where(winners.height >= _NEAR))
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


def _teach_heat(targets: Targets, taught: Sequence[Thing], centers: Matrix, bells: Cells) -> None:
    """A peak for each object, exactly 1 in the cell of its centre; there the heat counts."""
    _, height, width = targets.heat.shape
    columns, rows = centers.astype(np.intp).clip(0, (width - 1, height - 1)).T
    # Its centre's cell is among an object's cells.
    is_center = (bells.row == rows[bells.owner]) & (bells.column == columns[bells.owner])
    bells.height[is_center] = 1
    index = np.array([thing.index for thing in taught])[bells.owner]
    np.maximum.at(targets.heat, (index, bells.row, bells.column), bells.height)
    near = bells.where(bells.height >= _NEAR)
    targets.heat_weight[0, near.row, near.column] = 1


def _teach_outline(targets: Targets, thing: Thing, number: int, channel: int, stride: int) -> Cells:
    """Which cells belong to the object; their sides will tell to which of several."""
    _, height, width = targets.mask.shape
    if thing.outline is None:
        # What of the box belongs to the object is not known.
        (x, y), (half_width, half_height) = thing.center, (side / 2 for side in thing.sides)
        rows = slice(max(int(y - half_height), 0), math.ceil(y + half_height))
        columns = slice(max(int(x - half_width), 0), math.ceil(x + half_width))
        targets.mask_weight[channel, rows, columns] = 0
        return joined([])
    covered, top, left = coverage(thing.outline, stride=stride, width=width, height=height)
    window = (slice(top, top + covered.shape[0]), slice(left, left + covered.shape[1]))
    mask = targets.mask[channel][window]
    np.maximum(mask, covered, out=mask)
    targets.mask_weight[channel][window][covered > 0] = 1
    row, column = np.nonzero(covered >= _HALF)
    # The height in an outline is below that of any middle, which is at least _NEAR.
    height_there = covered[row, column] * np.float32(_NEAR / 2)
    return Cells(np.full(len(row), number), row + top, column + left, height_there)


def _teach_sides(
    targets: Targets, taught: Sequence[Thing], centers: Matrix, sides: Matrix, cells: Cells
) -> Cells:
    """How far the sides of the nearest object are from each cell; tells the cells and whose."""
    away = np.stack([cells.column + 0.5, cells.row + 0.5]) - centers[cells.owner].T
    half = sides[cells.owner].T / 2
    inside = (np.abs(away) < half).all(axis=0) | (cells.height == 1)
    # Of what is written to one cell the last stays.
    order = np.flatnonzero(inside)[np.argsort(cells.height[inside], kind="stable")]
    cells, away, half = cells.where(order), away[:, order], half[:, order]
    at = (cells.row, cells.column)
    targets.sides[:, *at] = np.maximum(np.concatenate([half + away, half - away]), _LEAST_SIDE)
    index = np.array([thing.index for thing in taught])[cells.owner]
    weights = np.where(cells.height >= _NEAR, 1, _OUTLINE_WEIGHT)
    targets.sides_weight[0, *at] = _evened(weights, index)
    if len(targets.angle):
        angles = 2 * np.array([thing.angle for thing in taught])[cells.owner]
        targets.angle[:, *at] = np.sin(angles), np.cos(angles)
        weights = np.array([_angle_weight(thing) for thing in taught])
        targets.angle_weight[0, *at] = weights[cells.owner]
    winner = np.full(targets.sides.shape[1:], -1)
    winner[at] = cells.owner
    return cells.where(winner[at] == cells.owner)


def _evened(weights: Floats, index: NDArray[np.intp]) -> Floats:
    """(n,) weights with which each label, by its index (n,), counts by the root of what it did.

    Else few small objects among many large ones would never learn their sides.
    """
    found: Floats = weights / np.sqrt(np.bincount(index, weights))[index]
    return found


def _angle_weight(thing: Thing) -> float:
    """0..1, less for what is nearly round or square and so has hardly a direction."""
    if not thing.has_angle:
        return 0.0
    longer, shorter = thing.sides
    return 0.05 + 0.95 * min(max(longer - shorter, 0) / max(shorter / 2, 1e-6), 1.0)


def _teach_points(targets: Targets, taught: Sequence[Thing], spec: Spec, middles: Cells) -> None:
    """The peaks of the key points that were seen, and the way to them from the object's middle."""
    channels, points = [], []
    for number, thing in enumerate(taught):
        if thing.skeleton is None:
            continue
        seen = np.flatnonzero(thing.skeleton.scores > 0)
        channel, place = spec.point_channel(thing.index) + seen, thing.skeleton.points[seen]
        own = middles.where(middles.owner == number)
        here = np.stack([own.column + 0.5, own.row + 0.5])
        for axis in (0, 1):
            way = place[:, axis, None] - here[axis]
            targets.point_offset[(2 * channel + axis)[:, None], own.row, own.column] = way
        targets.point_offset_weight[channel[:, None], own.row, own.column] = 1
        channels.append(channel)
        points.append(place)
    if channels:
        places = np.concatenate(points).astype(np.float64)
        spreads = np.full(places.shape, _POINT_SPREAD)
        shape = targets.point_heat.shape[1:]
        bells = bells_at(places, spreads, np.zeros(len(places)), (shape[0], shape[1]))
        channel = np.concatenate(channels)[bells.owner]
        np.maximum.at(targets.point_heat, (channel, bells.row, bells.column), bells.height)
        near = bells.height >= _NEAR
        targets.point_weight[channel[near], bells.row[near], bells.column[near]] = 1
