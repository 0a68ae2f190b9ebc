"""Which regions of several annotators are of the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.consensus.votes import Matrix
from micro_models.evaluation.overlap import POINT_PX, similarities
from micro_models.regions import Region

MIN_IOU = 0.5


@dataclass(frozen=True, eq=False)
class Grouped:
    """All regions of a picture, who drew each, how alike any two are, and what belongs together.

    `owners`: (n,) of each region its annotator; `alike`: (n, n) 0..1; `groups`: indices of regions,
    at most one of each annotator, all of them once.
    """

    regions: tuple[Region, ...]
    owners: tuple[int, ...]
    alike: Matrix
    groups: tuple[tuple[int, ...], ...]


def grouped(
    answers: Sequence[tuple[int, Sequence[Region]]],
    *,
    model: Sequence[Region] = (),
    model_owner: int = -1,
    min_iou: float = MIN_IOU,
    point_px: float = POINT_PX,
) -> Grouped:
    """Join regions that are alike to `min_iou` in the mean, the most alike first.

    First those of one label, then what is left over whatever its label; then the `model`'s regions
    in the same way, so that it never joins what people drew as two. `answers` are annotators with
    their regions; `overlap.similarity` says what alike means.

    >>> from micro_models.regions import Box
    >>> one, other = Region("cat", Box(0, 0, 10, 10)), Region("dog", Box(0, 0, 10, 9))
    >>> grouped([(0, [one]), (1, [other]), (2, [Region("cat", Box(50, 0, 60, 10))])]).groups
    ((0, 1), (2,))
    """
    parts = [(owner, region) for owner, regions in answers for region in regions]
    people = len(parts)
    parts += [(model_owner, region) for region in model]
    regions, owners = tuple(region for _, region in parts), tuple(owner for owner, _ in parts)
    shapes = [region.shape for region in regions]
    alike = similarities(shapes, shapes, point_px=point_px)
    alike = (alike + alike.T) / 2  # of skeletons it depends on which is the true one
    groups = [[index] for index in range(len(regions))]
    where = list(range(len(regions)))
    is_near = np.triu(alike >= min_iou, 1)
    for by_model in (False, True):
        for same_label in (True, False):
            pairs = [
                (float(alike[a, b]), a, b)
                for a, b in np.argwhere(is_near).tolist()
                if (max(a, b) >= people) == by_model
                and (regions[a].label == regions[b].label) == same_label
            ]
            for _, a, b in sorted(pairs, key=lambda pair: (-pair[0], pair[1:])):
                if by_model and len(groups[where[max(a, b)]]) > 1:
                    continue  # the model's region, one of the last, has its group already
                _join(groups, where, where[a], where[b], owners, alike, min_iou)
    return Grouped(regions, owners, alike, tuple(tuple(sorted(g)) for g in groups if g))


def _join(
    groups: list[list[int]],
    where: list[int],
    one: int,
    other: int,
    owners: Sequence[int],
    alike: Matrix,
    min_iou: float,
) -> None:
    """Make two groups one, unless somebody is in both or they are not alike in the mean."""
    first, second = groups[one], groups[other]
    if one == other or {owners[i] for i in first} & {owners[i] for i in second}:
        return
    if alike[np.ix_(first, second)].mean() < min_iou:
        return
    for index in second:
        where[index] = one
    first += second
    groups[other] = []
