"""Which controls of a label config a YOLO answers, and with what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from backends.errors import BadLabelConfig
from backends.interface import Control, LabelConfig, Medium
from backends.label_studio.label_xml import attribute
from backends.yolo.parameters import (
    Parameters,
    asks_for_a_model,
    is_skipped,
    point_indexes,
    read_parameters,
)
from micro_models.detections import DetectorTask


class Kind(Enum):
    """What a control holds."""

    BOX = "boxes"
    ROTATED_BOX = "oriented boxes"
    POLYGON = "polygons"
    MASK = "masks"
    POINTS = "key points"
    CLASS = "classes of the whole image"
    TRACK = "tracks"

    @property
    def tasks(self) -> tuple[DetectorTask, ...]:
        """The tasks of models that can fill it, the most fitting first."""
        return _TASKS[self]


_BOXES = (DetectorTask.DETECT, DetectorTask.SEGMENT, DetectorTask.POSE, DetectorTask.OBB)
_TASKS = {
    Kind.BOX: _BOXES,
    Kind.ROTATED_BOX: (DetectorTask.OBB,),
    Kind.POLYGON: (DetectorTask.SEGMENT,),
    Kind.MASK: (DetectorTask.SEGMENT,),
    Kind.POINTS: (DetectorTask.POSE,),
    Kind.CLASS: (DetectorTask.CLASSIFY,),
    Kind.TRACK: _BOXES,
}
_IMAGE_KINDS = {
    "Rectangle": Kind.BOX,
    "Polygon": Kind.POLYGON,
    "Brush": Kind.MASK,
    "Bitmask": Kind.MASK,
    "KeyPoint": Kind.POINTS,
}
_TAGS = {
    "Image": {
        **_IMAGE_KINDS,
        **{f"{tag}Labels": kind for tag, kind in _IMAGE_KINDS.items()},
        "Choices": Kind.CLASS,
        "Taxonomy": Kind.CLASS,
    },
    "Video": {"VideoRectangle": Kind.TRACK},
}


@dataclass(frozen=True)
class Target:
    """A control to be filled.

    `labels` is the control that has its labels: itself, or the `<Labels>` beside it. `boxes` is
    where key points put the box around them, if anywhere.
    """

    control: Control
    medium: Medium
    kind: Kind
    labels: Control
    parameters: Parameters
    boxes: Control | None = None

    def __str__(self) -> str:
        return f'<{self.control.tag} name="{self.control.name}">'


@dataclass(frozen=True)
class Targets:
    """The controls to fill, and what keeps others from it: sentences with a cure.

    `asked`: whether there is any that could be filled, if its attributes were right.
    """

    targets: tuple[Target, ...]
    findings: tuple[str, ...]
    asked: bool


def find_targets(config: LabelConfig, *, min_score: float) -> Targets:
    """What to fill; a control with a bad attribute costs none but itself."""
    findings: list[str] = []
    targets: list[Target] = []
    partners = _partners(config)
    for control, medium, kind in _served(config):
        try:
            target = _target(partners, control, medium, kind, min_score)
            problem = _emptiness(target) if target else ""
        except BadLabelConfig as error:
            findings.append(f"{error.message}: it is not pre-labelled; {error.advice}.")
            continue
        if target and problem is None:
            targets.append(target)
        elif problem:
            findings.append(problem)
    asked = bool(targets or findings)
    return Targets(tuple(targets), tuple(findings if asked else [_nothing(config)]), asked)


def _served(config: LabelConfig) -> list[tuple[Control, Medium, Kind]]:
    media = {medium.name: medium for medium in config.media}
    found = []
    for control in config.controls:
        medium = media.get(control.to_name)
        kind = _TAGS.get(medium.tag, {}).get(control.tag) if medium else None
        is_per_region = attribute(control, "perRegion").lower() == "true"
        if medium is not None and kind is not None and not is_per_region:
            found.append((control, medium, kind))
    claimed = {name for control, _, kind in found for name in _claims(control, kind)}
    is_result = [
        not is_prompt_tool(control)
        and (control.name not in claimed or attribute(control, "model_path") != "")
        for control, _, _ in found
    ]
    answered = {
        control.to_name
        for (control, _, kind), is_one in zip(found, is_result, strict=True)
        if is_one and kind not in (Kind.CLASS, Kind.TRACK)
    }
    return [
        served
        for served, is_one in zip(found, is_result, strict=True)
        if is_one or _may_answer(served, answered, claimed)
    ]


def is_prompt_tool(control: Control) -> bool:
    """Whether a control is there to point at things: smart in so many words, nothing for models.

    Every control is smart by default in Label Studio, so only the written attribute counts.
    """
    return attribute(control, "smart").lower() == "true" and not asks_for_a_model(control)


def _may_answer(
    served: tuple[Control, Medium, Kind], answered: set[str], claimed: set[str]
) -> bool:
    """A prompt tool is filled where nothing else could show what was found."""
    control = served[0]
    return (
        is_prompt_tool(control) and control.to_name not in answered and control.name not in claimed
    )


def _claims(control: Control, kind: Kind) -> list[str]:
    """`<RectangleLabels name="points_bbox">` is for the boxes around the points of "points"."""
    return [f"{control.name}_bbox"] if kind == Kind.POINTS else []


@dataclass(frozen=True)
class _Partners:
    """Controls that others may work with; by the object that they are for, the first of each."""

    labels: Mapping[str, Control]
    rectangles: Mapping[tuple[str, str], Control]  # also by their name
    skipped_rectangles: Mapping[str, Control]


def _partners(config: LabelConfig) -> _Partners:
    labels: dict[str, Control] = {}
    rectangles: dict[tuple[str, str], Control] = {}
    skipped: dict[str, Control] = {}
    for control in config.controls:
        if control.tag == "Labels":
            labels.setdefault(control.to_name, control)
        elif control.tag == "RectangleLabels":
            rectangles.setdefault((control.to_name, control.name), control)
            if is_skipped(control):
                skipped.setdefault(control.to_name, control)
    return _Partners(labels, rectangles, skipped)


def _target(
    partners: _Partners, control: Control, medium: Medium, kind: Kind, min_score: float
) -> Target | None:
    parameters = read_parameters(control, min_score=min_score)
    if parameters.skip:
        return None
    labels = _labels_of(partners, control)
    if kind == Kind.BOX and parameters.rotated:
        kind = Kind.ROTATED_BOX
    boxes = (
        _boxes_around(partners, control) if kind == Kind.POINTS and parameters.add_boxes else None
    )
    return Target(control, medium, kind, labels, parameters, boxes)


def _labels_of(partners: _Partners, control: Control) -> Control:
    """The control itself if it has labels, else the first `<Labels>` for the same object."""
    if control.tag.endswith("Labels") or control.tag in ("Choices", "Taxonomy"):
        return control
    return partners.labels.get(control.to_name, control)


def _boxes_around(partners: _Partners, points: Control) -> Control | None:
    """`<name>_bbox`, else rectangles that no model fills otherwise (`model_skip`)."""
    own = partners.rectangles.get((points.to_name, f"{points.name}_bbox"))
    return own or partners.skipped_rectangles.get(points.to_name)


def _emptiness(target: Target) -> str | None:
    """Why no model can fill it, "" if there is nothing to tell; None if one can.

    Errors: `BadLabelConfig`.
    """
    labels = target.labels
    if not labels.labels:
        return _no_labels(target)
    if target.kind != Kind.POINTS:
        return None
    indexes = [point_indexes(labels, label) for label in labels.labels]
    if any(indexes):
        return None
    return _no_points(target) if asks_for_a_model(target.control) else ""


def _no_points(target: Target) -> str:
    return (
        f"YOLO leaves {target} empty: no label says which point of the skeleton it is; write "
        '<Label value="nose" predicted_values="person" model_index="0"/>.'
    )


def _no_labels(target: Target) -> str:
    if target.labels is target.control and not target.control.tag.endswith("Labels"):
        if target.kind == Kind.CLASS:
            return f'{target} has no choices of its own; write them as <Choice value="..."/>.'
        return (
            f"{target} has no labels to give; add "
            f'<Labels name="label" toName="{target.control.to_name}"> with yours.'
        )
    return f'{target} takes its labels from the tasks or has none; write <Label value="..."/>.'


def _nothing(config: LabelConfig) -> str:
    images = [medium.name for medium in config.media if medium.tag in ("Image", "Video")]
    if not images:
        return (
            "Nothing to pre-label: YOLO looks at images and videos; add "
            '<Image name="image" value="$image"/> and <RectangleLabels name="box" toName="image">.'
        )
    return (
        f"Nothing to pre-label: add a control that YOLO can fill, such as "
        f'<RectangleLabels name="box" toName="{images[0]}"> with your labels '
        f"(or {_listed(tag for tag in _TAGS['Image'] if tag.endswith('Labels'))}, Choices; "
        "VideoRectangle with Labels for a video), or take model_skip away."
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
