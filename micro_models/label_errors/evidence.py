"""How odd each given region is, and how sure each finding that nobody labelled: four statistics.

They only have to rank; what a rank is worth is measured on all labels, in `odds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.label_errors.rates import Values
from micro_models.label_errors.sightings import NEAR, Scene

# How much the probability counts beside the overlap: little where the question is whether there is
# anything at all, more where it is which of two things.
_ANYTHING, _WHICH = 0.25, 0.5


@dataclass(frozen=True, eq=False)
class Evidence:
    """Of one scene's n given and m found regions.

    `seen` (n,) 0..1 how surely something of its label is there. `other` (n,) -1..1 how much surer
    something of another label is, and `rival` which finding (-1: none). `off` (n,) 0..1 how surely
    it lies elsewhere, and `better` which finding (-1: none). `new` (m,) 0..1 how surely each
    finding is something that nobody labelled; 0 for what somebody did.
    """

    seen: Values
    other: Values
    rival: tuple[int, ...]
    off: Values
    better: tuple[int, ...]
    new: Values


def evidence(scene: Scene, p: Values) -> Evidence:
    """`p` (m,): the probability of each finding."""
    count = len(scene.given)
    if not len(scene.found) or not count:
        none, nothing = (-1,) * count, np.zeros(count)
        return Evidence(nothing, nothing - 1.0, none, nothing, none, p.copy())
    sure = scene.alike * p**_WHICH
    same, others = sure * scene.equal, sure * ~scene.equal
    rows = np.arange(count)
    best, rival = same.argmax(axis=1), others.argmax(axis=1)
    touches, has_rival = scene.alike[rows, best] >= NEAR, others[rows, rival] > 0
    off = np.where(touches & (same[rows, best] > 0), p[best] * (1 - scene.alike[rows, best]), 0.0)
    return Evidence(
        seen=(scene.alike * scene.equal * p**_ANYTHING).max(axis=1),
        other=np.where(has_rival, others[rows, rival] - same[rows, best], -1.0),
        rival=tuple(np.where(has_rival, rival, -1).tolist()),
        off=off,
        better=tuple(np.where(off > 0, best, -1).tolist()),
        new=np.where(scene.taken, 0.0, p * (1 - scene.alike.max(axis=0))),
    )


def usual_overlap(scenes: Sequence[Scene]) -> dict[str, float]:
    """By label the median similarity of given regions and what was found of them, 0..1."""
    seen: dict[str, list[float]] = {}
    for one in scenes:
        for row, column in enumerate(one.paired):
            if column is not None:
                seen.setdefault(one.given[row].label, []).append(float(one.alike[row, column]))
    return {label: float(np.median(values)) for label, values in seen.items()}
