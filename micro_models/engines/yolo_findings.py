"""What a YOLO found in its input, told as detections of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micro_models.detections import Detection, Outline
from micro_models.engines.letterbox import Letterbox
from micro_models.regions import Box, Floats, Keypoints, RotatedBox


@dataclass(frozen=True, eq=False)
class Findings:
    """What a YOLO found in one input, in the input's pixels; n objects, or n classes of a whole.

    `classes` (n,) int, `scores` (n,), `boxes` (n, 4) edges, None if about the whole; `rotated`
    (n, 5) center x, y, width, height, clockwise radians; `points` (n, k, 2 or 3) x, y, score;
    `masks` (n, h, w) log-odds over the input.
    """

    classes: NDArray[np.intp]
    scores: Floats
    boxes: Floats | None = None
    rotated: Floats | None = None
    points: Floats | None = None
    masks: Floats | None = None


def detections(
    found: Findings, placed: Letterbox, labels: Sequence[str], *, min_score: float
) -> Iterator[Detection]:
    """Best first, in pixels of the image and clipped to it; what lies outside is left out."""
    scores = np.nan_to_num(found.scores).clip(0, 1)
    masks = None if found.masks is None else _outlines(found.masks, placed)
    for index in np.argsort(-scores, kind="stable"):
        label, score = labels[found.classes[index]], float(scores[index])
        if score < min_score:
            break
        if found.boxes is None:
            yield Detection(label, score)
            continue
        box = _box(found.boxes[index], placed)
        rotated = None if found.rotated is None else found.rotated[index]
        if box is None or (rotated is not None and not np.isfinite(rotated).all()):
            continue
        if masks is not None and not _shows(masks[index], box, placed):
            continue
        yield Detection(
            label,
            score,
            box,
            rotated=None if rotated is None else _rotated(rotated, placed),
            # Copied: a view would keep the outlines of all that was seen, and be kept for long.
            outline=None if masks is None else Outline(masks[index].copy(), *placed.image_px),
            keypoints=None if found.points is None else _points(found.points[index], placed),
        )


def _box(edges: Floats, placed: Letterbox) -> Box | None:
    if not np.isfinite(edges).all():
        return None
    (x0, y0), (x1, y1) = placed.to_image(edges.reshape(2, 2)).tolist()
    return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _rotated(row: Floats, placed: Letterbox) -> RotatedBox:
    # Both axes are scaled alike, up to the rounding of the input's size.
    gain = float(np.sqrt(placed.scale.prod()))
    (x, y), (width, height) = placed.to_image(row[:2]).tolist(), (row[2:4].clip(0) * gain).tolist()
    return RotatedBox(x, y, width, height, angle_deg=float(np.degrees(row[4])))


def _points(rows: Floats, placed: Letterbox) -> Keypoints:
    scores = rows[:, 2] if rows.shape[1] > 2 else np.ones(len(rows), np.float32)
    return Keypoints(placed.to_image(np.nan_to_num(rows[:, :2])), np.nan_to_num(scores).clip(0, 1))


def _outlines(masks: Floats, placed: Letterbox) -> Floats:
    """(n, h, w) log-odds over the input -> 0..1 over the image."""
    odds = np.nan_to_num(placed.cropped(masks)).clip(-20, 20)
    shown: Floats = (1 / (1 + np.exp(-odds))).astype(np.float32, copy=False)
    return shown


def _shows(mask: Floats, box: Box, placed: Letterbox) -> bool:
    """Whether anything of the mask is in its box."""
    rows, columns = (np.array(mask.shape) / placed.image_px[::-1]).tolist()
    part = mask[
        int(box.y0 * rows) : int(np.ceil(box.y1 * rows)),
        int(box.x0 * columns) : int(np.ceil(box.x1 * columns)),
    ]
    return bool((part > 0.5).any())
