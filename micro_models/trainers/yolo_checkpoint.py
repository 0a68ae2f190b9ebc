"""A YOLO's `.pt` as numbers: what a fine-tuning begins with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.detections import DetectorTask
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.ultralytics_runtime import module, opens_as_named, undisturbed
from micro_models.interface import ModelFileError
from micro_models.trainers.yolo_architecture import Structure, assemble, checked

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]
# A class is at a place this often before anything was learned: small, so that the many empty
# places do not drown the first steps (Lin et al., Focal loss, ICCV 2017).
_PRIOR = 0.01
_LARGEST_PX = 2048
# What ultralytics' normalizations add to a variance.
_EPSILON = 1e-3


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained YOLO: its build, its weights by name, its classes by index, its input's side.

    `points`: how many key points it finds and how many numbers it gives for each. `measured`: its
    normalization knows what is usual; False where that was folded away.
    """

    task: DetectorTask
    architecture: Mapping[str, Any]
    labels: tuple[str, ...]
    size_px: int
    arrays: Arrays
    points: tuple[int, int] | None = None
    measured: bool = True


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a `.pt` of ultralytics.

    It is a pickle, of which only networks of ultralytics and layers of torch are made.

    Errors: `CheckpointError` for a file that is missing, damaged, foreign or not trainable.
    """
    path = path.absolute()
    if path.suffix.lower() != ".pt" or not path.is_file():
        raise CheckpointError(f"there is no {path.name}; only a .pt of YOLO can be trained further")
    if not opens_as_named(path):
        raise CheckpointError(
            f"{path.name} has a name (or lies in a folder with one) that ultralytics cannot open; "
            "rename it: no quotes, no blanks at the end"
        )
    try:
        with undisturbed():
            yolo = module().YOLO(path, verbose=False)
            checkpoint = _checkpoint(yolo.model, yolo.task, yolo.overrides.get("imgsz", 640))
    except CheckpointError:
        raise
    except ModelFileError as error:
        raise CheckpointError(f"{path.name} cannot be trained further: {error}") from error
    except Exception as error:  # a pickle may hold anything
        log.info("ultralytics could not load %s: %r", path.name, error)
        raise CheckpointError(
            f"{path.name} cannot be read: it is damaged, cut off, holds code, which is refused, or "
            "is no YOLO that this ultralytics knows; delete it and get it again"
        ) from error
    return checkpoint


def _checkpoint(model: Any, task: str, size: int | list[int]) -> Checkpoint:
    if task not in set(DetectorTask):
        raise ModelFileError(f"a model for {task!r}; choose one for {', '.join(DetectorTask)}")
    architecture = checked(model.yaml)
    head = model.model[-1]
    if task != DetectorTask.CLASSIFY:
        head.end2end = False
        head.fuse()
    found = getattr(head, "kpt_shape", None)
    labels = tuple(str(model.names[index]) for index in sorted(model.names))
    points = None if found is None else (int(found[0]), int(found[1]))
    structure = assemble(architecture, classes=len(labels), points=points, folded=False)
    given = {name: value.numpy() for name, value in model.float().state_dict().items()}
    arrays = _unfolded(given, structure)
    if structure.shapes != {name: value.shape for name, value in arrays.items()}:
        raise ModelFileError("its weights are not those of the network that it describes")
    longest = size if isinstance(size, int) else max(size)
    return Checkpoint(
        DetectorTask(task),
        architecture,
        labels,
        min(max(longest, 32), _LARGEST_PX),
        arrays,
        points,
        measured=arrays.keys() == given.keys(),
    )


def _unfolded(arrays: Arrays, structure: Structure) -> dict[str, NDArray[Any]]:
    """With normalizations that change nothing where they were folded into the convolutions."""
    whole = dict(arrays)
    for name in structure.shapes.keys() - arrays.keys():
        place, _, what = name.rpartition(".")
        folded = f"{place.removesuffix('.bn')}.conv.bias"
        if not place.endswith(".bn") or folded not in arrays:
            continue
        whole.pop(folded, None)
        bias = arrays[folded]
        whole[name] = {
            "weight": np.ones_like(bias),
            "bias": bias,
            "running_mean": np.zeros_like(bias),
            "running_var": np.full_like(bias, 1 - _EPSILON),
            "num_batches_tracked": np.zeros((), np.int64),
        }[what]
    return whole


def relabelled(
    checkpoint: Checkpoint, structure: Structure, labels: Sequence[str], *, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """The checkpoint's weights for `structure`, which was assembled for other labels.

    A label that the checkpoint knows by that name, in whatever case, keeps its weights; the others
    begin at small random ones. So do key points, unless there are as many as before.
    """
    known = {label.casefold(): index for index, label in enumerate(checkpoint.labels)}
    old = [known.get(label.casefold(), -1) for label in labels]
    arrays = dict(checkpoint.arrays)
    level = 0.0 if structure.head == "Classify" else float(np.log(_PRIOR / (1 - _PRIOR)))
    for layer in structure.class_layers:
        for name, first in ((f"{layer}.weight", None), (f"{layer}.bias", level)):
            before = checkpoint.arrays[name]
            after = _fresh((len(labels), *before.shape[1:]), rng, first)
            kept = [(new, was) for new, was in enumerate(old) if was >= 0]
            for new, was in kept:
                after[new] = before[was]
            arrays[name] = after
    for layer in structure.point_layers:
        for name, first in ((f"{layer}.weight", None), (f"{layer}.bias", 0.0)):
            if structure.shapes[name] != arrays[name].shape:
                arrays[name] = _fresh(structure.shapes[name], rng, first)
    return arrays


def _fresh(
    shape: tuple[int, ...], rng: np.random.Generator, level: float | None
) -> NDArray[np.float32]:
    if level is not None:
        return np.full(shape, level, np.float32)
    return rng.normal(0, 0.01, shape).astype(np.float32)
