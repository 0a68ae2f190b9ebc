"""Read off a learning curve: labels for a target, and where two curves cross."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micro_models.learning_curves.curve import LearningCurve
from micro_models.learning_curves.families import Floats

# Of what was measured; nobody knows how curves go on beyond.
MOST_TIMES = 16.0
_STEPS = 400
# One is called better than the other where that is as probable as this.
_SURE = 0.8


@dataclass(frozen=True)
class Needed:
    """How many labels a target takes: `likely`, and the ends of the 80% interval.

    None: more than `beyond`, which is as far as the curve can be followed.
    """

    least: int | None
    likely: int | None
    most: int | None
    beyond: int


def labels_needed(curve: LearningCurve, target: float) -> Needed:
    """For a score, 0..1, of `target`; from one label on, up to 16 times as many as were measured.

    >>> from micro_models.learning_curves import Point, fit_curve
    >>> rising = [Point(n, 1 - 1.2 * n**-0.5, 0.005) for n in (8, 16, 32, 64, 128)]
    >>> needed = labels_needed(fit_curve(rising), 0.92)
    >>> needed.least <= needed.likely <= needed.most, 180 < needed.likely < 280
    (True, True)
    """
    sizes = _sizes(curve.points[0].labels, curve.points[-1].labels)
    told = curve.forecast(sizes)
    return Needed(
        _first(sizes, told.high >= target),
        _first(sizes, told.score >= target),
        _first(sizes, told.low >= target),
        round(float(sizes[-1])),
    )


@dataclass(frozen=True)
class Reach:
    """What more labels alone can bring: the score, 0..1, of so many `labels`, and its interval."""

    labels: int
    low: float
    score: float
    high: float


def reach(curve: LearningCurve) -> Reach:
    """The best that is in sight: 16 times the labels that were measured.

    >>> from micro_models.learning_curves import Point, fit_curve
    >>> level = [Point(n, 0.7, 0.005) for n in (8, 16, 32, 64)]
    >>> bool(reach(fit_curve(level)).score < 0.75)
    True
    """
    labels = round(MOST_TIMES * curve.points[-1].labels)
    told = curve.forecast(labels)
    return Reach(labels, float(told.low[0]), float(told.score[0]), float(told.high[0]))


@dataclass(frozen=True)
class Crossing:
    """Where the better of two curves becomes the worse one: at about `labels`.

    `low` and `high`: there it is 20% and 80% probable that it has; None: not seen within reach.
    `rising` is the index, 0 or 1, of the curve that is better beyond.
    """

    labels: int
    low: int | None
    high: int | None
    rising: int


def crossing(first: LearningCurve, second: LearningCurve, *, after: int = 1) -> Crossing | None:
    """The first crossing at more than `after` labels, up to 16 times those measured of both.

    None if the expected scores do not cross there.

    >>> from micro_models.learning_curves import Point, fit_curve
    >>> quick = [Point(n, 0.8 - 0.5 * n**-0.5, 0.005) for n in (8, 16, 32, 64)]
    >>> thorough = [Point(n, 1 - 1.6 * n**-0.4, 0.005) for n in (8, 16, 32, 64)]
    >>> found = crossing(fit_curve(quick), fit_curve(thorough))
    >>> found.rising, 60 < found.labels < 200
    (1, True)
    """
    last = min(first.points[-1].labels, second.points[-1].labels)
    start = max(first.points[0].labels, second.points[0].labels, after)
    sizes = _sizes(start, max(last, start / MOST_TIMES + 1))
    one, other = first.forecast(sizes), second.forecast(sizes)
    ahead = other.score - one.score
    deviation = np.hypot(one.deviation, other.deviation)
    before = math.copysign(1.0, float(ahead[0]))
    changed = np.flatnonzero(ahead * before < 0)
    if not len(changed):
        return None
    at = int(changed[0])
    overtaken = _normal(-before * ahead / np.maximum(deviation, 1e-9))
    low = _last(sizes[: at + 1], overtaken[: at + 1] <= 1 - _SURE)
    return Crossing(
        round(float(sizes[at])),
        low,
        _first(sizes[at:], overtaken[at:] >= _SURE),
        1 if before < 0 else 0,
    )


def _sizes(first: float, last: float) -> Floats:
    return np.geomspace(first, max(MOST_TIMES * last, first + 1), _STEPS, dtype=np.float64)


def _first(sizes: Floats, is_so: NDArray[np.bool_]) -> int | None:
    at = np.flatnonzero(is_so)
    return math.ceil(float(sizes[at[0]]) - 1e-6) if len(at) else None


def _last(sizes: Floats, is_so: NDArray[np.bool_]) -> int | None:
    at = np.flatnonzero(is_so)
    return math.floor(float(sizes[at[-1]]) + 1e-6) if len(at) else None


def _normal(values: Floats) -> Floats:
    """The standard normal's distribution function."""
    return np.array([0.5 * (1 + math.erf(float(one) / math.sqrt(2))) for one in values])
