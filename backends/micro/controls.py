"""Regions that a micro-model found -> regions of the controls that hold them.

What people drew knows its label and its kind of shape, not its control: both decide, in learning as
in answering, so that a model is never asked to fill what it did not learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from backends.interface import Control, LabelConfig, PlacedRegion, PlacedTrack
from backends.label_studio.annotations import first_image
from backends.label_studio.classes import CLASS_TAGS, at_most, chosen
from backends.label_studio.drawn import only_asks
from backends.label_studio.label_xml import attribute
from backends.label_studio.results import region_id
from backends.micro.nouns import Scope
from backends.micro.scopes import image_controls, labels_source, video_controls
from micro_models.evaluation.overlap import bounds
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
from micro_models.tracks import Track

Size = tuple[int, int]

# A point of a skeleton that is less likely there than this is left for people to set.
MIN_POINT_SCORE = 0.25
# Around a skeleton, in parts of its longer side and in pixels at least: people drew it around the
# object, not around its joints.
_MARGIN, _LEAST_MARGIN_PX = 0.1, 2.0
_TOOLS: dict[type[Shape], tuple[str, ...]] = {
    Box: ("Rectangle",),
    RotatedBox: ("Rectangle",),
    Keypoints: ("Rectangle",),
    Polygon: ("Polygon",),
    Ellipse: ("Ellipse",),
    Mask: ("Brush", "Bitmask"),
    Point: ("KeyPoint",),
}


class Controls:
    """The controls of a label config that hold regions of micro-models. Never changes."""

    def __init__(self, config: LabelConfig) -> None:
        self._config = config
        # What is written to be smart is there to ask with; the ordinary tool holds what is drawn.
        self._controls = sorted(image_controls(config), key=_is_smart)
        self._sources = {one.name: labels_source(config, one) for one in self._controls}

    def holder(self, region: Region) -> Control | None:
        """The control that holds a region of this label and shape; None where there is none."""
        if isinstance(region.shape, Keypoints) and self.bones(region.shape) is None:
            return None
        tags = _tags(type(region.shape))
        for control in self._controls:
            source = self._sources[control.name]
            known = source is not None and (not source.labels or region.label in source.labels)
            if control.tag in tags and known and not only_asks(control, self._config, region.label):
                return control
        return None

    def bones(self, skeleton: Keypoints) -> Control | None:
        """The `<KeyPointLabels>` that has a label for each point of a skeleton."""
        return next(
            (
                control
                for control in self._controls
                if control.tag == "KeyPointLabels"
                and len(control.labels) == len(skeleton.points) > 1
            ),
            None,
        )

    def belongs(self, region: Region, scope: Scope) -> bool:
        """Whether a region is for the model of this scope to learn and to find."""
        if scope.labels and region.label not in scope.labels:
            return False
        control = self.holder(region)
        return control is not None and control.name in scope.controls

    def one_of(self, labels: Iterable[str]) -> list[frozenset[str]]:
        """For each control of which one class is chosen, those of `labels` that are its own."""
        every = frozenset(labels)
        found = [
            every & frozenset(one.labels)
            for one in self._controls
            if one.tag in CLASS_TAGS and at_most(one) == 1
        ]
        return [some for some in found if some]

    def classes(self) -> frozenset[str]:
        """The labels that are about whole images."""
        return frozenset(
            label for one in self._controls if one.tag in CLASS_TAGS for label in one.labels
        )

    def placed(
        self, regions: Sequence[Region], *, task_key: str, size_px: Size
    ) -> list[PlacedRegion]:
        """The regions with their controls, in order; what no control holds, or is off, is left out.

        The same regions of the same task have the same ids. `size_px` is the image's (width,
        height). Of the classes of a control as many as it takes, the best ones.
        """
        held: dict[str, tuple[Control, list[Region]]] = {}
        for region in regions:
            control = self.holder(region)
            if control is not None and _is_on(region.shape, size_px):
                held.setdefault(control.name, (control, []))[1].append(region)
        image = first_image(self._config)
        return [
            replace(one, to_name=image)
            for control, some in held.values()
            for one in self._of_control(control, some, task_key, size_px)
        ]

    def _of_control(
        self, control: Control, regions: Sequence[Region], task_key: str, size_px: Size
    ) -> Iterator[PlacedRegion]:
        if control.tag in CLASS_TAGS:
            regions = chosen(control, regions)
        for index, region in enumerate(regions):
            name = region_id(task_key, control.name, index)
            if isinstance(region.shape, Keypoints):
                yield from self._skeleton(region, region.shape, control, name, size_px)
            else:
                yield PlacedRegion(name, region, control.name)

    def _skeleton(
        self, region: Region, skeleton: Keypoints, control: Control, name: str, size_px: Size
    ) -> Iterator[PlacedRegion]:
        """The box around a skeleton and its points: the inverse of `skeletons.joined`."""
        bones = self.bones(skeleton)
        if bones is None:
            return
        seen = skeleton.scores >= MIN_POINT_SCORE
        box = _around(skeleton, size_px)
        yield PlacedRegion(name, replace(region, shape=box), control.name)
        for label, (x, y), score, is_seen in zip(
            bones.labels, skeleton.points.tolist(), skeleton.scores.tolist(), seen, strict=True
        ):
            if is_seen:
                point = Point(_within(x, size_px[0]), _within(y, size_px[1]))
                part = Region(label, point, min(score, 1.0))
                yield PlacedRegion(region_id(name, label), part, bones.name, parent=name)


def placed_tracks(
    tracks: Sequence[Track], config: LabelConfig, *, to_name: str, task_key: str
) -> list[PlacedTrack]:
    """Tracks on the video `to_name` with the control that knows their label."""
    placed = []
    controls = [one for one in video_controls(config) if one.to_name == to_name]
    for index, track in enumerate(tracks):
        for control in controls:
            source = labels_source(config, control)
            if source is not None and (not source.labels or track.label in source.labels):
                name = region_id(task_key, control.name, index)
                placed.append(PlacedTrack(name, track, control.name))
                break
    return placed


def _tags(shape: type[Shape]) -> tuple[str, ...]:
    if shape is WholeImage:
        return CLASS_TAGS
    return tuple(tag for tool in _TOOLS[shape] for tag in (f"{tool}Labels", tool))


def _is_smart(control: Control) -> bool:
    return any(attribute(control, name).lower() == "true" for name in ("smart", "smartOnly"))


def _is_on(shape: Shape, size_px: Size) -> bool:
    """Whether anything of it is on the image, with an extent if it should have one."""
    match shape:
        case WholeImage():
            return True
        case Keypoints():
            return bool((shape.scores >= MIN_POINT_SCORE).any())
        case Mask():
            return shape.area_px > 0
        case Point():
            return 0 <= shape.x <= size_px[0] and 0 <= shape.y <= size_px[1]
        case RotatedBox() if not (shape.width_px > 0 and shape.height_px > 0):
            return False
    around = bounds(shape)
    across = min(around.x1, size_px[0]) - max(around.x0, 0.0)
    down = min(around.y1, size_px[1]) - max(around.y0, 0.0)
    return across > 0 and down > 0


def _around(skeleton: Keypoints, size_px: Size) -> Box:
    points = skeleton.points[skeleton.scores >= MIN_POINT_SCORE]
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    margin = max(_MARGIN * max(x1 - x0, y1 - y0), _LEAST_MARGIN_PX)
    width, height = size_px
    return Box(
        _within(x0 - margin, width - 1),
        _within(y0 - margin, height - 1),
        max(_within(x1 + margin, width), _within(x0 - margin, width - 1) + 1),
        max(_within(y1 + margin, height), _within(y0 - margin, height - 1) + 1),
    )


def _within(value: float, most: float) -> float:
    return min(max(value, 0.0), float(most))
