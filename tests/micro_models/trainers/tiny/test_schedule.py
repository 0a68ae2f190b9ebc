"""How the rates rise and fall, and that a training that ends early leaves a network that works."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micro_models.budget import Budget
from micro_models.trainers.tiny.network import Network
from micro_models.trainers.tiny.recipe import Recipe
from micro_models.trainers.tiny.samples import Batch
from micro_models.trainers.tiny.training import _forget, _rate, _settle


def rates(steps, *, begun=0.0):
    """Of a training whose clock had `begun` before its first step."""
    clock, found = Budget(steps=steps).start(), []
    for _ in range(round(begun * steps)):
        clock.tick()
    while not clock.over:
        found.append(_rate(clock, Recipe(), begun=begun))
        clock.tick()
    return found


@pytest.mark.parametrize(("steps", "risen"), [(30, 5), (60, 9), (1000, 19)])
def test_rates_rise_as_soon_as_the_budget_asks_for(steps, risen):
    found = rates(steps)
    assert found[0] <= 0.06
    assert found.index(max(found)) == pytest.approx(risen, abs=2)
    assert max(found) > 0.9
    assert found[-1] < 0.03


def test_a_budget_half_used_up_by_preparations_has_the_same_schedule():
    late = rates(200, begun=0.5)
    assert len(late) == 100
    assert max(late) > 0.9
    assert late[-1] < 0.03


def test_a_network_is_normalised_by_what_it_is_at_its_end():
    network = Network(
        {"heat": 1, "sides": 4},
        half_side=3.0,
        mean=np.full(3, 100, np.float32),
        std=np.full(3, 50, np.float32),
        generator=torch.Generator().manual_seed(0),
    )
    rng = np.random.default_rng(0)
    batch = Batch(rng.integers(0, 256, (8, 64, 64, 3), dtype=np.uint8), {})
    images = torch.from_numpy(batch.images)
    with torch.no_grad():
        learning = network(images)["heat"]
        # A high rate: the weights are no longer those that were averaged over.
        for weight in network.parameters():
            weight.mul_(3)
        expected = network(images)["heat"]
        before = network.eval()(images)["heat"]
        _forget(network)
        _settle(network.train(), [batch])
        after = network.eval()(images)["heat"]
    assert not torch.allclose(learning, expected, atol=0.1)
    assert not torch.allclose(before, expected, atol=0.5)
    assert torch.allclose(after, expected, atol=0.05)
