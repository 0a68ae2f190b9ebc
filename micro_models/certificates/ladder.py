"""Thresholds from strict to loose, and what lies above each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.certificates.nouns import Audit
from micro_models.certificates.risk import Counts, Values

# More steps cost time and gain nothing: a step is then a quarter of a percent of the pool.
_STEPS = 400


@dataclass(frozen=True, eq=False)
class Ladder:
    """(n,) `thresholds`, falling, and how many lie at each or above: tasks, audits, wrong audits.

    `total` counts the tasks of the pool and the audits together, of which the audits are a lot.
    """

    thresholds: Values
    total: Counts
    audited: Counts
    errors: Counts

    @property
    def share(self) -> Values:
        """(n,) the share of all tasks, 0..1, at or above each threshold; ends with 1."""
        return np.asarray(self.total / self.total[-1], np.float64)


def ladder(audits: Sequence[Audit], pool: Sequence[float]) -> Ladder:
    """The quantiles of all scores, and the counts above them; thresholds see no verdict.

    Needs a score at least. Equal scores are never parted.

    >>> steps = ladder([Audit(0.9, wrong=False), Audit(0.5, wrong=True)], [0.8, 0.5, 0.2])
    >>> steps.thresholds.tolist(), steps.total.tolist(), steps.errors.tolist()
    ([0.9, 0.8, 0.5, 0.2], [1, 2, 4, 5], [0, 0, 1, 1])
    """
    checks = np.array([audit.score for audit in audits], np.float64)
    wrong = np.array([audit.wrong for audit in audits], np.bool_)
    scores = np.sort(np.concatenate([checks, np.asarray(pool, np.float64)]))[::-1]
    if not np.isfinite(scores).all():
        raise ValueError("scores have to be finite")
    places = np.linspace(0, len(scores) - 1, min(_STEPS, len(scores))).round().astype(int)
    thresholds = np.unique(scores[places])[::-1]
    return Ladder(
        thresholds,
        _at_or_above(scores, thresholds),
        _at_or_above(checks, thresholds),
        _at_or_above(checks[wrong], thresholds),
    )


def _at_or_above(scores: Values, thresholds: Values) -> Counts:
    below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return (len(scores) - below).astype(np.int64)
