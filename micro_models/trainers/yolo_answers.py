"""What people want to be told of each label, and how a YOLO's detection tells it."""

from __future__ import annotations

from collections.abc import Sequence

from micro_models.detections import Detection, DetectorTask
from micro_models.examples import Example
from micro_models.geometry import mask_to_ellipse, mask_to_polygons
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)
from micro_models.tasks import Answer, answers_of, exclusive

_TOLD: dict[DetectorTask, set[type[Shape]]] = {
    DetectorTask.DETECT: {Box},
    DetectorTask.SEGMENT: {Box, Ellipse, Polygon, Mask},
    DetectorTask.OBB: {Box, RotatedBox},
    DetectorTask.POSE: {Keypoints},
    DetectorTask.CLASSIFY: {WholeImage},
}


def can_answer(task: DetectorTask, examples: Sequence[Example]) -> bool:
    """Whether a YOLO of the task can tell all that the examples ask for; not if they ask nothing.

    A classifier gives one class an image, so it is asked only where each has exactly one.
    """
    kinds = {answer.shape for answer in answers_of(examples)}
    if not kinds or not kinds <= _TOLD[task]:
        return False
    if task is DetectorTask.CLASSIFY:
        return exclusive(examples)
    # Of upright boxes alone the angle would learn nothing, of empty skeletons the points.
    if task is DetectorTask.OBB:
        return RotatedBox in kinds
    return task is not DetectorTask.POSE or max_points(examples) > 0


def max_points(examples: Sequence[Example]) -> int:
    """Of the longest skeleton; 0 where there is none."""
    return max((answer.points for answer in answers_of(examples)), default=0)


def region_of(found: Detection, answer: Answer) -> Region | None:
    """The detection in the shape that is wanted; None where nothing of it is seen."""
    shape = _shape(found, answer)
    return None if shape is None else Region(answer.label, shape, found.score)


def _shape(found: Detection, answer: Answer) -> Shape | None:
    if found.box is None:
        return WholeImage()
    if answer.shape is RotatedBox:
        return found.rotated
    if answer.shape is Keypoints and found.keypoints is not None:
        points = found.keypoints
        return Keypoints(points.points[: answer.points], points.scores[: answer.points])
    if answer.shape is Box or found.outline is None:
        return found.box
    return _outlined(found.outline.mask(found.box), answer.shape)


def _outlined(mask: Mask, kind: type[Shape]) -> Shape | None:
    if not mask.area_px:
        return None
    if kind is Ellipse:
        return mask_to_ellipse(mask)
    return next(iter(mask_to_polygons(mask)), None) if kind is Polygon else mask
