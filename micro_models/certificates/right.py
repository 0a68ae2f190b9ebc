"""What "right" means: an answer that a person would leave as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micro_models.evaluation.overlap import POINT_PX, bounds, similarities
from micro_models.regions import Bools, Keypoints, Point, Region, Shape

# A point of a skeleton is near enough within this part of the skeleton's longer side (PCK@0.1).
POINT_PART = 0.1


def is_right(
    found: Sequence[Region],
    truth: Sequence[Region],
    *,
    min_iou: float = 0.5,
    point_px: float = POINT_PX,
    point_part: float = POINT_PART,
) -> bool:
    """Whether found and true regions can be paired: each in one pair, of one label, in one place.

    So none is missing, none is extra, and every class is right; nothing found is right where
    nothing is. In one place: what has an area with an IoU of `min_iou` at least (boxes, rotated
    boxes, ellipses, polygons, masks, each with each); points within `point_px`; skeletons if the
    same points are seen and each is within `point_part` of the longer side of the box around the
    true ones; classes of the whole image always. All of `found` counts, whatever its score: give
    only what people would be shown.

    >>> from micro_models.regions import Box
    >>> car, cut = Region("car", Box(0, 0, 10, 10)), Region("car", Box(0, 0, 10, 6))
    >>> is_right([cut], [car]), is_right([cut], [car], min_iou=0.7), is_right([], [car])
    (True, False, False)
    """
    if not 0.0 < min_iou <= 1.0:
        raise ValueError(f"an IoU to be reached is above 0, 1 at most, not {min_iou}")
    ours, theirs = _by_label(found), _by_label(truth)
    if {label: len(some) for label, some in ours.items()} != {
        label: len(some) for label, some in theirs.items()
    }:
        return False
    return all(
        _paired(_fits(ours[label], theirs[label], min_iou, point_px, point_part))
        for label in theirs
    )


def _by_label(regions: Sequence[Region]) -> dict[str, list[Shape]]:
    shapes: dict[str, list[Shape]] = {}
    for region in regions:
        shapes.setdefault(region.label, []).append(region.shape)
    return shapes


def _fits(
    found: Sequence[Shape], truth: Sequence[Shape], min_iou: float, point_px: float, part: float
) -> Bools:
    """(n, n) whether each found shape could be each true one."""
    fits = similarities(found, truth, point_px=point_px)
    # Points are alike to 0.5 at a distance of `point_px`.
    points = np.array([isinstance(one, Point) for one in found], np.bool_)
    result = np.asarray(fits >= np.where(points[:, None], 0.5, min_iou), np.bool_)
    for row, one in enumerate(found):
        for column, other in enumerate(truth):
            if isinstance(one, Keypoints) and isinstance(other, Keypoints):
                result[row, column] = _same_skeleton(one, other, point_px, part)
    return result


def _same_skeleton(found: Keypoints, truth: Keypoints, point_px: float, part: float) -> bool:
    if len(found.points) != len(truth.points):
        return False
    seen = truth.scores > 0
    if not np.array_equal(seen, found.scores > 0):
        return False
    box = bounds(truth)
    near_px = part * max(box.x1 - box.x0, box.y1 - box.y0) or point_px
    away_px = np.hypot(*(found.points - truth.points)[seen].T)
    return bool((away_px <= near_px).all())


def _paired(fits: Bools) -> bool:
    """Whether each row has a column of its own: a perfect matching."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if len(fits) == 1:
        return bool(fits[0, 0])
    return bool((maximum_bipartite_matching(csr_matrix(fits), perm_type="column") >= 0).all())
