"""How many times as fast people are with predictions, whatever pauses they take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from micro_models.impact.trial import Doubles, Trial

_EXACT = 2e-5  # of a logarithm: two thousandths of a percent of the ratio


@dataclass(frozen=True)
class SpeedUp:
    """Time without predictions over time with them: 2 is twice as fast, below 1 slower.

    `low` and `high` hold the true one with the `confidence` asked for; 0 and inf where the data do
    not bound it. `blind`, `shown`: annotations of each kind; `blind_s`, `shown_s`: their medians.
    `spread`: the standard deviation of the logarithm of one person's times, whatever the outliers.
    `ratio` is None where no person has annotated both kinds.
    """

    ratio: float | None
    low: float
    high: float
    confidence: float
    blind: int
    shown: int
    blind_s: float | None
    shown_s: float | None
    spread: float | None

    @property
    def is_known(self) -> bool:
        """Whether chance alone does not explain it."""
        return self.ratio is not None and not self.low <= 1.0 <= self.high


def speed_up(trial: Trial, seconds: Doubles, *, confidence: float = 0.95) -> SpeedUp:
    """The ratio of the times, (n,) seconds above 0, of blind annotations to those of others.

    It is the factor by which all blind times have to be divided until the ranks of the two kinds,
    each time taken relative to its annotator's median, no longer differ; the interval holds the
    factors that the lot does not refute. So neither slow people nor a lunch break move it far.
    Source: J. L. Hodges and E. L. Lehmann, Rank methods for combination of independent experiments
    (1962), the aligned-rank test; its variance is that of drawing whole tasks.
    Errors: ValueError for times of 0 or less.

    >>> trial = Trial(range(40), [i % 2 for i in range(40)], [i % 4 < 2 for i in range(40)])
    >>> times = [(20 + i) * (3 if i % 2 else 1) * (1.5 if i % 4 < 2 else 1) for i in range(40)]
    >>> found = speed_up(trial, np.array(times, float))
    >>> round(found.ratio, 1), found.is_known
    (1.4, True)
    """
    times = np.asarray(seconds, np.float64)
    if len(times) != len(trial) or not (times > 0).all():
        raise ValueError("each annotation needs a time above 0 s")
    both = trial.of_both()
    some, logs = trial.only(both), np.log(times[both])
    ratio: float | None = None
    low, high, spread = 0.0, math.inf, None
    if len(some):
        z = NormalDist().inv_cdf(0.5 + confidence / 2)
        reach = float(np.ptp(logs)) + 1.0
        middle = _crossing(lambda shift: _lean(some, logs, shift), 0.0, reach)
        ratio = math.exp(middle)
        low = math.exp(_crossing(lambda shift: _lean(some, logs, shift), z, reach))
        high = math.exp(_crossing(lambda shift: _lean(some, logs, shift), -z, reach))
        spread = _spread(_aligned(some, logs - middle * some.blind_mask))
    blind = trial.blind_mask
    return SpeedUp(
        ratio,
        low,
        high,
        confidence,
        blind=int(blind.sum()),
        shown=int((~blind).sum()),
        blind_s=_median(times[blind]),
        shown_s=_median(times[~blind]),
        spread=spread,
    )


def _lean(trial: Trial, logs: Doubles, shift: float) -> float:
    """How far the ranks of blind tasks lie above the others', in standard deviations, if their
    times are divided by exp(`shift`).
    """
    ranks = _ranks(_aligned(trial, logs - shift * trial.blind_mask))
    of_tasks = trial.sums(ranks - ranks.mean())
    many, blind = trial.tasks, trial.blind_tasks
    deviation = of_tasks.std() * math.sqrt(blind * (many - blind) / max(many - 1, 1))
    return float(of_tasks[trial.is_blind].sum() / deviation) if deviation > 0 else 0.0


def _crossing(lean: Callable[[float], float], level: float, reach: float) -> float:
    """The shift at which `lean`, which falls, comes down to `level`; -inf or inf if it does not."""
    low, high = -0.5, 0.5
    while lean(low) <= level:
        if low <= -reach:
            return -math.inf
        low, high = max(4 * low, -reach), low
    while lean(high) >= level:
        if high >= reach:
            return math.inf
        low, high = high, min(4 * high, reach)
    while high - low > _EXACT:
        middle = (low + high) / 2
        low, high = (middle, high) if lean(middle) > level else (low, middle)
    return (low + high) / 2


def _aligned(trial: Trial, values: Doubles) -> Doubles:
    """(n,) values less the median of their annotator."""
    result = values.copy()
    for annotator in range(int(trial.of_annotator.max()) + 1):
        own = trial.of_annotator == annotator
        result[own] -= np.median(values[own])
    return result


def _ranks(values: Doubles) -> Doubles:
    """(n,) ranks from 1 on; equal values share theirs. Rounding makes no value differ."""
    _, inverse, counts = np.unique(values.round(9), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    result: Doubles = (last - (counts - 1) / 2)[inverse]
    return result


def _spread(aligned: Doubles) -> float | None:
    """A standard deviation by the median of distances, of what has a middle."""
    return 1.4826 * float(np.median(np.abs(aligned))) or None if len(aligned) > 2 else None


def _median(values: Doubles) -> float | None:
    return float(np.median(values)) if len(values) else None
