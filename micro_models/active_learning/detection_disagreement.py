"""How little two answers about one image agree."""

from __future__ import annotations

from collections.abc import Sequence

from micro_models.evaluation.matching import match
from micro_models.regions import Region


def detection_disagreement(one: Sequence[Region], other: Sequence[Region]) -> float:
    """Two lists of regions -> 0..1, higher = less agreed: the score that has no counterpart.

    Of all scores, the part that is not matched, weighted by how alike the matched shapes are. Weak
    candidates hardly count: the part is of one whole object at least.

    >>> from micro_models.regions import Box, Region
    >>> car, shadow = Region("car", Box(0, 0, 10, 10)), Region("car", Box(50, 0, 60, 10), 0.05)
    >>> detection_disagreement([car], [car]), detection_disagreement([car], [])
    (0.0, 1.0)
    >>> detection_disagreement([shadow], [])
    0.05
    """
    total = sum(region.score for region in (*one, *other))
    agreed = 2 * sum(
        pair.similarity * min(one[pair.found].score, other[pair.truth].score)
        for pair in match(one, other).pairs
    )
    return max(total - agreed, 0.0) / max(total, 1.0)
