"""Which found region is which true one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.evaluation.overlap import POINT_PX, similarities
from micro_models.regions import Bools, Region


@dataclass(frozen=True)
class Pair:
    """Indices of a found region and of the true one that it is; `similarity` 0..1."""

    found: int
    truth: int
    similarity: float


@dataclass(frozen=True)
class Matches:
    """What became of every region: `pairs`, found without truth (`extra`), truth not found.

    Pairs are in order of the score, all other indices ascend.
    """

    pairs: tuple[Pair, ...]
    extra: tuple[int, ...]
    missed: tuple[int, ...]

    @property
    def right(self) -> Bools:
        """(n,) whether each found region is right."""
        result = np.zeros(len(self.pairs) + len(self.extra), np.bool_)
        result[[pair.found for pair in self.pairs]] = True
        return result


def match(
    found: Sequence[Region],
    truth: Sequence[Region],
    *,
    min_iou: float = 0.5,
    point_px: float = POINT_PX,
) -> Matches:
    """Give each true region to at most one found region of its label, the best score first.

    A found region takes the most alike of those still free, if they are alike to `min_iou` at
    least, by `overlap.similarity` (which tells what that means for points and classes).
    Source: COCO's evaluation, T.-Y. Lin et al., Microsoft COCO (2014).

    >>> from micro_models.regions import Box, Region
    >>> found = [Region("car", Box(0, 0, 10, 10), 0.4), Region("car", Box(0, 0, 10, 9), 0.9)]
    >>> match(found, [Region("car", Box(0, 0, 10, 10))])
    Matches(pairs=(Pair(found=1, truth=0, similarity=0.9),), extra=(0,), missed=())
    """
    pairs: list[Pair] = []
    for label in {region.label for region in truth}:
        ours = [i for i, region in enumerate(found) if region.label == label]
        theirs = [i for i, region in enumerate(truth) if region.label == label]
        ours.sort(key=lambda i: -found[i].score)  # stable: of equal scores the first
        alike = similarities(
            [found[i].shape for i in ours], [truth[i].shape for i in theirs], point_px=point_px
        )
        for row, index in enumerate(ours):
            best = int(alike[row].argmax())
            if alike[row, best] >= min_iou and alike[row, best] > 0:
                pairs.append(Pair(index, theirs[best], float(alike[row, best])))
                alike[:, best] = -1.0
    pairs.sort(key=lambda pair: (-found[pair.found].score, pair.found))
    taken, given = {pair.found for pair in pairs}, {pair.truth for pair in pairs}
    return Matches(
        tuple(pairs),
        tuple(i for i in range(len(found)) if i not in taken),
        tuple(i for i in range(len(truth)) if i not in given),
    )
