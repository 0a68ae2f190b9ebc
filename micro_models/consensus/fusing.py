"""One shape of several that annotators drew of the same thing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from micro_models.consensus.votes import Matrix
from micro_models.evaluation.overlap import bounds
from micro_models.geometry import mask_to_polygons, polygon_to_mask
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    RotatedBox,
    Shape,
)

_HUBER = 2.0
# Outlines are joined on a grid whose longer side is within this, in cells.
_GRID = (96.0, 512.0)
# Beyond this part of the object's size a pixel's distance to an edge counts no more.
_REACH = 0.15


def fused(shapes: Sequence[Shape], weights: ArrayLike) -> Shape:
    """The weighted, robust mean of shapes; of several kinds the one with the most weight.

    Boxes: each edge, points and corners likewise. Turned boxes and ellipses: centre, sides and
    direction. Masks and outlines: the mean of the distances to their edges, cut off far from them,
    so that for many it is a vote of each pixel and for two it lies between. Key points: those that
    most of the weight saw. Errors: `ValueError` without shapes.

    Source of the robust mean: P. Huber, Robust Estimation of a Location Parameter (1964).

    >>> fused([Box(0, 0, 10, 10), Box(2, 0, 11, 12), Box(1, 0, 12, 11)], [1, 1, 1])
    Box(x0=1.0, y0=0.0, x1=11.0, y1=11.0)
    """
    values = np.asarray(weights, dtype=np.float64)
    if not len(shapes):
        raise ValueError("nothing can be fused of no shapes")
    by_kind: Counter[type[Shape]] = Counter()
    for shape, weight in zip(shapes, values, strict=True):
        by_kind[type(shape)] += weight
    kind = max(by_kind, key=by_kind.__getitem__)
    kept = [at for at, shape in enumerate(shapes) if isinstance(shape, kind)]
    some, own = [shapes[at] for at in kept], values[kept]
    best = some[int(own.argmax())]
    if len(some) == 1:
        return best
    return _fused(some, own / own.sum(), best)


def _fused(some: Sequence[Shape], weights: Matrix, best: Shape) -> Shape:
    match best:
        case Box():
            return _box([one for one in some if isinstance(one, Box)], weights)
        case Point():
            places = [(one.x, one.y) for one in some if isinstance(one, Point)]
            x, y = robust_mean(np.array(places), weights)
            return Point(float(x), float(y))
        case RotatedBox():
            turned = [one for one in some if isinstance(one, RotatedBox)]
            rows = [
                (one.center_x, one.center_y, one.width_px, one.height_px, one.angle_deg)
                for one in turned
            ]
            return RotatedBox(*_turned(rows, weights))
        case Ellipse():
            round_ones = [one for one in some if isinstance(one, Ellipse)]
            rows = [
                (one.center_x, one.center_y, one.radius_x, one.radius_y, one.angle_deg)
                for one in round_ones
            ]
            return Ellipse(*_turned(rows, weights))
        case Keypoints():
            return _skeleton([one for one in some if isinstance(one, Keypoints)], weights, best)
        case Mask():
            return _mask([one for one in some if isinstance(one, Mask)], weights, best)
        case Polygon():
            return _polygon([one for one in some if isinstance(one, Polygon)], weights, best)
        case _:
            return best


def robust_mean(values: Matrix, weights: Matrix) -> Matrix:
    """(n, k) values with (n,) weights -> (k,) Huber's mean of each column; of two the mean."""
    middle = _weighted_median(values, weights) if len(values) > 2 else weights @ values
    if len(values) < 3:
        return np.asarray(middle / weights.sum())
    away = np.abs(values - middle)
    # Unweighted: one with most of the weight would else be the measure of all others.
    scale = np.maximum(1.4826 * np.median(away, axis=0), 1e-6)
    for _ in range(20):
        away = np.abs(values - middle)
        own = weights[:, None] * np.minimum(1.0, _HUBER * scale / np.maximum(away, 1e-12))
        middle = (own * values).sum(axis=0) / own.sum(axis=0)
    return np.asarray(middle)


def _weighted_median(values: Matrix, weights: Matrix) -> Matrix:
    order = values.argsort(axis=0)
    reached = weights[order].cumsum(axis=0) >= weights.sum() / 2 - 1e-12
    rows = np.take_along_axis(order, reached.argmax(axis=0)[None, :], axis=0)
    return np.asarray(np.take_along_axis(values, rows, axis=0)[0])


