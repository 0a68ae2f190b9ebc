"""Which examples are held out together when a trainer is tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from micro_models.examples import Example

# More images than this in one fold tell little more, and looking at them takes time.
MOST_HELD_OUT = 40


def folds(examples: Sequence[Example], *, count: int) -> tuple[tuple[int, ...], ...]:
    """At most `count` groups of example indices, none empty, each label spread over all of them.

    Iterative stratification: the rarest label first, each of its examples goes to the group that
    lacks it most. An example without regions counts as one of background. With a single example
    there is nothing to hold out: no folds. The same examples give the same folds.
    Source: K. Sechidis et al., On the Stratification of Multi-label Data (2011).

    >>> from micro_models.regions import Image, Region, WholeImage
    >>> import numpy as np
    >>> image = Image(np.zeros((4, 4, 3), np.uint8))
    >>> folds([Example(image, [Region(label, WholeImage())]) for label in "aabb"], count=2)
    ((0, 2), (1, 3))
    """
    count = min(count, len(examples))
    if count < 2:
        return ()
    kinds: list[set[str | None]] = [{*one.labels} or {None} for one in examples]
    in_all = Counter(kind for some in kinds for kind in some)
    lacks = [{kind: total / count for kind, total in in_all.items()} for _ in range(count)]
    groups: list[list[int]] = [[] for _ in range(count)]
    placed: set[int] = set()
    for kind in sorted(in_all, key=lambda one: (in_all[one], str(one))):
        for index in [i for i, some in enumerate(kinds) if kind in some and i not in placed]:
            placed.add(index)
            best = max(range(count), key=lambda g: (lacks[g][kind], -len(groups[g]), -g))
            groups[best].append(index)
            for one in kinds[index]:
                lacks[best][one] -= 1
    return tuple(tuple(sorted(group)) for group in _filled(groups))


def _filled(groups: list[list[int]]) -> list[list[int]]:
    """No group is empty: the largest gives."""
    for group in groups:
        if not group:
            group.append(max(groups, key=len).pop())
    return groups


def held_out(group: Sequence[int]) -> tuple[int, ...]:
    """Which of a group's examples are looked at: all, or evenly spread ones of very many.

    >>> len(held_out(range(1000))), held_out((3, 5))
    (40, (3, 5))
    """
    step = max(len(group) / MOST_HELD_OUT, 1.0)
    return tuple(group[int(n * step)] for n in range(min(len(group), MOST_HELD_OUT)))
