"""A YOLO's short schooling: our loop over ultralytics' loss, by the clock, all in memory.

Its own trainer writes folders, seeds the process, starts workers and counts epochs, not seconds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.budget import Clock, Progress, Told
from micro_models.detections import DetectorTask
from micro_models.engines.ultralytics_runtime import module
from micro_models.trainers.yolo_architecture import HEADS, Structure
from micro_models.trainers.yolo_batches import batch_of
from micro_models.trainers.yolo_samples import Freedom, Sample, varied

log = logging.getLogger(__name__)

# The first is what ultralytics chooses for few classes and few steps.
_RATE, _NEW_RATE = 2e-3, 1e-2
_WARM_UP = 0.1
_WEIGHT_DECAY = 5e-4
_LONGEST_GRADIENT = 10.0
_SLOWEST_AVERAGE = 0.98
# With fewer objects than this the first layers, which see edges and colours, stay as they are.
_FEW_OBJECTS, _FROZEN_LAYERS = 100, 2
# Numbers that the masks of one batch may take: each object has about ten places that answer.
_MASK_NUMBERS = 2**26


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is taught: `samples` to a network of `task`, on canvases of `size_px` (width, height).

    `points`: how many key points it gives; `measured`: its normalization knows what is usual.
    """

    task: DetectorTask
    samples: Sequence[Sample]
    size_px: tuple[int, int]
    freedom: Freedom
    points: int = 0
    measured: bool = True

    @property
    def objects(self) -> int:
        """How many there are."""
        return sum(len(sample.instances) for sample in self.samples)


def trained(
    structure: Structure,
    arrays: dict[str, NDArray[Any]],
    lesson: Lesson,
    *,
    clock: Clock,
    seed: int,
    device: str,
    told: Told,
) -> dict[str, NDArray[Any]]:
    """The folded weights after as many steps as the clock allows, averaged over the last of them.

    `structure`, which is not folded, is used up. Where the device's memory
    is too small, a step takes fewer pictures.
    """
    import torch

    rng = np.random.default_rng(seed)
    network = with_weights(structure, arrays, device)
    network.args = _gains()
    loss_of = getattr(module("utils.loss"), HEADS[structure.head])
    criterion = loss_of() if lesson.task is DetectorTask.CLASSIFY else loss_of(network)
    _freeze(network, lesson)
    optimizer = torch.optim.AdamW(_groups(network, structure), lr=_RATE)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    order, most, slowest = _order(lesson, rng), _batch(lesson), 0.0
    while True:
        began = clock.seconds
        samples = [
            varied(lesson.samples[next(order)], lesson.size_px, lesson.freedom, rng=rng)
            for _ in range(most)
        ]
        batch = batch_of(samples, lesson.task, points=lesson.points)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * _schedule(clock.spent)
        try:
            if not clock.steps:
                _normalize(network, batch["img"].to(device), measured=lesson.measured)
            loss = _step(network, criterion, optimizer, batch, device)
        except torch.OutOfMemoryError:
            optimizer.zero_grad(set_to_none=True)
            if not clock.steps:  # perhaps some of it is normalized
                network.load_state_dict(average)
            most = _fewer(most, device)
            continue
        clock.tick()
        _follow(average, network.state_dict(), clock.steps)
        slowest = max(slowest, clock.seconds - began)
        told(_progress(clock, loss))
        if clock.over or _too_late(clock, slowest):
            return _folded(network, average)


def with_weights(structure: Structure, arrays: dict[str, NDArray[Any]], device: str) -> Any:
    """The structure's network with the weights, which must fit it, on the device."""
    import torch

    tensors = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    structure.network.load_state_dict(tensors, strict=True, assign=True)
    return structure.network.to(torch.device(device))


