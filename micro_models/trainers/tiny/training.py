"""The loop that trains a tiny network until its budget is used up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

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


def train(
    examples: Sequence[Example], *, recipe: Recipe, clock: Clock, seed: int, told: Told
) -> TinyModel:
    """A model of all examples. The rates fall with what is spent of the clock, not with steps."""
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
    told_s, step_s = -math.inf, 0.0
    # The next batch is drawn while the network learns from this one.
    with ThreadPoolExecutor(1, "tiny-batches") as drawing:
        drawn = drawing.submit(sampler.batch, rng)
        while not _is_over(clock, step_s):
            began_s = clock.seconds
            batch, drawn = drawn.result(), drawing.submit(sampler.batch, rng)
            loss = _backward(network, batch, exclusive=sampler.spec.exclusive)
            for optimiser in optimisers:
                optimiser.step(_rate(clock, recipe))
            clock.tick()
            # The first step takes much longer than all others.
            step_s = max(clock.seconds - began_s, 0.9 * step_s)
            if clock.seconds - told_s >= _TOLD_EVERY_S:
                told_s = clock.seconds
                told(_progress(clock, loss))


def _is_over(clock: Clock, step_s: float) -> bool:
    """Whether one more step could take it beyond the budget; a step is taken in any case."""
    seconds = clock.budget.seconds
    late = seconds is not None and clock.seconds + step_s > seconds
    return clock.steps > 0 and (clock.over or late)


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


def _rate(clock: Clock, recipe: Recipe) -> float:
    """Of the highest rate: a short rise by steps, then half a cosine by what is spent."""
    rise = min((clock.steps + 1) / recipe.warm_up_steps, 1.0)
    return rise * (0.5 * (1 + math.cos(math.pi * clock.spent)) + _LEAST_RATE)


def _backward(network: Network, batch: Batch, *, exclusive: bool) -> float:
    """The loss of a batch; its gradients are left at the weights."""
    outputs = network(torch.from_numpy(batch.images))
    targets = {name: torch.from_numpy(array) for name, array in batch.targets.items()}
    loss = total(outputs, targets, exclusive=exclusive)
    torch.autograd.backward(loss)
    return float(loss.detach())


def _progress(clock: Clock, loss: float) -> Progress:
    seconds = clock.budget.seconds
    remaining_s = None if seconds is None else max(seconds - clock.seconds, 0.0)
    return Progress("tiny", clock.spent, clock.steps, loss, remaining_s)
