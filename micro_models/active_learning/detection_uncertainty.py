"""How unsure an answer of several regions is, and whether something is missing in it."""

from __future__ import annotations

from collections.abc import Sequence

from micro_models.active_learning.certainty import margin_certainty, threshold_certainty
from micro_models.regions import Region, WholeImage

# Something missing is a suspicion, an object near the threshold is a fact: this much less.
MISSING_WEIGHT = 0.5


def detection_uncertainty(
    found: Sequence[Region],
    *,
    threshold: float = 0.5,
    expected: float = 0.0,
    exclusive: bool = False,
) -> float:
    """Regions of one image -> 0..1, higher = less sure: the decision most worth a look.

    The greatest of: how close a score is to the threshold that shows or hides an object or a class
    (near misses below it too: they are what was perhaps missed); where classes of the whole image
    are `exclusive` (see `tasks.exclusive`) their margin instead, and 1 if none was found, for one
    is right; and half the share of the objects `expected` in an image that is missing in it, see
    `missing_suspicion`. `found` has to hold candidates below the threshold.
    Source: C.-A. Brust et al., Active Learning for Deep Object Detection (2019).

    >>> from micro_models.regions import Box, Region
    >>> found = [Region("car", Box(0, 0, 9, 9), 0.9), Region("car", Box(20, 0, 29, 9), 0.45)]
    >>> round(detection_uncertainty(found), 3), detection_uncertainty([], expected=2)
    (0.8, 0.5)
    """
    classes = [region.score for region in found if isinstance(region.shape, WholeImage)]
    objects = [region.score for region in found if not isinstance(region.shape, WholeImage)]
    sure = threshold_certainty(objects if exclusive else objects + classes, threshold=threshold)
    if exclusive:
        sure = min(sure, margin_certainty(classes))
    return max(1.0 - sure, MISSING_WEIGHT * missing_suspicion(found, expected=expected))


def missing_suspicion(found: Sequence[Region], *, expected: float) -> float:
    """Regions of one image -> 0..1, higher = more is missing: of the objects expected in it.

    `expected` is how many objects an image usually has, as labelled ones tell; the sum of the
    scores estimates how many were found. 0 if none is expected.

    >>> from micro_models.regions import Box, Region
    >>> missing_suspicion([Region("car", Box(0, 0, 9, 9), 0.75)], expected=3)
    0.75
    """
    if expected <= 0:
        return 0.0
    there = sum(region.score for region in found if not isinstance(region.shape, WholeImage))
    return min(max(1.0 - there / expected, 0.0), 1.0)
