from __future__ import annotations

import pytest
import torch

from micro_models.trainers.tiny.optimiser import AdamW, Muon, orthogonal


@pytest.mark.parametrize("size", [(16, 16), (8, 40), (40, 8), (1, 9), (9, 1)])
def test_orthogonal_keeps_directions_and_evens_their_strength(size):
    matrix = torch.randn(size, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    strength = (left.T @ found @ right.T).diagonal()
    assert found.shape == matrix.shape
    assert strength.min() > 0.3
    assert strength.max() < 1.4


def test_nothing_times_nothing_stays_nothing():
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_adamw_steps_as_its_paper_says():
    generator = torch.Generator().manual_seed(1)
    ours = torch.randn(4, 3, generator=generator).requires_grad_()
    theirs = ours.detach().clone()
    optimiser = AdamW([ours], rate=0.01, decay=0.1)
    mean, square = torch.zeros(4, 3), torch.zeros(4, 3)
    for step in range(1, 6):
        gradient = torch.randn(4, 3, generator=generator)
        ours.grad = gradient.clone()
        optimiser.step(0.5)
        # Algorithm 2 of the paper, with the rate of 0.005.
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        push = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        theirs = theirs - 0.005 * push - 0.005 * 0.1 * theirs
    torch.testing.assert_close(ours.detach(), theirs)
    assert ours.grad is None


def test_muon_reaches_the_least_square():
    generator = torch.Generator().manual_seed(2)
    wanted = torch.randn(6, 10, generator=generator)
    weight = torch.zeros(6, 10, requires_grad=True)
    optimiser = Muon([weight], rate=0.1, momentum=0.9, decay=0.0)
    for step in range(100):
        torch.autograd.backward((weight - wanted).square().sum())
        optimiser.step(1 - step / 100)
    assert (weight - wanted).abs().max() < 0.1


def test_a_weight_without_a_gradient_is_left_alone():
    weights = [torch.ones(2, 2), torch.ones(2, 2)]
    Muon(weights[:1], rate=1.0, momentum=0.9, decay=0.5).step(1.0)
    AdamW(weights[1:], rate=1.0, decay=0.5).step(1.0)
    assert all(torch.equal(weight, torch.ones(2, 2)) for weight in weights)
