"""How odd each given region is, and how sure each finding that nobody labelled: six statistics.

They only have to rank; what a rank is worth is measured on all labels, in `odds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.label_errors.blanks import alike_elsewhere
from micro_models.label_errors.extents import area, inside
from micro_models.label_errors.rates import Values
from micro_models.label_errors.sightings import NEAR, Scene
from micro_models.regions import Bools

# How much the probability counts beside the overlap.
_SURE = 0.5


@dataclass(frozen=True, eq=False)
class Evidence:
    """Of one scene's n given and m found regions.

    `seen` (n,) 0..1 how surely something of its label is there. `other` (n,) -1..1 how much surer
    something of another label is, and `rival` which finding (-1: none). `off` (n,) 0..1 how surely
    it lies elsewhere, and `better` which finding (-1: none). `blank` (n,) what `seen` would be
    where nothing is labelled (nan: not known). `away` (m,) 0..1 how far each finding is from given
    regions of other labels; 0 for what is a given region. `within` (m,) 0..1 the most of each
    finding that lies in one given region of its label, but its own.
    """

    seen: Values
    other: Values
    rival: tuple[int, ...]
    off: Values
    better: tuple[int, ...]
    blank: Values
    away: Values
    within: Values


def evidence(scene: Scene, p: Values) -> Evidence:
    """`p` (m,): the probability of each finding."""
    count = len(scene.given)
    if not len(scene.found) or not count:
        none, nothing = (-1,) * count, np.zeros(count)
        away, within = np.ones(len(p)), np.zeros(len(p))
        return Evidence(nothing, nothing - 1.0, none, nothing, none, nothing + np.nan, away, within)
    sure = scene.alike * p**_SURE
    same, others = sure * scene.equal, sure * ~scene.equal
    rows = np.arange(count)
    rival, free = others.argmax(axis=1), same * _is_free(scene)
    best = free.argmax(axis=1)
    has_rival, touches = others[rows, rival] > 0, scene.alike[rows, best] >= NEAR
    off = np.where(free[rows, best] > 0, p[best] * (1 - scene.alike[rows, best]), 0.0) * touches
    return Evidence(
        seen=_seen(scene, scene.alike, p),
        other=np.where(has_rival, others[rows, rival] - same.max(axis=1), -1.0),
        rival=tuple(np.where(has_rival, rival, -1).tolist()),
        off=off,
        better=tuple(np.where(off > 0, best, -1).tolist()),
        blank=_seen(scene, alike_elsewhere(scene), p),
        away=np.where(scene.taken, 0.0, 1 - (scene.alike * ~scene.equal).max(axis=0)),
        within=_within(scene),
    )


def _seen(scene: Scene, alike: Values, p: Values) -> Values:
    """(n,); something of another label is half a sight, too."""
    sure = alike * p**_SURE
    return np.asarray(((sure * scene.equal).max(axis=1) + sure.max(axis=1)) / 2)


def _within(scene: Scene) -> Values:
    given, found = (
        np.array([area(one.shape) for one in some]) for some in (scene.given, scene.found)
    )
    share = inside(scene.alike, given, found) * scene.equal
    for row, column in enumerate(scene.paired):
        if column is not None:
            share[row, column] = 0.0
    return np.asarray(share.max(axis=0))


def _is_free(scene: Scene) -> Bools:
    """(n, m) whether a finding is no other given region than this one."""
    free = np.ones(scene.alike.shape, np.bool_)
    for row, column in enumerate(scene.paired):
        if column is not None:
            free[:, column] = False
            free[row, column] = True
    return free


def usual_overlap(scenes: Sequence[Scene]) -> dict[str, float]:
    """By label the median similarity of given regions and what was found of them, 0..1."""
    seen: dict[str, list[float]] = {}
    for one in scenes:
        for row, column in enumerate(one.paired):
            if column is not None:
                seen.setdefault(one.given[row].label, []).append(float(one.alike[row, column]))
    return {label: float(np.median(values)) for label, values in seen.items()}
