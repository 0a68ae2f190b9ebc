"""Families of learning curves: how the error falls with the number of labels.

An error is `floor + amplitude * shape(labels)`, the shape falling from about 1 at the last measured
size. Families differ in the shape and in whether there is a floor. Their parameters lie on a grid
with a prior, so that a fit is a sum over hypotheses: no optimiser, no start value, no failure.

Sources: T. Viering, M. Loog, The Shape of Learning Curves: a Review (2022), which compares these
and more; T. Domhan et al., Speeding up Automatic Hyperparameter Optimization by Extrapolation of
Learning Curves (2015), for the average over families.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """One family: `grid` holds its shapes' parameters, a row each, with `prior` (rows,), sum 1.

    `shape` takes (m,) sizes in multiples of the last one and (rows, parameters), gives (rows, m).
    """

    name: str
    has_floor: bool
    grid: Floats
    prior: Floats
    shape: Callable[[Floats, Floats], Floats]


def families() -> tuple[Family, ...]:
    """Power law without and with a floor, with a late start; exponential; and no change any more.

    Exponents are most likely near 0.4, as measured curves have them; a curve with a late start is
    flat until about `start` times the last size.

    >>> power = families()[0]
    >>> power.shape(np.array([1.0, 4.0]), np.array([[0.5]])).tolist()
    [[1.0, 0.5]]
    >>> [one.name for one in families()]
    ['power', 'power + floor', 'late power + floor', 'exponential', 'level']
    """
    exponents = np.linspace(0.05, 2.0, 30, dtype=np.float64)[:, None]
    usual = _log_normal(exponents[:, 0], middle=0.41, spread=0.7)
    steep = np.linspace(0.1, 3.0, 24, dtype=np.float64)
    late = np.array([(start, exponent) for start in (0.1, 0.3, 1.0) for exponent in steep])
    paces = np.geomspace(1 / 8, 4, 20, dtype=np.float64)[:, None]
    return (
        Family("power", False, exponents, usual, _power),  # noqa: FBT003
        Family("power + floor", True, exponents, usual, _power),  # noqa: FBT003
        Family(
            "late power + floor",
            True,  # noqa: FBT003
            late,
            _log_normal(late[:, 1], middle=0.61, spread=0.8),
            _late_power,
        ),
        Family("exponential", True, paces, np.full(20, 1 / 20), _exponential),  # noqa: FBT003
        Family("level", False, np.zeros((1, 1)), np.ones(1), _level),  # noqa: FBT003
    )


def _power(times: Floats, rows: Floats) -> Floats:
    return np.asarray(times**-rows)


def _late_power(times: Floats, rows: Floats) -> Floats:
    start, exponent = rows[:, :1], rows[:, 1:]
    return np.asarray(((times + start) / (1 + start)) ** -exponent)


def _exponential(times: Floats, rows: Floats) -> Floats:
    return np.asarray(np.exp(-(times - 1) / rows))


def _level(times: Floats, rows: Floats) -> Floats:
    return np.ones((len(rows), len(times)))


def _log_normal(values: Floats, *, middle: float, spread: float) -> Floats:
    density = np.exp(-0.5 * ((np.log(values) - np.log(middle)) / spread) ** 2) / values
    return np.asarray(density / density.sum())
