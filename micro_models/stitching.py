"""One answer of several models that looked at the same image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micro_models.evaluation.overlap import similarities
from micro_models.regions import Box, Region, RotatedBox, Shape, WholeImage


def stitched(answers: Sequence[Sequence[Region]], *, min_overlap: float = 0.7) -> list[Region]:
    """The union of several models' regions of one image, best first, each object once.

    Of regions of different models that are alike to `min_overlap`, by `overlap.similarity` and
    whatever their labels, the one with the greatest score stays, so scores have to be calibrated;
    of equal ones that of the earlier model. Only shapes of one kind displace each other: a box and
    a mask of one object may both be wanted. What one model says twice, and classes of the whole
    image, stay.

    >>> night = [Region("car", Box(0, 0, 10, 10), 0.6), Region("car", Box(50, 0, 60, 10), 0.5)]
    >>> day = [Region("truck", Box(0, 0, 10, 9), 0.8)]
    >>> [(one.label, one.score) for one in stitched([night, day])]
    [('truck', 0.8), ('car', 0.5)]
    """
    if sum(map(bool, answers)) < 2:
        return sorted((one for some in answers for one in some), key=lambda one: -one.score)
    regions = [region for some in answers for region in some]
    model = np.array([number for number, some in enumerate(answers) for _ in some])
    is_rival = _alike(regions, min_overlap) & (model[:, None] != model[None, :])
    order = sorted(range(len(regions)), key=lambda index: -regions[index].score)
    stays = np.zeros(len(regions), np.bool_)
    for index in order:
        stays[index] = not (is_rival[index] & stays).any()
    return [regions[index] for index in order if stays[index]]


def _alike(
    regions: Sequence[Region], min_overlap: float
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """(n, n) whether two regions are of one kind and in one place."""
    result = np.zeros((len(regions), len(regions)), np.bool_)
    kinds: dict[type[Shape], list[int]] = {}
    for index, region in enumerate(regions):
        if not isinstance(region.shape, WholeImage):
            kind = RotatedBox if isinstance(region.shape, Box) else type(region.shape)
            kinds.setdefault(kind, []).append(index)
    for some in kinds.values():
        shapes = [regions[index].shape for index in some]
        result[np.ix_(some, some)] = similarities(shapes, shapes) >= min_overlap
    return result
