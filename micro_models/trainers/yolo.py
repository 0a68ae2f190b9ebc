"""A `Trainer` that fine-tunes a YOLO checkpoint which someone has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from micro_models.budget import Budget, Told, ignore
from micro_models.detections import DetectorTask
from micro_models.devices import present
from micro_models.examples import Example, image_of
from micro_models.interface import State
from micro_models.regions import Box, Image
from micro_models.tasks import answers_of
from micro_models.trainers.yolo_answers import can_answer
from micro_models.trainers.yolo_checkpoint import Checkpoint, read_checkpoint, relabelled
from micro_models.trainers.yolo_model import Plan, YoloModel, restored
from micro_models.trainers.yolo_samples import Freedom, Sample, bounds, outlines, sample_of
from micro_models.trainers.yolo_training import Lesson, trained

# An object with a shorter side than this, in pixels of the input, is easily overlooked.
_SMALLEST_PX = 24
_STRIDE_PX = 32


class YoloTrainer:
    """Fine-tunes the `.pt` at `checkpoint` to the examples' labels; without one it only restores.

    It learns what the checkpoint's task can tell: boxes; for segments also ellipses, polygons and
    masks; for obb boxes, turned or not; for poses key points; classes, one for each image.
    `device`: "cpu", "auto" for a GPU if there is one, or a torch device such as "cuda:0". Of the
    file, a pickle, no code is run, and what is stored of the result holds none.

    Errors: `CheckpointError` for a file that cannot be trained further, `NoSuchDevice`.
    """

    name = "yolo"

    def __init__(self, checkpoint: Path | None = None, *, device: str = "cpu") -> None:
        self._checkpoint = None if checkpoint is None else read_checkpoint(checkpoint)
        self._device = present(device)

    def suits(self, examples: Sequence[Example]) -> bool:
        """Whether the checkpoint's task can tell what is in them; not if nothing is."""
        return self._checkpoint is not None and can_answer(self._checkpoint.task, examples)

    def fit(
        self,
        examples: Sequence[Example],
        *,
        budget: Budget,
        seed: int,
        unlabelled: Sequence[Image] = (),  # noqa: ARG002 - it learns from labels alone
        told: Told = ignore,
    ) -> YoloModel:
        """Train on all examples until the budget is used up.

        Errors: `ValueError` for examples that do not suit it.
        """
        clock = budget.start()
        checkpoint = self._checkpoint
        if checkpoint is None or not can_answer(checkpoint.task, examples):
            raise ValueError("these examples are nothing that this YOLO can learn; see suits()")
        plan = _plan(checkpoint, examples)
        structure = plan.structure(folded=False)
        labels = [answer.label for answer in plan.answers]
        rng = np.random.default_rng([seed, 1])
        arrays = relabelled(checkpoint, structure, labels, rng=rng)
        learned = trained(
            structure,
            arrays,
            _lesson(plan, examples, measured=checkpoint.measured),
            clock=clock,
            seed=seed,
            device=self._device,
            told=told,
        )
        return YoloModel(plan, plan.structure(), learned, device=self._device)

    def restore(self, state: State) -> YoloModel:
        """The same model again, without its checkpoint. Errors: `ModelFileError`."""
        return restored(state, device=self._device)


def _plan(checkpoint: Checkpoint, examples: Sequence[Example]) -> Plan:
    answers = answers_of(examples)
    points = checkpoint.points
    longest = max(answer.points for answer in answers)
    if points is not None and points[0] != longest:
        points = longest, 3
    size_px = _size_px(checkpoint, examples)
    return Plan(checkpoint.task, checkpoint.architecture, answers, size_px, points)


def _size_px(checkpoint: Checkpoint, examples: Sequence[Example]) -> int:
    """As large as the pictures are, larger if the objects are small, at most the checkpoint's."""
    if checkpoint.task is DetectorTask.CLASSIFY:
        return checkpoint.size_px
    sides, objects = [], []
    for example in examples:
        image = image_of(example.picture)
        sides.append(max(image.width_px, image.height_px))
        for region in example.regions:
            rings = outlines(region.shape)
            if rings:
                x0, y0, x1, y1 = bounds(rings)
                objects.append(max(min(x1 - x0, y1 - y0), 1.0))
    zoom = max(_SMALLEST_PX / float(np.median(objects)), 1.0) if objects else 1.0
    wanted = float(np.median(sides)) * zoom
    return min(max(round(wanted / _STRIDE_PX), 2) * _STRIDE_PX, checkpoint.size_px)


def _lesson(plan: Plan, examples: Sequence[Example], *, measured: bool) -> Lesson:
    labels = {answer.label: index for index, answer in enumerate(plan.answers)}
    squeezed = plan.task is DetectorTask.CLASSIFY
    points = 0 if plan.points is None else plan.points[0]
    samples = [
        sample_of(example, labels, size_px=plan.size_px, points=points, squeezed=squeezed)
        for example in examples
    ]
    return Lesson(plan.task, samples, _canvas(samples), _freedom(plan), points, measured)


def _canvas(samples: Sequence[Sample]) -> tuple[int, int]:
    """(width, height) that holds every sample, in whole strides."""
    height, width = (max(sample.pixels.shape[axis] for sample in samples) for axis in (0, 1))
    return -(-width // _STRIDE_PX) * _STRIDE_PX, -(-height // _STRIDE_PX) * _STRIDE_PX


def _freedom(plan: Plan) -> Freedom:
    """A turned upright box is too large; and a mirrored left ear is a right ear."""
    upright = any(answer.shape is Box for answer in plan.answers)
    outlined = plan.task in (DetectorTask.SEGMENT, DetectorTask.OBB)
    return Freedom(outlined and not upright, plan.task is not DetectorTask.POSE)
