"""Whether predictions shift what is labelled: many measures, tested together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from micro_models.impact.trial import Doubles, Ints, Trial

ROUNDS = 2_000
_POWER = 0.8


@dataclass(frozen=True)
class Shift:
    """A measure's mean over blind annotations and over the others.

    `difference`: shown less blind, each person compared with themselves, in [`low`, `high`] with
    95%. `p`: how often the lot alone gives one as large, `p_of_all`: how often it gives one as
    surprising to any of the measures that were tested together. `least`: the smallest difference
    that so many tasks would show in four of five cases.
    """

    name: str
    blind: float
    shown: float
    difference: float
    low: float
    high: float
    p: float
    p_of_all: float
    least: float


def shifts(
    trial: Trial,
    measures: Mapping[str, Doubles],
    *,
    rng: np.random.Generator,
    rounds: int = ROUNDS,
) -> tuple[Shift, ...]:
    """The shift of each measure, (n,) values; NaN where an annotation has none.

    The lot is drawn again `rounds` times over the same tasks, and the largest of all measures'
    differences is kept each time: so a family of measures is wrong about any one of them in 5% of
    cases, however many there are and however they hang together. Measures that are constant, or
    that only blind tasks or only others have, are left out. Source: P. H. Westfall and S. S. Young,
    Resampling-Based Multiple Testing (1993), the single-step max T.

    >>> trial = Trial(range(60), [0] * 60, [i % 3 == 0 for i in range(60)])
    >>> count = np.array([5.0 + i % 2 - (i % 3 == 0) for i in range(60)])
    >>> (found,) = shifts(trial, {"count": count}, rng=np.random.default_rng(0))
    >>> found.difference, found.p < 0.01
    (1.0, True)
    """
    columns = {
        name: column
        for name, values in measures.items()
        if (column := _column(trial, values)) is not None
    }
    if not columns:
        return ()
    residuals = np.stack([column[0] for column in columns.values()], axis=1)  # (t, k)
    counts = np.stack([column[1] for column in columns.values()], axis=1)
    both = np.concatenate([residuals, counts], axis=1)  # (t, 2k)
    in_all = both.sum(axis=0)
    seen = _differences(both, in_all, np.flatnonzero(trial.is_blind))
    lots = (rng.choice(trial.tasks, trial.blind_tasks, replace=False) for _ in range(rounds))
    drawn = np.stack([_differences(both, in_all, lot) for lot in lots])
    spread = drawn.std(axis=0)
    kept = spread > 1e-12
    surprise = np.abs(seen) / np.where(kept, spread, 1.0)
    surprises = np.abs(drawn) / np.where(kept, spread, 1.0)
    largest = surprises[:, kept].max(axis=1, initial=0.0)
    return tuple(
        _shift(
            name,
            trial,
            np.asarray(measures[name], np.float64),
            float(seen[k]),
            float(spread[k]),
            p=_share(surprises[:, k], surprise[k]),
            p_of_all=_share(largest, surprise[k]),
        )
        for k, name in enumerate(columns)
        if kept[k]
    )


def _column(trial: Trial, values: Doubles) -> tuple[Doubles, Doubles] | None:
    """Of each task (t,) the sum of what its values lie above their annotators' means, and how many
    values it has; None if there is nothing to compare.
    """
    numbers = np.asarray(values, np.float64)
    if len(numbers) != len(trial):
        raise ValueError("each annotation needs a value of each measure; NaN for none")
    known = np.isfinite(numbers)
    if not (known & trial.blind_mask).any() or not (known & ~trial.blind_mask).any():
        return None
    filled = np.where(known, numbers, 0.0)
    sums = np.bincount(trial.of_annotator, filled)
    many = np.maximum(np.bincount(trial.of_annotator, known), 1)
    residual = np.where(known, filled - (sums / many)[trial.of_annotator], 0.0)
    return trial.sums(residual), trial.sums(known.astype(np.float64))


def _differences(sums_and_counts: Doubles, in_all: Doubles, blind: Ints) -> Doubles:
    """(k,) the mean of those that are not `blind`, indices of tasks, less that of those that are.

    `sums_and_counts` (t, 2k) are those of each task, `in_all` their sums. A measure that one of
    them has no value of differs by 0.
    """
    of_blind = sums_and_counts[blind].sum(axis=0)
    (sums, many), (rest, others) = np.split(of_blind, 2), np.split(in_all - of_blind, 2)
    differ = rest / np.maximum(others, 1.0) - sums / np.maximum(many, 1.0)
    result: Doubles = np.where((many > 0) & (others > 0), differ, 0.0)
    return result


def _share(drawn: Doubles, seen: float) -> float:
    """How often the lot does as much; the draw that was made counts too."""
    return float((1 + (drawn >= seen - 1e-9).sum()) / (1 + len(drawn)))


def _shift(
    name: str,
    trial: Trial,
    values: Doubles,
    difference: float,
    deviation: float,
    *,
    p: float,
    p_of_all: float,
) -> Shift:
    normal = NormalDist()
    z = normal.inv_cdf(0.975)
    return Shift(
        name,
        blind=float(np.nanmean(values[trial.blind_mask])),
        shown=float(np.nanmean(values[~trial.blind_mask])),
        difference=round(difference, 12),
        low=difference - z * deviation,
        high=difference + z * deviation,
        p=p,
        p_of_all=p_of_all,
        least=(z + normal.inv_cdf(_POWER)) * deviation,
    )
