"""Which trainings show how quality grows with labels: nested subsets, several draws of each size.

Each draw holds out another part of the labels, and orders the rest by lot; its subsets are the
first labels of that order, so that the smaller ones are parts of the larger. The parts do not
overlap: all draws together test on as many labels as there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from backends.advise.nouns import Measured, Run
from micro_models.examples import Example
from micro_models.fitting.folds import folds, held_out

# With fewer there is no curve: the smallest subset has three labels, and four sizes are needed.
LEAST_LABELS = 12
LEAST_SIZES = 4
_PARTS, _LEAST_SIZE = 4, 3
_MOST_SIZES, _STEP = 6, 0.6
# Of the budget, for reading pictures and looking at those held out.
_TRAINING = 0.8
# How long a training may take; few values, so that a budget a little different makes the same ones.
_SECONDS = (3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 45.0)
_ENOUGH_S = 5.0
# Sizes so near each other are one point of the curve.
_NEAR = 0.15


@dataclass(frozen=True)
class Design:
    """What to measure, the most telling first, each training for at most `budget_s`."""

    runs: tuple[Run, ...]
    budget_s: float


def sizes(most: int, *, least: int = _LEAST_SIZE) -> tuple[int, ...]:
    """Sizes of subsets of at most `most` labels, ascending, each 0.6 of the next.

    >>> sizes(22), sizes(3)
    ((3, 5, 8, 13, 22), (3,))
    """
    found = [most]
    while len(found) < _MOST_SIZES and round(found[-1] * _STEP) >= least:
        found.append(round(found[-1] * _STEP))
    return tuple(reversed(found))


def design(
    examples: Sequence[Example],
    families: Sequence[str],
    *,
    budget_s: float,
    known: Sequence[Measured] = (),
) -> Design:
    """What is to be measured within `budget_s` in all, beside what is `known` and still valid.

    The same examples, budget and nothing known give the same design.
    """
    orders = [_order(examples, part, draw) for draw, part in enumerate(_parts(examples))]
    kinds = len({label for one in examples for label in one.labels})
    wanted = sizes(min(map(len, (order for order, _ in orders))), least=max(_LEAST_SIZE, kinds))
    draws, each_s = _spent(len(wanted) * len(families), budget_s)
    lasting = _lasting(known)
    if lasting is not None and 0.5 <= lasting / each_s <= 2:
        each_s = lasting
    found = [
        Run(family, draw, order[:size], part)
        for draw, (order, part) in enumerate(orders[:draws])
        for size in wanted
        for family in families
    ]
    same = [one for one in known if one.budget_s == each_s]
    return Design(tuple(_lacking(found, same)), each_s)


def _parts(examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """What each draw holds out; of very many labels some, evenly spread."""
    return [held_out(group) for group in folds(examples, count=_PARTS)]


def _order(
    examples: Sequence[Example], part: Sequence[int], draw: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The labels that are not held out, by lot, one of each kind first; and those held out."""
    rng = np.random.default_rng([draw, len(examples)])
    rest = [int(n) for n in rng.permutation(len(examples)) if int(n) not in set(part)]
    first: dict[str, int] = {}
    for n in rest:
        for label in examples[n].labels:
            first.setdefault(label, n)
    front = list(dict.fromkeys(first.values()))
    return (*front, *(n for n in rest if n not in set(front))), tuple(part)


def _spent(trainings: int, budget_s: float) -> tuple[int, float]:
    """How many draws, and how long each training may take: rather time enough than many draws."""
    for draws in range(_PARTS, 1, -1):
        each_s = _TRAINING * budget_s / (trainings * draws)
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
