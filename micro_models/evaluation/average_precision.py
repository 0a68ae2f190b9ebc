"""Average precision: how well scores put what is right before what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from micro_models.evaluation.matching import match
from micro_models.evaluation.overlap import POINT_PX
from micro_models.regions import Region

# Precision is read at these recalls.
_RECALLS = np.linspace(0, 1, 101)


def average_precision(scores: ArrayLike, right: ArrayLike, *, count: int) -> float:
    """(n,) scores and (n,) bool -> 0..1, higher = better; `count` objects were to be found.

    COCO's: the precision at 101 recalls 0, 0.01, ..., 1, each the best that a recall at least as
    high has, averaged. What has equal scores counts at once, in no order. 0 if `count` is 0.
    Source: T.-Y. Lin et al., Microsoft COCO (2014); cocodataset.org/#detection-eval.

    >>> round(average_precision([0.9, 0.8, 0.7], [True, False, True], count=2), 4)
    0.835
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ranked = np.asarray(scores, np.float64)[order]
    if not len(ranked) or count < 1:
        return 0.0
    hits = np.cumsum(np.asarray(right, np.bool_)[order])
    ends = np.append(ranked[1:] != ranked[:-1], True)
    recall = hits[ends] / count
    precision = hits[ends] / (np.flatnonzero(ends) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS - 1e-9)
    return float(np.append(best, 0.0)[at].mean())


def average_precisions(
    found: Sequence[Sequence[Region]],
    truth: Sequence[Sequence[Region]],
    *,
    min_iou: float = 0.5,
    point_px: float = POINT_PX,
) -> dict[str, float]:
    """The average precision 0..1 of each label of the truth; both are lists per image.

    Regions are matched by `matching.match`, so it works for every kind of shape, and for classes
    of whole images ranks the images.

    >>> from micro_models.regions import Box, Region
    >>> truth = [[Region("car", Box(0, 0, 9, 9))], [Region("bus", Box(0, 0, 9, 9))]]
    >>> average_precisions([[Region("car", Box(0, 0, 9, 8), 0.9)], []], truth)
    {'bus': 0.0, 'car': 1.0}
    """
    scores: list[float] = []
    right: list[NDArray[np.bool_]] = []
    for ours, theirs in zip(found, truth, strict=True):
        scores += [region.score for region in ours]
        right.append(match(ours, theirs, min_iou=min_iou, point_px=point_px).right)
    labels = np.array([region.label for ours in found for region in ours], dtype=object)
    all_right = np.concatenate(right) if right else np.zeros(0, np.bool_)
    counts = _counts(truth)
    return {
        label: average_precision(
            np.array(scores)[labels == label], all_right[labels == label], count=counts[label]
        )
        for label in sorted(counts)
    }


def mean_average_precision(
    found: Sequence[Sequence[Region]],
    truth: Sequence[Sequence[Region]],
    *,
    min_iou: float = 0.5,
    point_px: float = POINT_PX,
) -> float:
    """The mean over the truth's labels of `average_precisions`, 0..1, higher = better; "mAP50".

    Without any region in the truth it is 1 if nothing was found either, else 0.

    >>> from micro_models.regions import Box, Region
    >>> truth = [[Region("car", Box(0, 0, 9, 9))], [Region("bus", Box(0, 0, 9, 9))]]
    >>> mean_average_precision([[Region("car", Box(0, 0, 9, 8), 0.9)], []], truth)
    0.5
    """
    by_label = average_precisions(found, truth, min_iou=min_iou, point_px=point_px)
    if not by_label:
        return 0.0 if any(found) else 1.0
    return float(np.mean(list(by_label.values())))


def _counts(truth: Sequence[Sequence[Region]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for regions in truth:
        for region in regions:
            counts[region.label] = counts.get(region.label, 0) + 1
    return counts
