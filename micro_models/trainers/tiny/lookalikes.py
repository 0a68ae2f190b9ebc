"""Whether labels are told apart by the side that something faces: then none may be turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Floats

Pixels = NDArray[np.uint8]
_SIDE_PX = 16
# Forms are at most 2 from each other, colours this much: no change makes red of blue.
_COLOR = 3.0
# How much nearer to another group a change must bring something, to be no chance.
_NEARER = 0.8
# If it does so to more than this part of a group, they are told apart by what was changed.
_FEW = 0.4
# So much of each group tells.
_MOST = 24


def stay_apart(
    crops: Sequence[Pixels], groups: Sequence[str], change: Callable[[Pixels], Pixels]
) -> bool:
    """Whether crops that are changed still look rather like their own group than like another.

    >>> left = np.zeros((8, 8, 3), np.uint8)
    >>> left[:, :3] = 200
    >>> both = [left, left[:, ::-1]]
    >>> stay_apart(both, ["left", "right"], np.fliplr), stay_apart(both, ["a", "a"], np.fliplr)
    (False, True)
    """
    chosen = [at for group in sorted(set(groups)) for at in _some(groups, group)]
    names = np.array([groups[at] for at in chosen])
    if len(set(names.tolist())) < 2:
        return True
    looks = np.stack([_look(crops[at]) for at in chosen])
    changed = np.stack([_look(change(crops[at])) for at in chosen])
    own, other = _nearest(looks, looks, names)
    own_now, other_now = _nearest(changed, looks, names)
    lost = (own <= other) & (own_now > other_now) & (other_now < _NEARER * other)
    return all(lost[names == name].mean() <= _FEW for name in set(names.tolist()))


def _some(groups: Sequence[str], group: str) -> list[int]:
    """At most `_MOST` indices of a group, from all over it."""
    every = [at for at, name in enumerate(groups) if name == group]
    return every[:: -(-len(every) // _MOST)]


def _look(crop: Pixels) -> Floats:
    """(d,) form and colour, whatever the light."""
    way = cv2.INTER_AREA if min(crop.shape[:2]) > _SIDE_PX else cv2.INTER_LINEAR
    small = cv2.resize(crop, (_SIDE_PX, _SIDE_PX), interpolation=way)
    soft = np.asarray(cv2.GaussianBlur(small, (3, 3), 0), np.float32).reshape(-1, 3)
    color = soft.mean(axis=0)
    form = (soft - color).reshape(-1)
    look: Floats = np.append(form / (np.linalg.norm(form) + 1), _COLOR * color / 255)
    return look.astype(np.float32)


def _nearest(looks: Floats, known: Floats, names: NDArray[np.str_]) -> tuple[Floats, Floats]:
    """(n,) how far each look is from the nearest of its own name, and of any other.

    How near something is to itself says nothing, unless there is nothing else to compare it with.
    """
    squares = (looks**2).sum(1)[:, None] + (known**2).sum(1) - 2 * looks @ known.T
    far = np.sqrt(squares.clip(min=0))
    is_own = names[:, None] == names
    itself = np.diag(is_own.sum(axis=1) > 1)
    own = np.where(is_own & ~itself, far, np.inf).min(axis=1)
    other: Floats = np.where(is_own, np.inf, far).min(axis=1)
    return own, other
