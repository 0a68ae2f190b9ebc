"""Samples as the tensors that ultralytics' losses ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.detections import DetectorTask
from micro_models.regions import Floats
from micro_models.trainers.yolo_samples import Instance, Sample, bounds

# A mask has a cell for so many pixels of the input, as the networks' own masks have.
_MASK_STRIDE = 4
# Bits of a pixel's fraction in OpenCV's drawing.
_FRACTION = 6


def batch_of(samples: Sequence[Sample], task: DetectorTask, *, points: int) -> dict[str, Any]:
    """Samples of one size (height, width) as a batch of torch tensors on the CPU.

    `img` (b, 3, height, width) 0..1; of n objects `batch_idx` and `cls` (n,), `bboxes` (n, 4)
    center x, y, width, height, or (n, 5) with clockwise radians, in parts of the picture; for
    segments `masks` (n, height / 4, width / 4), for poses `keypoints` (n, points, 3). Of classes
    `cls` alone, (b,).
    """
    import torch

    images = np.stack([sample.pixels for sample in samples]).transpose(0, 3, 1, 2)
    batch: dict[str, Any] = {"img": torch.from_numpy(np.ascontiguousarray(images)).float() / 255}
    if task is DetectorTask.CLASSIFY:
        batch["cls"] = torch.tensor([sample.instances[0].label for sample in samples])
        return batch
    height, width = images.shape[2:]
    placed = [(at, one) for at, sample in enumerate(samples) for one in sample.instances]
    rows = np.array([at for at, _ in placed], np.float32)
    batch["batch_idx"] = torch.from_numpy(rows)
    batch["cls"] = torch.tensor([float(one.label) for _, one in placed])
    place = _rotated if task is DetectorTask.OBB else _upright
    columns = 5 if task is DetectorTask.OBB else 4
    boxes = _stacked([place(one, width, height) for _, one in placed], (columns,))
    batch["bboxes"] = torch.from_numpy(boxes)
    if task is DetectorTask.SEGMENT:
        shape = height // _MASK_STRIDE, width // _MASK_STRIDE
        batch["masks"] = torch.from_numpy(_stacked([_mask(one, shape) for _, one in placed], shape))
    if task is DetectorTask.POSE:
        found = [_keypoints(one, width, height) for _, one in placed]
        batch["keypoints"] = torch.from_numpy(_stacked(found, (points, 3)))
    return batch


def _stacked(rows: list[Floats], shape: tuple[int, ...]) -> Floats:
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, *shape), np.float32)


def _upright(one: Instance, width: int, height: int) -> Floats:
    x0, y0, x1, y1 = bounds(one.rings)
    x0, x1 = (min(max(x, 0.0), width) / width for x in (x0, x1))
    y0, y1 = (min(max(y, 0.0), height) / height for y in (y0, y1))
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], np.float32)


def _rotated(one: Instance, width: int, height: int) -> Floats:
    """As the networks learned it: along the longer side, from -45 to 135 degrees."""
    (x, y), (across, down), angle = cv2.minAreaRect(np.concatenate(one.rings))
    if across < down:
        across, down, angle = down, across, angle + 90
    angle = math.radians((angle + 45) % 180 - 45)
    return np.array([x / width, y / height, across / width, down / height, angle], np.float32)


def _mask(one: Instance, shape: tuple[int, int]) -> Floats:
    drawn = np.zeros(shape, np.uint8)
    for ring in one.rings:
        # OpenCV counts from the middle of the first cell, we from its corner.
        cells = (ring / _MASK_STRIDE - 0.5) * (1 << _FRACTION)
        cv2.fillPoly(drawn, [cells.round().astype(np.int32)], (1,), shift=_FRACTION)
    return drawn.astype(np.float32)


def _keypoints(one: Instance, width: int, height: int) -> NDArray[np.float32]:
    assert one.points is not None  # noqa: S101 - the trainer lets no other shape come to a pose
    scale = np.array([1 / width, 1 / height, 1], np.float32)
    return np.asarray(one.points * scale, np.float32)
