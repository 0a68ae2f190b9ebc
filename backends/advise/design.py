"""Which trainings show how quality grows with labels: nested subsets, several draws of each size.

Each draw holds out another part of the labels, and orders the rest by lot; its subsets are the
first labels of that order, so that the smaller ones are parts of the larger. The parts do not
overlap: all draws together test on as many labels as there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backends.advise.nouns import Measured, Run
from micro_models.examples import Example
from micro_models.fitting.folds import folds, held_out

# With fewer there is no curve: the smallest subset has three labels, and four sizes are needed.
LEAST_LABELS = 12
LEAST_SIZES = 4
_PARTS, _LEAST_SIZE, _MOST_SIZES = 4, 3, 6
# Each size of the next larger one; where there is little time, sizes are further apart.
_NEAR_STEP, _FAR_STEP = 0.6, 0.5
# Of the budget, for reading pictures and looking at those held out.
_TRAINING = 0.8
# How long the quick family may take, and the thorough one: few values, so that a budget that is a
# little different makes the same trainings, and what was measured before can be used again.
_QUICK_S = 3.0
_SECONDS = (3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 45.0)
_ENOUGH_S = 8.0
# Sizes so near each other are one point of the curve.
_NEAR = 0.15


@dataclass(frozen=True)
class Design:
    """What to measure, the most telling first; how long each family's trainings may take."""

    runs: tuple[Run, ...]
    budgets_s: Mapping[str, float]

    def fits(self, one: Measured) -> bool:
        """Whether it was measured by a training that could take as long."""
        return self.budgets_s.get(one.family) == one.budget_s


def sizes(most: int, *, least: int = _LEAST_SIZE, step: float = _NEAR_STEP) -> tuple[int, ...]:
    """Sizes of subsets of at most `most` labels, ascending, each `step` of the next.

    Where that makes too few for a curve, they are nearer to each other.

    >>> sizes(22), sizes(24, step=0.5), sizes(9)
    ((3, 5, 8, 13, 22), (3, 6, 12, 24), (3, 4, 6, 9))
    """
    found = [most]
    while len(found) < _MOST_SIZES and round(found[-1] * step) >= least:
        found.append(round(found[-1] * step))
    if len(found) < LEAST_SIZES and most >= least:
        found = [round(float(one)) for one in np.geomspace(most, least, LEAST_SIZES)]
    return tuple(sorted(set(found)))


def design(
    examples: Sequence[Example],
    families: Sequence[str],
    *,
    budget_s: float,
    known: Sequence[Measured] = (),
) -> Design:
    """What is to be measured within `budget_s` in all, beside what is `known` and still valid.

    `families`: the quick one first, the thorough one last. The same examples, budget and nothing
    known give the same design.
    """
    orders = [_order(examples, part, draw) for draw, part in enumerate(_parts(examples))]
    most = min(len(order) for order, _ in orders)
    kinds = len({label for one in examples for label in one.labels})
    least = max(_LEAST_SIZE, min(kinds, most // 4))
    wanted = sizes(most, least=least)
    draws, each_s = _spent(len(wanted), len(families), budget_s)
    if each_s < _ENOUGH_S:
        wanted = sizes(most, least=least, step=_FAR_STEP)
        draws, each_s = _spent(len(wanted), len(families), budget_s)
    lasting = _lasting([one for one in known if one.family == families[-1]])
    if lasting is not None and 0.5 <= lasting / each_s <= 2:
        each_s = lasting
    budgets = {**dict.fromkeys(families, _QUICK_S), families[-1]: each_s}
    runs = [
        Run(family, draw, order[:size], part)
        for draw, (order, part) in enumerate(orders[:draws])
        for size in wanted
        for family in families
    ]
    made = Design((), budgets)
    return Design(tuple(_lacking(runs, [one for one in known if made.fits(one)])), budgets)


def _parts(examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """What each draw holds out; of very many labels some, evenly spread."""
    return [held_out(group) for group in folds(examples, count=_PARTS)]


def _order(
    examples: Sequence[Example], part: Sequence[int], draw: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The labels that are not held out, by lot, one of each kind first; and those held out."""
    rng = np.random.default_rng([draw, len(examples)])
    away = set(part)
    rest = [n for n in rng.permutation(len(examples)).tolist() if n not in away]
    first: dict[str, int] = {}
    for n in rest:
        for label in examples[n].labels:
            first.setdefault(label, n)
    front = dict.fromkeys(first.values())
    return (*front, *(n for n in rest if n not in front)), tuple(part)


def _spent(sizes_: int, families: int, budget_s: float) -> tuple[int, float]:
    """How many draws, and how long a thorough training may take: rather time than many draws."""
    for draws in range(_PARTS, 1, -1):
        each_s = _TRAINING * budget_s / (sizes_ * draws) - (families - 1) * _QUICK_S
        if each_s >= _ENOUGH_S:
            break
    return draws, max((one for one in _SECONDS if one <= each_s), default=_SECONDS[0])


def _lasting(known: Sequence[Measured]) -> float | None:
    """How long most of what is known could train."""
    times = [one.budget_s for one in known]
    return max(set(times), key=lambda one: (times.count(one), one)) if times else None


def _lacking(wanted: Sequence[Run], known: Sequence[Measured]) -> Iterator[Run]:
    """What is not known yet, however it was drawn: as many of a size as are wanted of it."""
    left = list(known)
    for one in wanted:
        near = (
            other
            for other in left
            if other.family == one.family and abs(other.size / one.size - 1) <= _NEAR
        )
        if (found := next(near, None)) is not None:
            left.remove(found)
        else:
            yield one
