"""How many labels are really wrong, from a reviewer's answers and known cases among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.review.nouns import Tally

_DRAWS = 20_000
_LEVEL = 0.95
Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A share 0..1 with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_percent(self.value)} ({_percent(self.low)} to {_percent(self.high)})"


@dataclass(frozen=True)
class Estimate:
    """Shares of answers that are false, and of the `real` suspects answered those truly wrong.

    Each is None where nothing tells it: no known case of its kind was answered, or the answers
    hold no more truth than a coin.
    """

    real: int
    called_wrong: int
    false_yes: Share | None
    false_no: Share | None
    truly_wrong: Share | None

    @property
    def errors(self) -> tuple[float, float, float] | None:
        """How many labels are truly wrong among the suspects answered, and the 95% interval."""
        if self.truly_wrong is None:
            return None
        share = self.truly_wrong
        return self.real * share.value, self.real * share.low, self.real * share.high


def estimate(tally: Tally, *, rng: np.random.Generator) -> Estimate:
    """What a tally tells: shares with 95% intervals, corrected for the reviewer's own mistakes.

    An observed share p of "wrong" is pi (1 - b) + (1 - pi) a, where a are the false yes and b the
    false no: solved for pi (W. Rogan, B. Gladen, Estimating prevalence from the results of a
    screening test, 1978). Intervals are those of a, b and p drawn from their posteriors under
    Jeffreys' prior; draws in which answers say nothing (a + b >= 1) do not count.

    >>> found = estimate(Tally(40, 30, 10, 1, 10, 0), rng=np.random.default_rng(0))
    >>> round(found.truly_wrong.value, 2)
    0.72
    """
    false_yes = _draws(tally.false_yes, tally.known_right, rng)
    false_no = _draws(tally.false_no, tally.known_wrong, rng)
    observed = _draws(tally.called_wrong, tally.real, rng)
    truly_wrong = None
    if tally.real and tally.known_right and tally.known_wrong:
        a, b = tally.false_yes / tally.known_right, tally.false_no / tally.known_wrong
        telling = false_yes + false_no < 1
        if a + b < 1 and telling.mean() >= _LEVEL:
            drawn = _corrected(observed[telling], false_yes[telling], false_no[telling])
            value = _corrected(tally.called_wrong / tally.real, a, b)
            truly_wrong = _share(float(value), drawn)
    return Estimate(
        tally.real,
        tally.called_wrong,
        _share(tally.false_yes / tally.known_right, false_yes) if tally.known_right else None,
        _share(tally.false_no / tally.known_wrong, false_no) if tally.known_wrong else None,
        truly_wrong,
    )


def _draws(count: int, of: int, rng: np.random.Generator) -> Draws:
    return rng.beta(count + 0.5, of - count + 0.5, _DRAWS)


def _corrected(observed: Draws | float, false_yes: Draws | float, false_no: Draws | float) -> Draws:
    shares = (np.asarray(observed) - false_yes) / (1 - np.asarray(false_yes) - false_no)
    return np.clip(shares, 0.0, 1.0)


def _share(value: float, draws: Draws) -> Share:
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    # Jeffreys' interval ends a little inside of what nobody can rule out.
    return Share(value, min(float(low), value), max(float(high), value))


def _percent(share: float) -> str:
    return f"{share * 100:.0f}%"
