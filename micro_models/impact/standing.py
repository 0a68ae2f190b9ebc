"""How many of a model's mistakes people leave standing once they are shown them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micro_models.impact.trial import Doubles
from micro_models.regions import Bools

_ROUNDS = 2_000
_FEWEST = 5  # blind tasks; an interval of fewer means nothing


@dataclass(frozen=True)
class Standing:
    """`share` of the model's mistakes left standing, 0 none, 1 all; between `low` and `high`.

    `blind_rate`: mistakes a task by the labels of people who did not see what the model says,
    `shown_rate`: by the labels of people who did; a mistake that they leave is none by their
    labels. Below 0: by chance, or shown answers are contradicted more. `blind`, `shown`: tasks.
    """

    share: float
    low: float
    high: float
    blind_rate: float
    shown_rate: float
    blind: int
    shown: int


def left_standing(
    mistakes: Doubles, blind: Bools, *, rng: np.random.Generator, confidence: float = 0.95
) -> Standing | None:
    """From (t,) how often the model contradicts a task's labels, and (t,) whether it was blind.

    The lot sees to it that both kinds are equally hard, so without any influence both rates would
    be the same: what is lacking among those shown was left standing. The interval is a percentile
    bootstrap over tasks. Source: B. Efron, Bootstrap methods: another look at the jackknife (1979).
    None with fewer than 5 tasks of a kind, or where the model makes no mistake in blind ones.

    >>> mistakes = np.array([1, 2, 1, 0, 1, 1] * 4 + [1, 0, 0, 1, 1, 0] * 40, float)
    >>> found = left_standing(mistakes, np.arange(264) < 24, rng=np.random.default_rng(0))
    >>> round(found.share, 2), found.low > 0.2
    (0.5, True)
    """
    counts, is_blind = np.asarray(mistakes, np.float64), np.asarray(blind, np.bool_)
    theirs, ours = counts[is_blind], counts[~is_blind]
    if min(len(theirs), len(ours)) < _FEWEST or theirs.sum() == 0:
        return None
    drawn = 1 - _means(ours, rng) / np.maximum(_means(theirs, rng), 1e-9)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Standing(
        share=float(1 - ours.mean() / theirs.mean()),
        low=float(low),
        high=float(high),
        blind_rate=float(theirs.mean()),
        shown_rate=float(ours.mean()),
        blind=len(theirs),
        shown=len(ours),
    )


def _means(values: Doubles, rng: np.random.Generator) -> Doubles:
    """Means of as many values, drawn anew; how often each value comes is drawn at once."""
    found, many = np.unique(values, return_counts=True)
    drawn = rng.multinomial(len(values), many / len(values), size=_ROUNDS)
    result: Doubles = drawn @ found / len(values)
    return result
