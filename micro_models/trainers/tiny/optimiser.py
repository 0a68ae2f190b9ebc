"""Steps of training: Muon for what multiplies, AdamW for the rest, as in Muon's source.

Few steps is all that a micro-model gets, and in few steps Muon learns more than AdamW does: its
step has all singular values one, so that no direction of a layer starves. torch.optim has both, but
imports a compiler for seconds.
Source: K. Jordan, Muon (2024), kellerjordan.github.io/posts/muon; I. Loshchilov, F. Hutter,
Decoupled Weight Decay (ICLR 2019), arxiv.org/abs/1711.05101.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# The polynomial that pushes singular values towards 1; from the source.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8


class Muon:
    """For weights of two and more dimensions; of a convolution all but the first count as one."""

    def __init__(
        self, weights: Iterable[Tensor], *, rate: float, momentum: float, decay: float
    ) -> None:
        self._weights, self._rate, self._decay = list(weights), rate, decay
        self._momentum = momentum
        self._averages = [torch.zeros_like(weight) for weight in self._weights]

    @torch.no_grad()
    def step(self, part: float) -> None:
        """Change the weights by `part`, 0..1, of the highest rate, and forget the gradients."""
        rate = self._rate * part
        for weight, average in zip(self._weights, self._averages, strict=True):
            if weight.grad is None:
                continue
            average.lerp_(weight.grad, 1 - self._momentum)
            # Nesterov's momentum: as if the next gradient were like this one.
            step = orthogonal(weight.grad.lerp(average, self._momentum).flatten(1))
            rows, columns = step.shape
            weight.mul_(1 - rate * self._decay)
            weight.add_(step.view_as(weight), alpha=-rate * max(1.0, rows / columns) ** 0.5)
            weight.grad = None


class AdamW:
    """For weights of any shape."""

    def __init__(self, weights: Iterable[Tensor], *, rate: float, decay: float) -> None:
        self._weights, self._rate, self._decay = list(weights), rate, decay
        self._means = [torch.zeros_like(weight) for weight in self._weights]
        self._squares = [torch.zeros_like(weight) for weight in self._weights]
        self._steps = 0

    @torch.no_grad()
    def step(self, part: float) -> None:
        """Change the weights by `part`, 0..1, of the highest rate, and forget the gradients."""
        self._steps += 1
        rate = self._rate * part
        unbiased = 1 - _FIRST**self._steps
        spread = (1 - _SECOND**self._steps) ** 0.5
        for weight, mean, square in zip(self._weights, self._means, self._squares, strict=True):
            if weight.grad is None:
                continue
            mean.lerp_(weight.grad, 1 - _FIRST)
            square.mul_(_SECOND).addcmul_(weight.grad, weight.grad, value=1 - _SECOND)
            weight.mul_(1 - rate * self._decay)
            weight.addcdiv_(mean, square.sqrt().div_(spread).add_(_EPSILON), value=-rate / unbiased)
            weight.grad = None


def orthogonal(matrix: Tensor, *, rounds: int = 5) -> Tensor:
    """(n, m) -> (n, m) with singular values of about 1 (0.7..1.2) and the same singular vectors.

    >>> matrix = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    >>> bool((torch.linalg.svdvals(orthogonal(matrix)) - 1).abs().max() < 0.35)
    True
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        square = x @ x.T
        x = _A * x + (_B * square + _C * square @ square) @ x
    return x.T if is_tall else x
