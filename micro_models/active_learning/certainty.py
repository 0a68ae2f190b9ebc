"""How sure a model is of its answer about one image: 0..1, higher = surer.

For uncertainty sampling (least sure first). An answer is a set of decisions (to show an object or
not to show it), and is as sure as the least sure of them: that is the one to correct.
Source: B. Settles, Active Learning Literature Survey (2009), section 3.1, applied per object as in
C.-A. Brust et al., Active Learning for Deep Object Detection (2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from micro_models.active_learning.margin import margin

# Candidates below this part of the threshold are no near misses.
NEAR_MISS = 0.5


def near_miss_floor(threshold: float) -> float:
    """The score down to which candidates must be known to judge an answer at `threshold`.

    >>> near_miss_floor(0.5)
    0.25
    """
    return threshold * NEAR_MISS


def threshold_certainty(scores: Iterable[float], *, threshold: float) -> float:
    """How far the nearest score is from the threshold that shows or hides it: 0 on it.

    A shown object of score 1 is sure (1), and so is one that is hidden far below: at the floor of
    `near_miss_floor` or lower. Without any candidate the answer "nothing" is sure: 1.

    >>> threshold_certainty([0.9, 0.45], threshold=0.5)
    0.19999999999999996
    """
    floor = near_miss_floor(threshold)
    return min((_distance(score, threshold, floor) for score in scores), default=1.0)


def margin_certainty(scores: Sequence[float]) -> float:
    """How far the best of classes that exclude each other is ahead of the second: 0..1.

    One class alone is as sure as its score; none at all is not sure of anything: 0.

    >>> margin_certainty([0.25, 0.75])
    0.5
    """
    return 1.0 - float(margin([scores])[0]) if scores else 0.0


def joint_certainty(parts: Iterable[float]) -> float:
    """Of several answers about one image the least sure; 1 without any.

    >>> joint_certainty([0.9, 0.2])
    0.2
    """
    return min(parts, default=1.0)


def _distance(score: float, threshold: float, floor: float) -> float:
    """0 at the threshold; 1 at a score of 1, and at the floor and below."""
    if score >= threshold:
        return (score - threshold) / (1 - threshold) if threshold < 1 else 1.0
    return min((threshold - score) / (threshold - floor), 1.0)
