"""A YOLO that was fine-tuned on someone's examples, and how it is stored and checked."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from micro_models.detections import DetectorTask
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.letterbox import Letterbox
from micro_models.engines.ultralytics_runtime import module
from micro_models.engines.yolo_findings import Findings, detections
from micro_models.interface import ModelFileError, State
from micro_models.regions import Image, Region, Shape
from micro_models.tasks import Answer
from micro_models.trainers.yolo_answers import region_of
from micro_models.trainers.yolo_architecture import Structure, assemble, checked
from micro_models.trainers.yolo_samples import GREY, resized
from micro_models.trainers.yolo_training import with_weights

_FORMAT = 1
_SHAPES: dict[str, type[Shape]] = {kind.__name__: kind for kind in get_args(Shape)}
_MOST_OBJECTS = 1000
_MOST_OVERLAP = 0.6
# Fewer are never looked at by anybody, and there are thousands of them.
_LEAST_SCORE = 0.001


@dataclass(frozen=True)
class Plan:
    """What a fine-tuned YOLO is besides its weights.

    `size_px`: the longer side of its input, of a classifier both; `points`: how many key points it
    gives, and how many numbers for each.
    """

    task: DetectorTask
    architecture: Mapping[str, Any]
    answers: tuple[Answer, ...]
    size_px: int
    points: tuple[int, int] | None = None

    def structure(self, *, folded: bool = True) -> Structure:
        """The network, without its weights. Errors: `ModelFileError`, `CheckpointError`."""
        classes = len(self.answers)
        return assemble(self.architecture, classes=classes, points=self.points, folded=folded)


class YoloModel:
    """A `Learned` over a network; it computes one image at a time, so threads may share it."""

    def __init__(
        self, plan: Plan, structure: Structure, arrays: dict[str, NDArray[Any]], *, device: str
    ) -> None:
        self._plan, self._arrays, self._device = plan, arrays, device
        self._network = with_weights(structure, arrays, device)
        self._network.requires_grad_(requires_grad=False)
        self._strongest = module("utils.nms").non_max_suppression
        # The head keeps the places of its cells between calls.
        self._alone = threading.Lock()

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can find, sorted."""
        return tuple(answer.label for answer in self._plan.answers)

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        """Per image its regions, best first, clipped to the image."""
        return [self._detect(image, min_score) for image in images]

    def state(self) -> State:
        """The plan, and the weights by name."""
        plan = self._plan
        settings = {
            "format": _FORMAT,
            "task": plan.task.value,
            "architecture": plan.architecture,
            "answers": [
                {"label": one.label, "kind": one.shape.__name__, "points": one.points}
                for one in plan.answers
            ],
            "size_px": plan.size_px,
            "points": None if plan.points is None else list(plan.points),
        }
        return State(settings, {name: value.copy() for name, value in self._arrays.items()})

    def _detect(self, image: Image, min_score: float) -> list[Region]:
        size, squeezed = self._plan.size_px, self._plan.task is DetectorTask.CLASSIFY
        stride = int(self._network.stride.max())
        placed = Letterbox.fit(image, (size, size), stride_px=stride)
        if squeezed:
            placed = Letterbox(
                (image.width_px, image.height_px), (size, size), (0, 0), (size, size)
            )
        # Of classes each is told.
        least = 0.0 if squeezed else max(min_score, _LEAST_SCORE)
        found = self._infer(_filled(image, placed), least)
        answers = {answer.label: answer for answer in self._plan.answers}
        regions = (
            region_of(one, answers[one.label])
            for one in detections(found, placed, self.labels, min_score=least)
        )
        return [region for region in regions if region is not None]

    def _infer(self, pixels: NDArray[np.uint8], min_score: float) -> Findings:
        import torch

        with self._alone, torch.no_grad():
            image = torch.from_numpy(pixels).to(self._device).permute(2, 0, 1)[None].float() / 255
            given = self._network(image)[0]
            if self._plan.task is DetectorTask.CLASSIFY:
                scores = given[0].cpu().numpy()
                return Findings(np.arange(len(scores)), scores)
            given, prototypes = given if isinstance(given, tuple) else (given, None)
            (rows,) = self._strongest(
                given,
                conf_thres=min_score,
                iou_thres=_MOST_OVERLAP,
                max_det=_MOST_OBJECTS,
                nc=len(self._plan.answers),
                rotated=self._plan.task is DetectorTask.OBB,
            )
            masks = None
            if prototypes is not None:
                flat = rows[:, 6:] @ prototypes[0].flatten(1)
                masks = flat.unflatten(1, prototypes.shape[2:]).cpu().numpy()
        return self._findings(rows.cpu().numpy(), masks)

    def _findings(self, rows: NDArray[np.float32], masks: NDArray[np.float32] | None) -> Findings:
        classes, scores, boxes, rotated, points = (
            rows[:, 5].astype(np.intp),
            rows[:, 4],
            rows[:, :4],
            None,
            None,
        )
        if self._plan.task is DetectorTask.OBB:
            rotated = rows[:, [0, 1, 2, 3, 6]]
            boxes = _around(rotated)
        if self._plan.points is not None:
            points = rows[:, 6:].reshape(-1, *self._plan.points)
        return Findings(classes, scores, boxes, rotated=rotated, points=points, masks=masks)


