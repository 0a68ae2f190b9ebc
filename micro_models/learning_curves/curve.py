"""From measured points to a curve that goes beyond them, with an interval that means it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from micro_models.learning_curves.families import Family, Floats, families
from micro_models.learning_curves.points import Point

LEAST_POINTS = 3
# Of the interval: so many of what is measured later lie in it.
LEVEL = 0.8
# Tuned on other data sets than those reported, see examples/learning_curve_benchmark.py --tune:
# so much of the forecast's standard deviation, which is too cautious, holds; so many times counts
# the last point's variance, for points share what they are tested on; and what 80% asks for.
_CALIBRATED, _SHARED, _NORMAL = 0.45, 1.1, 1.2816
# No curve is of exactly these families: so much are scores off at the last size, more before it.
_MISFIT, _LEAST_MISFIT, _AGE = 0.05, 0.003, 1.5
# Floors of the error that are considered, from none to the best that was measured.
_FLOORS = 16
# The last points that are predicted by those before them, to see which family does that well.
_HELD_OUT = 3
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Forecast:
    """Expected scores (m,), 0..1, at so many `labels` (m,), and the 80% interval around them.

    `deviation` (m,) is one standard deviation of what may come.
    """

    labels: Floats
    score: Floats
    low: Floats
    high: Floats
    deviation: Floats


@dataclass(frozen=True, eq=False)
class _Part:
    """A family's hypotheses: `weight` (rows,), sum over all parts 1; errors and their variance."""

    family: Family
    rows: Floats  # (rows, parameters)
    weight: Floats
    floor: Floats
    amplitude: Floats
    variance: Floats


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """What is known of how scores grow with labels. `weights`: of each family, by name, sum 1."""

    points: tuple[Point, ...]
    weights: dict[str, float]
    parts: tuple[_Part, ...]

    def forecast(self, labels: ArrayLike) -> Forecast:
        """What models of so many labels, (m,) or one number, can be expected to score.

        The interval is calibrated for four times the labels measured; nearer it is narrower,
        further it widens with the doubt about the family.
        """
        sizes = np.atleast_1d(np.asarray(labels, np.float64))
        times = sizes / self.points[-1].labels
        shapes = [part.family.shape(times, part.rows) for part in self.parts]
        errors = [
            part.floor[:, None] + part.amplitude[:, None] * shape
            for part, shape in zip(self.parts, shapes, strict=True)
        ]
        mean = sum(
            (part.weight @ error for part, error in zip(self.parts, errors, strict=True)),
            np.zeros(len(sizes)),
        )
        variance = np.full(
            len(sizes), self.points[-1].error ** 2 + _misfit(1 - self.points[-1].score) ** 2
        )
        for part, shape, error in zip(self.parts, shapes, errors, strict=True):
            variance += part.weight @ ((error - mean) ** 2 + shape**2 * part.variance[:, None])
        shared = _SHARED * self.points[-1].error ** 2
        score, deviation = (1 - mean).clip(0, 1), np.sqrt(_CALIBRATED**2 * variance + shared)
        half = _NORMAL * deviation
        low, high = (score - half).clip(0, 1), (score + half).clip(0, 1)
        return Forecast(sizes, score, low, high, deviation)


def fit_curve(points: Sequence[Point]) -> LearningCurve:
    """The curve through at least `LEAST_POINTS` points, in any order.

    Every family is fitted to all points, weighted by their errors and less the smaller they are;
    families then count by how probable they had held the last points, given those before. What is
    beyond is the mean over all. Source: see `families`.

    >>> rising = [Point(n, 1 - 1.2 * n**-0.5, 0.01) for n in (8, 16, 32, 64)]
    >>> curve = fit_curve(rising)
    >>> told = curve.forecast(256)
    >>> bool(told.low[0] < 1 - 1.2 * 256**-0.5 < told.high[0])
    True
    """
    some = tuple(sorted(points, key=lambda one: one.labels))
    if len({one.labels for one in some}) < max(LEAST_POINTS, len(some)):
        raise ValueError(
            f"a curve needs {LEAST_POINTS} points or more, each of another number of labels"
        )
    logs, parts = [], []
    for family in families():
        parts.append(_fitted(family, some))
        logs.append(_held_out_log(family, some))
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    return LearningCurve(
        some,
        {part.family.name: float(w) for part, w in zip(parts, weights, strict=True)},
        tuple(_kept(part, float(w)) for part, w in zip(parts, weights, strict=True)),
    )


def _fitted(family: Family, points: Sequence[Point]) -> _Part:
    """The posterior over the family's grid; of each hypothesis the best amplitude, not below 0."""
    times, error, variance = _numbers(points)
    precision = 1 / variance
    best = max(float(error[-3:].min()), 1e-6)
    floors = np.linspace(0, best, _FLOORS) if family.has_floor else np.zeros(1)
    shapes = family.shape(times, family.grid)  # (rows, n)
    information = (shapes**2 * precision).sum(axis=1)  # (rows,)
    above = error - floors[:, None]  # (floors, n)
    amplitude = (((above * precision) @ shapes.T) / information).clip(min=0)  # (floors, rows)
    off = above[:, None] - amplitude[:, :, None] * shapes
    log = -0.5 * (off**2 * precision).sum(axis=2) + np.log(family.prior)
    weight = np.exp(log - log.max())
    count = len(floors)
    return _Part(
        family,
        np.tile(family.grid, (count, 1)),
        (weight / weight.sum()).ravel(),
        np.repeat(floors, len(family.grid)),
        amplitude.ravel(),
        np.tile(1 / information, count),
    )


def _held_out_log(family: Family, points: Sequence[Point]) -> float:
    """How probable the last point was, as a logarithm, by the points before it, fewer each time."""
    total = 0.0
    for count in range(max(LEAST_POINTS, len(points) - _HELD_OUT), len(points)):
        part = _fitted(family, points[:count])
        times = np.array([points[-1].labels / points[count - 1].labels])
        values = family.shape(times, part.rows)[:, 0]
        errors = part.floor + part.amplitude * values
        mean = float(part.weight @ errors)
        variance = float(part.weight @ ((errors - mean) ** 2 + values**2 * part.variance))
        variance += points[-1].error ** 2 + _misfit(1 - points[-1].score) ** 2
        total -= 0.5 * ((1 - points[-1].score - mean) ** 2 / variance + float(np.log(variance)))
    return total


def _numbers(points: Sequence[Point]) -> tuple[Floats, Floats, Floats]:
    """Sizes in multiples of the last, errors, and the variances that they are weighted by."""
    times = np.array([one.labels for one in points], np.float64) / points[-1].labels
    error = np.array([1 - one.score for one in points])
    noise = np.array([one.error for one in points])
    return times, error, (noise**2 + _misfit(error[-1]) ** 2) / times**_AGE


def _misfit(error: float) -> float:
    """How far a curve may be off its family: the less, the smaller the errors are."""
    return max(_MISFIT * error, _LEAST_MISFIT)


def _kept(part: _Part, weight: float) -> _Part:
    """With its share of all, without hypotheses that do not count."""
    keep = part.weight >= min(_LEAST_WEIGHT, float(part.weight.max()))
    kept = part.weight[keep]
    return _Part(
        part.family,
        part.rows[keep],
        weight * kept / kept.sum(),
        part.floor[keep],
        part.amplitude[keep],
        part.variance[keep],
    )
