"""Whether choosing images is better than drawing them by lot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """Shares 0..1 of images whose answer had to be corrected, and what the difference says.

    `chosen` and `random`: of those that the strategy chose and of those drawn by lot, None without
    any; `probability` 0..1 that the strategy finds images to correct more often than the lot.
    """

    chosen: float | None
    random: float | None
    probability: float


def compare(corrected: Sequence[bool], random: Sequence[bool]) -> Guard:
    """Tell from labelled images whether the strategy finds more to correct than the lot does.

    Both are per image: whether the model's answer had to be corrected, and whether the image was
    drawn by lot. The probability is that of one Beta variable exceeding another, the priors being
    uniform: 0.5 before anything is known. Around it or below, draw more images by lot.
    Source: E. Miller, Formulas for Bayesian A/B Testing (2014), equation 6.

    >>> guard = compare([True, True, True, False, False], [False, False, False, True, True])
    >>> guard.chosen, guard.random, round(guard.probability, 3)
    (1.0, 0.0, 0.971)
    """
    chosen = [need for need, lot in zip(corrected, random, strict=True) if not lot]
    lots = [need for need, lot in zip(corrected, random, strict=True) if lot]
    exceeds = _exceeds(
        1 + sum(chosen), 1 + chosen.count(False), 1 + sum(lots), 1 + lots.count(False)
    )
    return Guard(_share(chosen), _share(lots), exceeds)


def _share(needs: list[bool]) -> float | None:
    return sum(needs) / len(needs) if needs else None


def _exceeds(a: int, b: int, c: int, d: int) -> float:
    """P(X > Y) for X ~ Beta(a, b) and Y ~ Beta(c, d)."""
    return math.fsum(
        math.exp(_log_beta(c + i, b + d) - math.log(b + i) - _log_beta(1 + i, b) - _log_beta(c, d))
        for i in range(a)
    )


def _log_beta(a: int, b: int) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
