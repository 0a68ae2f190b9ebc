"""As few runs of models as fill all controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from backends.interface import Medium
from backends.yolo.mapping import LabelMap, map_classes, map_points, point_report
from backends.yolo.targets import Kind, Target
from micro_models.active_learning.certainty import near_miss_floor
from micro_models.detections import DetectOptions, Detector, DetectorTask

MANY = 300  # objects in an image, where no control asks for more


@dataclass(frozen=True)
class Run:
    """One pass of one model over one image or video of a task, for one or more controls.

    `model` is what the label config or the settings name.
    """

    model: str
    medium: Medium
    targets: tuple[Target, ...]

    @property
    def is_video(self) -> bool:
        """Whether it looks at a video."""
        return self.medium.tag == "Video"


@dataclass(frozen=True)
class Filling:
    """A control that a loaded model can fill, and which class goes to which label.

    `points` is there for key points: (class, index in the skeleton) -> label.
    """

    target: Target
    labels: LabelMap
    points: Mapping[tuple[str, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReadyRun:
    """A run with its model loaded. `options.classes` are those that any control wants."""

    run: Run
    detector: Detector
    options: DetectOptions
    fillings: tuple[Filling, ...]


def plan(
    targets: Sequence[Target], default_model: Callable[[DetectorTask], str | None]
) -> list[Run]:
    """Group controls by object, model and every option that changes what the model sees.

    A control that names no model is left out where there is no default. Boxes that name none come
    from the segmentation model that other controls of the image use by default: one run, not two.
    """
    segmented = {
        target.medium.name
        for target in targets
        if target.kind in (Kind.POLYGON, Kind.MASK) and target.parameters.model is None
    }

    def model_of(target: Target) -> str | None:
        shares = target.kind == Kind.BOX and target.medium.name in segmented
        task = DetectorTask.SEGMENT if shares else target.kind.tasks[0]
        return target.parameters.model or default_model(task)

    groups: dict[tuple[object, ...], list[Target]] = {}
    for target in targets:
        model = model_of(target)
        if model is not None:
            groups.setdefault((model, *_seen_alike(target)), []).append(target)
    return [Run(str(key[0]), group[0].medium, tuple(group)) for key, group in groups.items()]


def prepare(run: Run, detector: Detector) -> ReadyRun:
    """The run with the controls that this model can fill."""
    fillings = tuple(
        _filling(target, detector.labels)
        for target in run.targets
        if detector.task in target.kind.tasks
    )
    return ReadyRun(run, detector, _options(run, detector, fillings), fillings)


def _filling(target: Target, classes: Sequence[str]) -> Filling:
    only = target.parameters.classes
    if target.kind != Kind.POINTS:
        return Filling(target, map_classes(classes, target.labels, only=only))
    points = map_points(classes, target.labels, only=only)
    return Filling(target, point_report(classes, target.labels, points), points)


def _seen_alike(target: Target) -> tuple[object, ...]:
    """What two controls must share to be filled from one run.

    Thresholds and numbers of objects are not among it: a weaker box never displaces a stronger
    one, so that leaving out the weaker ones afterwards gives the same. With suppression across
    classes it would matter which classes take part, and a video is tracked at one threshold.
    """
    parameters = target.parameters
    across = (parameters.classes, target.labels.name) if parameters.across_classes else None
    track = (parameters.min_score, target.control.name) if target.kind == Kind.TRACK else None
    return (
        target.medium.name,
        parameters.image_size_px,
        parameters.max_overlap,
        parameters.augment,
        across,
        track,
    )


def _options(run: Run, detector: Detector, fillings: Sequence[Filling]) -> DetectOptions:
    parameters = run.targets[0].parameters
    thresholds = [target.parameters.min_score for target in run.targets]
    is_classifier = detector.task == DetectorTask.CLASSIFY
    floor = min(thresholds) if run.is_video else min(map(near_miss_floor, thresholds))
    wanted = frozenset(name for filling in fillings for name in filling.labels.labels)
    return DetectOptions(
        # How sure a classifier is shows only beside all other classes.
        min_score=0.0 if is_classifier else floor,
        image_size_px=parameters.image_size_px,
        max_overlap=parameters.max_overlap,
        # Each control keeps its own number of these.
        max_objects=max(MANY, *(target.parameters.max_objects for target in run.targets)),
        across_classes=parameters.across_classes,
        augment=parameters.augment,
        classes=None if is_classifier else wanted,
    )
