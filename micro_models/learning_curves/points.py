"""Measured points of a learning curve: what models of so many labels scored on others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """The mean `score`, 0..1 and higher = better, of models of `labels` labels.

    `error` is the standard error of that mean; `draws`: of how many models it is.
    """

    labels: int
    score: float
    error: float
    draws: int = 1

    def __post_init__(self) -> None:
        if self.labels < 1 or not 0 <= self.score <= 1 or not self.error >= 0:
            raise ValueError(f"no point of a learning curve: {self}")


def points(scores: Iterable[tuple[int, float]], *, near: float = 0.15) -> tuple[Point, ...]:
    """(labels, score) of single models -> a point for each size, ascending.

    Sizes that differ by less than the part `near` are one. How much scores of one size differ is
    rough where there are few of them: half of a point's variance is its own, half the usual one.

    >>> [(one.labels, one.score) for one in points([(10, 0.5), (10, 0.7), (20, 0.8), (20, 0.8)])]
    [(10, 0.6), (20, 0.8)]
    """
    groups = _groups(scores, near)
    known = [np.var(some, ddof=1) for _, some in groups if len(some) > 1]
    usual = float(np.median(known)) if known else _binomial(groups)
    found = []
    for labels, some in groups:
        own = float(np.var(some, ddof=1)) if len(some) > 1 else usual
        error = np.sqrt((own + usual) / 2 / len(some))
        found.append(
            Point(labels, round(float(np.mean(some)), 6), round(float(error), 4), len(some))
        )
    return tuple(found)


def _groups(scores: Iterable[tuple[int, float]], near: float) -> list[tuple[int, list[float]]]:
    by_size: defaultdict[int, list[float]] = defaultdict(list)
    for labels, score in scores:
        by_size[labels].append(score)
    groups: list[tuple[list[int], list[float]]] = []
    for labels in sorted(by_size):
        if groups and labels < groups[-1][0][0] * (1 + near):
            groups[-1][0].extend([labels] * len(by_size[labels]))
            groups[-1][1].extend(by_size[labels])
        else:
            groups.append(([labels] * len(by_size[labels]), list(by_size[labels])))
    return [(round(float(np.exp(np.mean(np.log(sizes))))), some) for sizes, some in groups]


def _binomial(groups: list[tuple[int, list[float]]]) -> float:
    """Of one draw of each size nothing tells how they differ: as if each were tested on 20."""
    means = [float(np.mean(some)) for _, some in groups]
    return float(np.mean([max(one * (1 - one), 0.01) for one in means])) / 20 if means else 0.0
