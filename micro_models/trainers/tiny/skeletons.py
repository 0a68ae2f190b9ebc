"""The key points of found objects: where the object tells them, moved to the peak that is there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from micro_models.regions import Floats, Keypoints
from micro_models.trainers.tiny.peaks import Peaks
from micro_models.trainers.tiny.spec import Spec

# How far the peak may be from where the object tells it, in parts of its longer side, and in cells.
# The peak of a lone object cannot be another's.
_REACH, _LONE_REACH, _LEAST_REACH = 0.35, 1.25, 2.0
# A lower peak is noise: the object's word counts alone.
_LEAST_PEAK = 0.1
# In cells; a network that is not trained yet may say anything.
_FAR = 1e5


def skeleton(found: Peaks, number: int, outputs: Mapping[str, Floats], spec: Spec) -> Keypoints:
    """The key points of one object, in cells; their scores are the heights of their peaks.

    Source of the idea: G. Papandreou et al., PersonLab (ECCV 2018), arxiv.org/abs/1803.08225.
    """
    index, row, column = found.index[number], found.row[number], found.column[number]
    first = spec.point_channel(int(index))
    count = spec.located[index].points
    told = np.nan_to_num(outputs["point_offset"][2 * first : 2 * (first + count), row, column])
    points = told.reshape(count, 2).clip(-_FAR, _FAR) + np.array([column + 0.5, row + 0.5])
    part = _LONE_REACH if spec.most_objects == 1 else _REACH
    reach = max(part * float(found.sides[number].max()), _LEAST_REACH)
    scores = np.zeros(count, np.float32)
    for at, heat in enumerate(outputs["point_heat"][first : first + count]):
        points[at], scores[at] = _nearest_peak(heat, points[at], reach)
    return Keypoints(points.astype(np.float32), scores.clip(0, 1))


def _nearest_peak(heat: Floats, told: Floats, reach: float) -> tuple[Floats, float]:
    """A high peak near the told place, and its height; the place itself if there is none."""
    (height, width), (x, y) = heat.shape, told.tolist()
    left, right = (min(max(round(x + way), 0), width) for way in (-reach, reach))
    top, bottom = (min(max(round(y + way), 0), height) for way in (-reach, reach))
    if left >= right or top >= bottom:
        return told, 0.0
    part = np.nan_to_num(heat[top:bottom, left:right])
    away_x = np.arange(left, right) + 0.5 - x
    away_y = np.arange(top, bottom) + 0.5 - y
    nearness = np.exp(-(away_x[None, :] ** 2 + away_y[:, None] ** 2) / (2 * (reach / 2) ** 2))
    row, column = np.unravel_index(int((part * nearness).argmax()), part.shape)
    peak = float(part[row, column])
    if peak < _LEAST_PEAK:
        return told, peak
    row, column = int(row) + top, int(column) + left
    dx = _between(heat[row, max(column - 1, 0) : column + 2])
    dy = _between(heat[max(row - 1, 0) : row + 2, column])
    return np.array([column + 0.5 + dx, row + 0.5 + dy]), peak


def _between(values: Floats) -> float:
    """Where, -0.5..0.5 from the middle one of three values, a normal curve through them peaks.

    Source: F. Zhang et al., Distribution-Aware Coordinate Representation (CVPR 2020),
    arxiv.org/abs/1910.06278.
    """
    if len(values) < 3:
        return 0.0
    before, here, after = np.log(np.maximum(np.nan_to_num(values), 1e-6)).tolist()
    bend = before - 2 * here + after
    return min(max((before - after) / (2 * bend), -0.5), 0.5) if bend < -1e-6 else 0.0
