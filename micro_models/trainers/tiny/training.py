"""The loop that trains a tiny network until its budget is used up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from micro_models.budget import Clock, Progress, Told
from micro_models.examples import Example, image_of
from micro_models.trainers.tiny.losses import total
from micro_models.trainers.tiny.model import TinyModel
from micro_models.trainers.tiny.network import Network
from micro_models.trainers.tiny.optimiser import AdamW, Muon
from micro_models.trainers.tiny.recipe import Recipe
from micro_models.trainers.tiny.samples import Batch, Sampler
from micro_models.trainers.tiny.scale import working_scale
from micro_models.trainers.tiny.spec import Spec

# The rate ends at this part of what it was at its highest.
_LEAST_RATE = 0.01
_TOLD_EVERY_S = 0.25
# So many batches, within this part of the time, tell what the network at its end normalises by.
_SETTLING, _SETTLING_PART = 8, 0.03
# From this part of the budget on the weights change so little that what they see counts as well.
_CALM = 0.85


def train(
    examples: Sequence[Example],
    *,
    recipe: Recipe,
    clock: Clock,
    seed: int,
    told: Told,
    device: str = "cpu",
) -> TinyModel:
    """A model of all examples. The rates fall with what is spent of the clock, not with steps.

    `device`: the torch device that it is trained on; the model answers on the CPU.
    """
    examples = [Example(image_of(example.picture), example.regions) for example in examples]
    spec, scale = Spec.of(examples), working_scale(examples)
    sampler = Sampler(examples, spec, scale=scale, recipe=recipe)
    network = Network(
        spec.heads,
        half_side=sampler.half_side,
        mean=sampler.mean,
        std=sampler.std,
        generator=torch.Generator().manual_seed(seed),
    ).to(memory_format=torch.channels_last)
    network.to(device)
    network.train()
    if spec.labels:
        rng = np.random.default_rng(seed)
        _run(network, sampler, rng, recipe=recipe, clock=clock, told=told)
    return TinyModel(spec, network.arrays(), scale=scale)


def _run(
    network: Network,
    sampler: Sampler,
    rng: np.random.Generator,
    *,
    recipe: Recipe,
    clock: Clock,
    told: Told,
) -> None:
    """Take steps until the clock is over."""
    optimisers = _optimisers(network, recipe)
    told_s, step_s, begun, is_calm = -math.inf, 0.0, 0.0, False
    # The next batch is drawn while the network learns from this one.
    with ThreadPoolExecutor(1, "tiny-batches") as drawing:
        drawn = drawing.submit(sampler.batch, rng)
        while not _is_over(clock, step_s):
            # What was spent on preparations, and on the first step, is no part of the schedule.
            begun = clock.spent if clock.steps < 2 else begun
            if not is_calm and clock.spent > _CALM:
                _forget(network)
                is_calm = True
            began_s = clock.seconds
            batch, drawn = drawn.result(), drawing.submit(sampler.batch, rng)
            loss = _backward(network, batch, exclusive=sampler.spec.exclusive)
            for optimiser in optimisers:
                optimiser.step(_rate(clock, recipe, begun=begun))
            clock.tick()
            # The first step takes much longer than all others.
            step_s = max(clock.seconds - began_s, 0.9 * step_s)
            if clock.seconds - told_s >= _TOLD_EVERY_S:
                told_s = clock.seconds
                told(_progress(clock, loss))
        first = drawn.result()
    if not is_calm:
        _forget(network)
    _settle(network, itertools.chain([first], _more(sampler, rng, clock)))


def _is_over(clock: Clock, step_s: float) -> bool:
    """Whether one more step could take it beyond the budget; a step is taken in any case."""
    late = _is_late(clock, step_s + _SETTLING_PART * (clock.budget.seconds or 0.0))
    return clock.steps > 0 and (clock.over or late)


def _is_late(clock: Clock, needed_s: float) -> bool:
    seconds = clock.budget.seconds
    return seconds is not None and clock.seconds + needed_s > seconds


def _more(sampler: Sampler, rng: np.random.Generator, clock: Clock) -> Iterator[Batch]:
    """As many as are needed to settle, or as there is time for."""
    for _ in range(_SETTLING):
        if _is_late(clock, 0.0):
            return
        yield sampler.batch(rng)


def _forget(network: Network) -> None:
    """Normalise by what is seen from now on: all batches count alike, and none before.

    What was averaged while it learnt much lags behind: where a busy machine ended a training early,
    at a high rate, such a network found nothing. Source: P. Izmailov et al., Averaging Weights
    Leads to Wider Optima and Better Generalization (UAI 2018), arxiv.org/abs/1803.05407.
    """
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None


@torch.no_grad()
def _settle(network: Network, batches: Iterable[Batch]) -> None:
    """Let it see batches without learning from them."""
    for batch in batches:
        network(_there(network, batch.images))


def _optimisers(network: Network, recipe: Recipe) -> tuple[Muon, AdamW]:
    """Muon for what multiplies within the network, AdamW for the heads, biases and norms."""
    heads = {id(head.weight) for head in (network.dense, network.classes) if head is not None}
    matrices: list[torch.Tensor] = []
    others: list[torch.Tensor] = []
    for weight in network.parameters():
        is_matrix = weight.ndim > 1 and id(weight) not in heads
        (matrices if is_matrix else others).append(weight)
    decay = recipe.weight_decay
    return (
        Muon(matrices, rate=recipe.matrix_rate, momentum=recipe.momentum, decay=decay),
        AdamW(others, rate=recipe.rate, decay=decay),
    )


def _rate(clock: Clock, recipe: Recipe, *, begun: float) -> float:
    """Of the highest rate: a short rise, then half a cosine by what is spent since `begun`."""
    spent = (clock.spent - begun) / max(1 - begun, 1e-6)
    rise = max((clock.steps + 1) / recipe.warm_up_steps, spent / recipe.warm_up_part)
    return min(rise, 1.0) * (0.5 * (1 + math.cos(math.pi * spent)) + _LEAST_RATE)


def _backward(network: Network, batch: Batch, *, exclusive: bool) -> float:
    """The loss of a batch; its gradients are left at the weights."""
    outputs = network(_there(network, batch.images))
    targets = {name: _there(network, array) for name, array in batch.targets.items()}
    loss = total(outputs, targets, exclusive=exclusive)
    torch.autograd.backward(loss)
    return float(loss.detach())


def _there(network: Network, array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(array).to(network.mean.device)


def _progress(clock: Clock, loss: float) -> Progress:
    seconds = clock.budget.seconds
    remaining_s = None if seconds is None else max(seconds - clock.seconds, 0.0)
    return Progress("tiny", clock.spent, clock.steps, loss, remaining_s)
