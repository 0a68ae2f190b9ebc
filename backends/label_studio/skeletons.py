"""Points that hang on a rectangle are one skeleton to a micro-model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from backends.interface import LabelConfig
from micro_models.regions import Box, Keypoints, Point, Region, RotatedBox, Shape


@dataclass(frozen=True)
class Part:
    """A region of an annotation with all its labels; `parent` is the id of what it hangs on.

    `control` is the name of the control that it was drawn with.
    """

    id: str | int
    labels: tuple[str, ...]
    shape: Shape
    control: str
    parent: str | None = None


def joined(parts: Iterable[Part], config: LabelConfig) -> list[Region]:
    """A region per label, skeletons in place of rectangles that key points hang on (`parentID`).

    A skeleton has the rectangle's label. Its points are those of the `<KeyPointLabels>`, in the
    order of the label config; one that nobody set has the score 0. Points stay points where the
    control has one label only, or an object has two points of the same label.
    """
    every = list(parts)
    wholes = {part.id for part in every if isinstance(part.shape, Box | RotatedBox)}
    hanging: dict[str, list[Part]] = {}
    for part in every:
        if isinstance(part.shape, Point) and part.parent in wholes and part.parent is not None:
            hanging.setdefault(part.parent, []).append(part)
    skeletons: dict[str | int | None, Keypoints] = {}
    for whole, points in hanging.items():
        skeleton = _skeleton(points, config)
        if skeleton is not None:
            skeletons[whole] = skeleton
    return [
        Region(label, skeletons.get(part.id, part.shape))
        for part in every
        if not (isinstance(part.shape, Point) and part.parent in skeletons)
        for label in part.labels
    ]


def _skeleton(parts: Sequence[Part], config: LabelConfig) -> Keypoints | None:
    control = next(
        (c for c in config.controls if c.tag == "KeyPointLabels" and c.name == parts[0].control),
        None,
    )
    if control is None or len(control.labels) < 2:
        return None
    places: dict[str, Point] = {}
    for part in parts:
        known = part.control == control.name and part.labels[0] in control.labels
        if not known or len(part.labels) > 1 or not isinstance(part.shape, Point):
            return None
        if places.setdefault(part.labels[0], part.shape) != part.shape:
            return None
    points = np.zeros((len(control.labels), 2), np.float32)
    scores = np.zeros(len(control.labels), np.float32)
    for label, place in places.items():
        index = control.labels.index(label)
        points[index], scores[index] = (place.x, place.y), 1.0
    return Keypoints(points, scores)
