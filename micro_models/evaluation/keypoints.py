"""Key points: how far off they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.evaluation.overlap import POINT_PX, bounds
from micro_models.regions import Keypoints, Region


@dataclass(frozen=True)
class PointErrors:
    """`within`: share of true points found near enough, 0..1; `mean_error_px`: of those found."""

    within: float
    mean_error_px: float | None
    points: int


def point_errors(
    found: Sequence[Sequence[Region]],
    truth: Sequence[Sequence[Region]],
    *,
    part: float = 0.1,
) -> PointErrors:
    """How near key points are to the true ones; both are lists per image.

    A true skeleton is compared with the best scored one of its label in the image; a point is near
    enough within `part` of the longer side of the box around the true skeleton (PCK). Points not
    seen in the truth do not count; skeletons that were not found are wrong, without an error in
    pixels, which is None when none was found.
    Source: Y. Yang, D. Ramanan, Articulated Human Detection with Flexible Mixtures of Parts (2013).

    >>> import numpy as np
    >>> from micro_models.regions import Keypoints, Region
    >>> true = Keypoints(np.array([[0, 0], [100, 0]], np.float32), np.ones(2, np.float32))
    >>> near = Keypoints(np.array([[0, 4], [100, 30]], np.float32), np.ones(2, np.float32))
    >>> point_errors([[Region("mouse", near)]], [[Region("mouse", true)]])
    PointErrors(within=0.5, mean_error_px=17.0, points=2)
    """
    errors: list[float] = []
    hits = points = 0
    for ours, theirs in zip(found, truth, strict=True):
        for region in theirs:
            if not isinstance(region.shape, Keypoints):
                continue
            seen = region.shape.scores > 0
            points += int(seen.sum())
            best = _best(ours, region.label, len(seen))
            if best is not None and seen.any():
                away = np.hypot(*(best.points - region.shape.points)[seen].T)
                box = bounds(region.shape)
                length_px = max(box.x1 - box.x0, box.y1 - box.y0)
                hits += int((away <= (part * length_px or POINT_PX)).sum())
                errors += [float(distance) for distance in away]
    mean = float(np.mean(errors)) if errors else None
    return PointErrors(hits / points if points else 0.0, mean, points)


def _best(regions: Sequence[Region], label: str, count: int) -> Keypoints | None:
    best: tuple[float, Keypoints] | None = None
    for region in regions:
        shape = region.shape
        if region.label == label and isinstance(shape, Keypoints) and len(shape.points) == count:
            best = best if best is not None and best[0] >= region.score else (region.score, shape)
    return best[1] if best is not None else None
