"""The odds of every kind of error, of all labels and findings together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micro_models.label_errors.evidence import Evidence
from micro_models.label_errors.extents import area
from micro_models.label_errors.odds import (
    left_out,
    odds_of_low_iou,
    odds_of_missing,
    odds_of_spurious,
    odds_of_wrong,
)
from micro_models.label_errors.rates import Values
from micro_models.label_errors.sightings import Scene

# So many labels, at least, of nearly one size are compared with each other.
_ALIKE = 80


@dataclass(frozen=True, eq=False)
class Odds:
    """Per scene: `spurious`, `low_iou`, `wrong` (n,) of given regions, `missing` (m,) of found."""

    spurious: list[Values]
    low_iou: list[Values]
    wrong: list[Values]
    missing: list[Values]


def odds_of(scenes: Sequence[Scene], seen: Sequence[Evidence], told: Sequence[Values]) -> Odds:
    """`told`: per scene (m,) the probability of each finding."""
    given, found = [len(one.given) for one in scenes], [len(one.found) for one in scenes]
    labels = np.array([region.label for one in scenes for region in one.given], np.object_)
    matched = np.array([place is not None for one in scenes for place in one.paired], np.bool_)
    p = _joined([_of_paired(one, values) for one, values in zip(scenes, told, strict=True)])
    off, there = _joined([one.off for one in seen]), _joined([one.seen for one in seen])
    blank = _joined([one.blank for one in seen])
    low, spurious = np.zeros(len(labels)), np.zeros(len(labels))
    for label in sorted(set(labels)):
        rows = labels == label
        low[rows] = odds_of_low_iou(off[rows], p[rows & matched])
    sizes = np.array([area(region.shape) for one in scenes for region in one.given])
    for part in _of_a_size(labels, sizes):
        spurious[part] = odds_of_spurious(there[part], blank[part])
    missing = _split(_missing(scenes, seen, _joined(told)), found)
    missing = [_with_left_out(*each) for each in zip(scenes, told, missing, strict=True)]
    wrong = odds_of_wrong(_joined([one.other for one in seen]))
    return Odds(_split(spurious, given), _split(low, given), _split(wrong, given), missing)


def _of_a_size(labels: NDArray[np.object_], sizes: Values) -> Iterator[NDArray[np.intp]]:
    """The indices of labels alike in name and size: what is small is often overlooked."""
    for label in sorted(set(labels)):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(sizes[rows], kind="stable")]
        yield from np.array_split(rows, max(len(rows) // _ALIKE, 1))


def _missing(scenes: Sequence[Scene], seen: Sequence[Evidence], p: Values) -> Values:
    """(m,) of the findings of all scenes."""
    labels = np.array([region.label for one in scenes for region in one.found], np.object_)
    free = ~np.array([there for one in scenes for there in one.taken], np.bool_)
    right = np.array([at in one.paired for one in scenes for at in range(len(one.found))], np.bool_)
    within, odds = _joined([one.within for one in seen]), np.zeros(len(p))
    for label in sorted(set(labels)):
        rows = labels == label
        odds[rows] = odds_of_missing(p[rows], within[rows], right=right[rows], free=free[rows])
    return odds * _joined([one.away for one in seen])


def _with_left_out(scene: Scene, p: Values, odds: Values) -> Values:
    """(m,) odds of missing, where a picture has none of a label: perhaps all were left out."""
    result = odds.copy()
    labels = np.array([one.label for one in scene.found], np.object_)
    for label in {*labels} - {one.label for one in scene.given}:
        rows = (labels == label) & ~scene.taken
        if rows.any():
            share = left_out(p[rows])
            score = share * p[rows] + (1 - share) * odds[rows] / (1 + odds[rows])
            result[rows] = score / (1 - np.minimum(score, 0.999))
    return result


def _of_paired(scene: Scene, p: Values) -> Values:
    """(n,) the probability of what each given region was found as; 0 where it was not."""
    return np.array([0.0 if place is None else p[place] for place in scene.paired])


def _joined(parts: Sequence[Values]) -> Values:
    return np.concatenate([*parts, np.zeros(0)])


def _split(values: Values, sizes: Sequence[int]) -> list[Values]:
    return list(np.split(values, np.cumsum(sizes)[:-1])) if sizes else []