def _box(boxes: Sequence[Box], weights: Matrix) -> Box:
    rows = np.array([(one.x0, one.y0, one.x1, one.y1) for one in boxes])
    x0, y0, x1, y1 = map(float, robust_mean(rows, weights))
    return Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def _turned(
    rows: Sequence[tuple[float, float, float, float, float]], weights: Matrix
) -> tuple[float, float, float, float, float]:
    """Centre, two sides, direction: each written so that its direction is near the heaviest's."""
    first = rows[int(weights.argmax())]
    same = np.array([_as_near(row, first) for row in rows])
    x, y, a, b, angle = map(float, robust_mean(same, weights))
    return x, y, max(a, 0.0), max(b, 0.0), angle % 360


def _as_near(
    row: tuple[float, float, float, float, float], first: tuple[float, float, float, float, float]
) -> tuple[float, float, float, float, float]:
    """The same shape, its sides swapped by a quarter turn if it is then more alike."""
    x, y, a, b, angle = row
    ways = []
    for turn, (one, other) in ((0, (a, b)), (90, (b, a))):
        apart = (angle + turn - first[4] + 90) % 180 - 90
        far = abs(apart) / 90 + abs(one - first[2]) / max(one, first[2], 1e-9)
        ways.append((far, (x, y, one, other, first[4] + apart)))
    return min(ways)[1]


def _skeleton(skeletons: Sequence[Keypoints], weights: Matrix, best: Keypoints) -> Keypoints:
    kept = [at for at, one in enumerate(skeletons) if len(one.points) == len(best.points)]
    points = np.stack([skeletons[at].points for at in kept]).astype(np.float64)
    seen = np.stack([skeletons[at].scores > 0 for at in kept])
    own = weights[kept]
    places, scores = best.points.copy(), np.zeros(len(best.points), np.float32)
    for at in range(len(best.points)):
        who = seen[:, at]
        share = float(own[who].sum() / own.sum())
        if share >= 0.5:
            places[at] = robust_mean(points[who, at], own[who])
            scores[at] = share
    return Keypoints(places, scores)


def _mask(masks: Sequence[Mask], weights: Matrix, best: Mask) -> Mask:
    kept = [at for at, one in enumerate(masks) if one.pixels.shape == best.pixels.shape]
    boxes = [bounds(masks[at]) for at in kept]
    x0, y0 = (int(min(getattr(box, name) for box in boxes)) for name in ("x0", "y0"))
    x1, y1 = (int(max(getattr(box, name) for box in boxes)) for name in ("x1", "y1"))
    if x1 <= x0 or y1 <= y0:
        return best
    inside = _voted([masks[at].pixels[y0:y1, x0:x1] for at in kept], weights[kept])
    if not inside.any():
        return best
    pixels = np.zeros_like(best.pixels)
    pixels[y0:y1, x0:x1] = inside
    return Mask(pixels)


def _polygon(polygons: Sequence[Polygon], weights: Matrix, best: Polygon) -> Polygon:
    points = np.concatenate([one.points for one in polygons]).astype(np.float64)
    low, size = points.min(axis=0), float(np.ptp(points, axis=0).max())
    if size <= 0:
        return best
    scale = min(max(size, _GRID[0]), _GRID[1]) / size
    width, height = (np.ceil(np.ptp(points, axis=0) * scale) + 1).astype(int)
    drawn = [
        polygon_to_mask(
            Polygon(((one.points - low) * scale).astype(np.float32)),
            width_px=int(width),
            height_px=int(height),
        ).pixels
        for one in polygons
    ]
    inside = _voted(drawn, weights)
    found = mask_to_polygons(Mask(inside)) if inside.any() else []
    return Polygon((found[0].points / scale + low).astype(np.float32)) if found else best


def _voted(masks: Sequence[NDArray[np.bool_]], weights: Matrix) -> NDArray[np.bool_]:
    """(height, width) where the weighted mean of distances to the edges, cut off, is inside."""
    area = float(np.mean([np.count_nonzero(one) for one in masks]))
    reach = max(_REACH * math.sqrt(area), 1.5)
    total = np.zeros(masks[0].shape)
    for one, weight in zip(masks, weights, strict=True):
        total += weight * _distance(one).clip(-reach, reach)
    return np.asarray(total > 0)


def _distance(mask: NDArray[np.bool_]) -> Matrix:
    """(height, width) of each pixel's centre the way to the mask's edge, negative outside."""
    padded = np.pad(mask, 1).astype(np.uint8)
    inside, outside = (
        cv2.distanceTransform(one, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for one in (padded, 1 - padded)
    )
    signed = np.where(padded > 0, inside - 0.5, 0.5 - outside)
    return np.asarray(signed[1:-1, 1:-1], dtype=np.float64)
