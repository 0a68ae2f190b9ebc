"""What a model saw -> regions of a control, and how sure the answer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from backends.interface import PlacedRegion, PlacedTrack
from backends.label_studio.label_xml import attribute
from backends.label_studio.results import region_id
from backends.yolo.mapping import map_classes
from backends.yolo.plan import Filling
from backends.yolo.targets import Kind, Target
from micro_models.active_learning.certainty import margin_certainty, threshold_certainty
from micro_models.detections import Detection
from micro_models.geometry import mask_to_polygons
from micro_models.regions import Box, Point, Region, RotatedBox, Shape, WholeImage
from micro_models.tracks import Track

Size = tuple[int, int]


def regions(
    filling: Filling,
    detections: Sequence[Detection],
    *,
    task_key: str,
    size_px: Size,
    tolerance_px: float,
) -> list[PlacedRegion]:
    """The regions of a control; ids are the same whenever the same task is answered.

    Shapes lie on the image of `size_px` (width, height); what has no extent there is left out.
    """
    target = filling.target
    # A control with two targets has one name on both.
    task_key = f"{task_key}:{target.medium.name}"
    if target.kind == Kind.CLASS:
        return list(_classes(filling, detections, task_key))
    placed: list[PlacedRegion] = []
    for index, seen in enumerate(_shown(filling, detections)):
        if target.kind == Kind.POINTS:
            placed += _points(filling, seen, size_px, f"{task_key}:{index}")
            continue
        label = filling.labels.labels[seen.label]
        for part, shape in enumerate(_shapes(target.kind, seen, size_px, tolerance_px)):
            name = region_id(task_key, target.control.name, index, part)
            placed.append(PlacedRegion(name, Region(label, shape, seen.score), target.control.name))
    return placed


def tracks(filling: Filling, found: Sequence[Track], *, task_key: str) -> list[PlacedTrack]:
    """The tracks of a control, under its labels."""
    name, labels = filling.target.control.name, filling.labels.labels
    return [
        PlacedTrack(
            region_id(task_key, name, index, 0), replace(track, label=labels[track.label]), name
        )
        for index, track in enumerate(found)
        if track.label in labels
    ]


def certainty(filling: Filling, detections: Sequence[Detection]) -> float:
    """How sure the answer of a control is, 0..1; see `micro_models.active_learning.certainty`.

    Counts objects of classes that have a label. In a classification every class counts, those of
    one label as one; where several may be chosen, each is a decision of its own.
    """
    threshold = filling.target.parameters.min_score
    labels = filling.labels.labels
    if filling.target.kind == Kind.CLASS and not _takes_many(filling.target):
        best: dict[str, float] = {}
        for seen in detections:
            # A class without a label is an answer of its own.
            answer = f"label {labels[seen.label]}" if seen.label in labels else seen.label
            best[answer] = max(best.get(answer, 0.0), seen.score)
        return margin_certainty(list(best.values()))
    scores = [seen.score for seen in detections if seen.label in labels]
    return threshold_certainty(scores, threshold=threshold)


def track_certainty(filling: Filling, found: Sequence[Track]) -> float:
    """How sure the tracks of a control are, 0..1."""
    threshold = filling.target.parameters.min_score
    scores = [track.score for track in found if track.label in filling.labels.labels]
    return threshold_certainty((max(score, threshold) for score in scores), threshold=threshold)


def _shown(filling: Filling, detections: Sequence[Detection]) -> list[Detection]:
    """The best objects that have a label and pass the threshold, as many as the control takes."""
    parameters = filling.target.parameters
    passed = [
        seen
        for seen in detections
        if seen.label in filling.labels.labels and seen.score >= parameters.min_score
    ]
    return passed[: parameters.max_objects]


def _classes(
    filling: Filling, detections: Sequence[Detection], task_key: str
) -> Iterator[PlacedRegion]:
    """The best class that has a label, or all of them where the control takes many."""
    shown = sorted(_shown(filling, detections), key=lambda seen: -seen.score)
    control = filling.target.control.name
    given: set[str] = set()
    for seen in shown if _takes_many(filling.target) else shown[:1]:
        label = filling.labels.labels[seen.label]
        if label not in given:
            given.add(label)
            region = Region(label, WholeImage(), seen.score)
            yield PlacedRegion(region_id(task_key, control, label), region, control)


def _takes_many(target: Target) -> bool:
    """Choices take one unless they say otherwise, a Taxonomy takes many."""
    if target.control.tag == "Taxonomy":
        return attribute(target.control, "maxUsages") != "1"
    return attribute(target.control, "choice") == "multiple"


def _shapes(kind: Kind, seen: Detection, size_px: Size, tolerance_px: float) -> list[Shape]:
    if kind == Kind.ROTATED_BOX:
        return [seen.rotated] if seen.rotated and _is_on(seen.rotated, size_px) else []
    box = _clipped(seen, size_px)
    if box is None:
        return []
    if kind == Kind.BOX:
        return [box]
    if seen.outline is None:
        return []
    mask = seen.outline.mask(box)
    if kind == Kind.MASK:
        return [mask] if mask.area_px else []
    return list(mask_to_polygons(mask, tolerance_px=tolerance_px))


def _points(
    filling: Filling, seen: Detection, size_px: Size, object_key: str
) -> Iterator[PlacedRegion]:
    """The box around the points, where the control has one for it, and the points."""
    target = filling.target
    parameters = target.parameters
    box, parent = _clipped(seen, size_px), None
    around = target.boxes
    if around is not None and box is not None:
        label = map_classes([seen.label], around).labels.get(seen.label)
        if label is not None:
            parent = region_id(object_key, around.name)
            yield PlacedRegion(parent, Region(label, box, seen.score), around.name)
    if seen.keypoints is None:
        return
    for index, ((x, y), score) in enumerate(
        zip(seen.keypoints.points.tolist(), seen.keypoints.scores.tolist(), strict=True)
    ):
        label = filling.points.get((seen.label, index))
        if label is None or score <= 0 or score < parameters.min_point_score:
            continue
        yield PlacedRegion(
            region_id(object_key, target.control.name, index),
            Region(label, Point(_within(x, size_px[0]), _within(y, size_px[1])), min(score, 1.0)),
            target.control.name,
            parent=parent,
            width_percent=min(parameters.point_size_px / size_px[0] * 100, 100.0),
        )


def _clipped(seen: Detection, size_px: Size) -> Box | None:
    """The box on the image, None where nothing of it is; around an oriented box the upright one."""
    box = seen.box or (_upright(seen.rotated) if seen.rotated else None)
    if box is None:
        return None
    x0, x1 = _within(box.x0, size_px[0]), _within(box.x1, size_px[0])
    y0, y1 = _within(box.y0, size_px[1]), _within(box.y1, size_px[1])
    return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _upright(box: RotatedBox) -> Box:
    (x0, y0), (x1, y1) = box.corners().min(axis=0).tolist(), box.corners().max(axis=0).tolist()
    return Box(x0, y0, x1, y1)


def _is_on(box: RotatedBox, size_px: Size) -> bool:
    """Whether it has an extent and its centre is on the image."""
    inside = 0 <= box.center_x <= size_px[0] and 0 <= box.center_y <= size_px[1]
    return inside and box.width_px > 0 and box.height_px > 0


def _within(value: float, most: int) -> float:
    return min(max(value, 0.0), float(most))
