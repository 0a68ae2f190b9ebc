"""What people want to be told of each label, and how a YOLO's detection tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from micro_models.detections import Detection, DetectorTask
from micro_models.examples import Example
from micro_models.geometry import mask_to_ellipse, mask_to_polygons
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)

_SHAPES: dict[str, type[Shape]] = {
    kind.__name__: kind
    for kind in (Box, RotatedBox, Ellipse, Polygon, Mask, Point, Keypoints, WholeImage)
}
_TOLD = {
    DetectorTask.DETECT: {"Box"},
    DetectorTask.SEGMENT: {"Box", "Ellipse", "Polygon", "Mask"},
    DetectorTask.OBB: {"Box", "RotatedBox"},
    DetectorTask.POSE: {"Keypoints"},
    DetectorTask.CLASSIFY: {"WholeImage"},
}


@dataclass(frozen=True)
class Answer:
    """A label, the name of the shape that it is answered in, and how many key points that has."""

    label: str
    kind: str
    points: int = 0

    def __post_init__(self) -> None:
        if self.kind not in _SHAPES:
            raise ValueError(f"there is no shape {self.kind!r}")


def answers_of(examples: Sequence[Example]) -> tuple[Answer, ...]:
    """For each label, sorted, the shape that it has most often.

    >>> box, point = Region("car", Box(1, 2, 3, 4)), Region("car", Point(1, 2))
    >>> answers_of([Example("a.png", [box, box, point])])
    (Answer(label='car', kind='Box', points=0),)
    """
    kinds: dict[str, Counter[str]] = {}
    points: Counter[str] = Counter()
    for region in (region for example in examples for region in example.regions):
        kinds.setdefault(region.label, Counter())[type(region.shape).__name__] += 1
        if isinstance(region.shape, Keypoints):
            points[region.label] = max(points[region.label], len(region.shape.points))
    answers = []
    for label, counted in sorted(kinds.items()):
        # Of kinds that are as frequent the first by name, not the first that was seen.
        kind = min(counted, key=lambda name: (-counted[name], name))
        answers.append(Answer(label, kind, points[label] if kind == "Keypoints" else 0))
    return tuple(answers)


def can_answer(task: DetectorTask, examples: Sequence[Example]) -> bool:
    """Whether a YOLO of the task can tell all that the examples ask for; not if they ask nothing.

    A classifier gives one class an image, so it is asked only where each has at most one.
    """
    kinds = {answer.kind for answer in answers_of(examples)}
    if not kinds or not kinds <= _TOLD[task]:
        return False
    if task is DetectorTask.CLASSIFY:
        return all(len(example.labels) <= 1 for example in examples)
    # Of upright boxes alone the angle would learn nothing, of empty skeletons the points.
    if task is DetectorTask.OBB:
        return "RotatedBox" in kinds
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
    if answer.kind == "RotatedBox":
        return found.rotated
    if answer.kind == "Keypoints" and found.keypoints is not None:
        points = found.keypoints
        return Keypoints(points.points[: answer.points], points.scores[: answer.points])
    if answer.kind == "Box" or found.outline is None:
        return found.box
    return _outlined(found.outline.mask(found.box), answer.kind)


def _outlined(mask: Mask, kind: str) -> Shape | None:
    if not mask.area_px:
        return None
    if kind == "Ellipse":
        return mask_to_ellipse(mask)
    return next(iter(mask_to_polygons(mask)), None) if kind == "Polygon" else mask