def _normalize(network: Any, images: Any, *, measured: bool) -> None:
    """Let the normalizations follow the batches, and where they know nothing yet, measure one.

    What was folded is not changed by that: the batch comes out as it did before. The rest of the
    network stays as it is when it looks, where it needs no parts that only training has.
    """
    import torch

    def measure(layer: Any, given: tuple[Any]) -> None:
        variance, mean = torch.var_mean(given[0], (0, 2, 3), correction=0)
        layer.bias.copy_(layer.bias + mean)
        layer.weight.copy_((variance + layer.eps).sqrt())
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)

    layers = [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    if not measured:
        with ExitStack() as stack, torch.no_grad():
            for layer in layers:
                stack.callback(layer.register_forward_pre_hook(measure).remove)
            network(images)
    for layer in layers:
        layer.train()


def _folded(network: Any, average: dict[str, Any]) -> dict[str, NDArray[Any]]:
    network.load_state_dict(average)
    network.eval().fuse(verbose=False)
    return {name: value.cpu().numpy() for name, value in network.state_dict().items()}


def _gains() -> SimpleNamespace:
    """How ultralytics weighs the parts of its losses."""
    defaults = vars(module("utils").DEFAULT_CFG)
    return SimpleNamespace(**{**defaults, "overlap_mask": False})


def _freeze(network: Any, lesson: Lesson) -> None:
    few = lesson.objects < _FEW_OBJECTS
    for at, layer in enumerate(network.model):
        layer.requires_grad_(not (few and at < _FROZEN_LAYERS))
    # What turns a distribution over distances into a distance is no weight.
    dfl = getattr(network.model[-1], "dfl", None)
    if dfl is not None:
        dfl.requires_grad_(requires_grad=False)


def _groups(network: Any, structure: Structure) -> list[dict[str, Any]]:
    """Parameters by learning rate, new ones learn faster, and by weight decay, biases have none."""
    new = (*structure.class_layers, *structure.point_layers)
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, value in network.named_parameters():
        if value.requires_grad:
            rate = _NEW_RATE if name.rpartition(".")[0] in new else _RATE
            decay = _WEIGHT_DECAY if value.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(value)
    return [
        {"params": values, "peak": rate, "weight_decay": decay}
        for (rate, decay), values in groups.items()
    ]


def _order(lesson: Lesson, rng: np.random.Generator) -> Iterator[int]:
    """Every sample before any comes again."""
    while True:
        yield from rng.permutation(len(lesson.samples)).tolist()


def _batch(lesson: Lesson) -> int:
    width, height = lesson.size_px
    most = 8 if width * height <= 416 * 416 else 4
    if lesson.task is DetectorTask.SEGMENT:
        crowd = max(len(sample.instances) for sample in lesson.samples)
        each = 10 * crowd * width * height // 16
        most = min(most, max(1, _MASK_NUMBERS // max(each, 1)))
    return most


def _schedule(spent: float) -> float:
    """0..1: a short rise, then half a cosine."""
    fall = 0.05 + 0.95 * (1 + math.cos(math.pi * spent)) / 2
    return fall * min(1.0, 0.1 + 0.9 * spent / _WARM_UP)


def _step(
    network: Any, criterion: Any, optimizer: Any, batch: dict[str, Any], device: str
) -> float:
    """One step down; the loss. Errors: torch.OutOfMemoryError."""
    import torch

    here = {name: value.to(device) for name, value in batch.items()}
    # The loss is over what a network gives when it looks, too: no mode of training is needed.
    parts, _ = criterion(network(here["img"]), here)
    loss: Any = parts.sum() / len(here["img"])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    length = torch.nn.utils.clip_grad_norm_(network.parameters(), _LONGEST_GRADIENT)
    # One strange picture must not ruin the weights.
    if torch.isfinite(length):
        optimizer.step()
    return float(loss.detach())


def _fewer(most: int, device: str) -> int:
    import torch

    if most == 1:
        raise torch.OutOfMemoryError(f"{device} has no memory for a single picture; use the CPU")
    torch.cuda.empty_cache()
    log.warning("%s is out of memory; now %d pictures a step", device, most // 2)
    return most // 2


def _follow(average: dict[str, Any], now: dict[str, Any], steps: int) -> None:
    """Move the average of the weights; the first steps are soon forgotten."""
    part = 1 - min(_SLOWEST_AVERAGE, (1 + steps) / (10 + steps))
    for name, value in now.items():
        if value.is_floating_point():
            average[name].lerp_(value.detach(), part)


def _too_late(clock: Clock, slowest: float) -> bool:
    seconds = clock.budget.seconds
    return seconds is not None and clock.seconds + slowest > seconds


def _progress(clock: Clock, loss: float) -> Progress:
    seconds = clock.budget.seconds
    remaining = None if seconds is None else max(seconds - clock.seconds, 0.0)
    return Progress("yolo", clock.spent, clock.steps, loss, remaining)