def restored(state: State, *, device: str) -> YoloModel:
    """The model of a state. Errors: `ModelFileError` for what does not fit together."""
    plan = _plan(state.settings)
    try:
        structure = plan.structure()
    except CheckpointError as error:  # ultralytics is not installed
        raise ModelFileError(str(error)) from error
    arrays = {name: np.asarray(value) for name, value in state.arrays.items()}
    if {name: value.shape for name, value in arrays.items()} != structure.shapes:
        raise ModelFileError("the YOLO's weights are not those of its build; train it again")
    for name, value in arrays.items():
        if value.dtype != np.float32 or not np.isfinite(value).all():
            raise ModelFileError(f"the YOLO's weights {name} are no finite float32; train it again")
    return YoloModel(plan, structure, arrays, device=device)


def _plan(settings: Mapping[str, Any]) -> Plan:
    try:
        if settings["format"] != _FORMAT:
            raise ModelFileError(
                f"the YOLO is stored in format {settings['format']!r}, this program reads {_FORMAT}"
            )
        answers = tuple(
            Answer(_text(one["label"]), _SHAPES[_text(one["kind"])], _size(one["points"], 0))
            for one in settings["answers"]
        )
        labels = [answer.label for answer in answers]
        if not labels or sorted(set(labels)) != labels:
            raise ValueError("labels are neither sorted nor each there once")
        points = settings["points"]
        return Plan(
            DetectorTask(settings["task"]),
            checked(settings["architecture"]),
            answers,
            _size(settings["size_px"], 32),
            None if points is None else (_size(points[0], 1), _size(points[1], 2)),
        )
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ModelFileError(
            f"the YOLO's settings are damaged: {error!r}; train it again"
        ) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _size(value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 4096:
        raise ValueError(f"{value!r} is no number from {least} to 4096")
    return value


def _filled(image: Image, placed: Letterbox) -> NDArray[np.uint8]:
    """(height, width, 3) RGB, made smaller as in training."""
    width, height = placed.outer_px
    canvas = np.full((height, width, 3), GREY, np.uint8)
    (x, y), (across, down) = placed.corner_px, placed.inner_px
    canvas[y : y + down, x : x + across] = resized(image.pixels, across, down)
    return canvas


def _around(rotated: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 5) turned boxes -> (n, 4) edges of the upright boxes around them."""
    cos, sin = np.abs(np.cos(rotated[:, 4])), np.abs(np.sin(rotated[:, 4]))
    width, height = rotated[:, 2], rotated[:, 3]
    half = np.stack([width * cos + height * sin, width * sin + height * cos], axis=1) / 2
    return np.concatenate([rotated[:, :2] - half, rotated[:, :2] + half], axis=1)
