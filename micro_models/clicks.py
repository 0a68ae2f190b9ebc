"""How many clicks a segmenter needs: the standard evaluation of interactive segmentation.

Each click goes to the middle of the largest mistake, as in Xu et al. (CVPR 2016) and RITM
(Sofiiuk et al. 2021); NoC@90 is the number of clicks until the IoU first reaches 0.90, and counts
as the maximum, 20, where it never does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Box, Click, Prompt, RotatedBox, Segmentation

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ClickCurve:
    """IoU 0..1 after each answer, and clicks needed per threshold.

    With a box, `ious[0]` is the answer to the box alone and counts as no click. `scores` are the
    engine's own estimates of `ious`.
    """

    ious: tuple[float, ...]
    scores: tuple[float, ...]
    clicks: dict[float, int]


def iou_within(truth: Bools, mask: Bools, ignore: Bools | None = None) -> float:
    """Intersection over union of two (height, width) masks outside `ignore`; 0..1, both empty: 1.

    Raises ValueError when the sizes differ.
    """
    _check(truth, mask, ignore)
    counted = np.ones_like(truth) if ignore is None else ~ignore
    union = np.count_nonzero((truth | mask) & counted)
    return float(np.count_nonzero(truth & mask & counted) / union) if union else 1.0


def next_click(truth: Bools, mask: Bools, ignore: Bools | None = None) -> Click:
    """The pixel deepest inside a mistake: positive in missed object, negative in spurious mask.

    All are (height, width) bool; pixels in `ignore` are never mistakes. Raises ValueError when
    the sizes differ or there is no mistake.
    """
    _check(truth, mask, ignore)
    counted = np.ones_like(truth) if ignore is None else ~ignore
    missed_depth, missed = _deepest(truth & ~mask & counted)
    spurious_depth, spurious = _deepest(mask & ~truth & counted)
    if max(missed_depth, spurious_depth) == 0:
        raise ValueError("the mask has no mistake to click on")
    positive = missed_depth >= spurious_depth
    row, column = missed if positive else spurious
    return Click(column + 0.5, row + 0.5, positive)


def clicks_to_iou(
    segment: Callable[[Prompt], Segmentation],
    truth: Bools,
    *,
    thresholds: Sequence[float] = (0.85, 0.90),
    max_clicks: int = 20,
    ignore: Bools | None = None,
    box: Box | RotatedBox | None = None,
) -> ClickCurve:
    """Click until every threshold is reached or `max_clicks` are spent.

    `segment` answers for one image; it gets all clicks so far, `box` if given, and its last hint.
    """
    clicks: tuple[Click, ...] = ()
    mask, hint = np.zeros_like(truth), None
    ious: list[float] = []
    scores: list[float] = []

    def ask() -> float:
        nonlocal mask, hint
        answer = segment(Prompt(clicks, box, hint))
        mask, hint = answer.mask.pixels, answer.hint
        ious.append(iou_within(truth, mask, ignore))
        scores.append(answer.score)
        return ious[-1]

    best = ask() if box is not None else 0.0
    while len(clicks) < max_clicks and best < max(thresholds):
        clicks = (*clicks, next_click(truth, mask, ignore))
        best = max(best, ask())
    free = 0 if box is not None else 1
    needed = {
        threshold: next(
            (n + free for n, iou in enumerate(ious) if iou >= threshold),
            max_clicks,
        )
        for threshold in thresholds
    }
    return ClickCurve(tuple(ious), tuple(scores), needed)


def _check(truth: Bools, mask: Bools, ignore: Bools | None) -> None:
    sizes = {array.shape for array in (truth, mask, ignore) if array is not None}
    if len(sizes) > 1:
        raise ValueError(f"truth, mask and ignore must be of one size, not {sorted(sizes)}")


def _deepest(wrong: Bools) -> tuple[float, tuple[int, int]]:
    """The largest distance to a pixel that is not wrong (the border counts), and where it is."""
    padded = np.pad(wrong, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(distance[row, column]), (int(row), int(column))
