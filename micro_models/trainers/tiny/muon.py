"""Muon: momentum whose step has all singular values one, so that no direction of a layer starves.

Few steps is all that a micro-model gets, and in few steps it learns more than AdamW does.
Source: K. Jordan, Muon (2024), kellerjordan.github.io/posts/muon; J. Bernstein, L. Newhouse, Old
Optimizer, New Norm (2024), arxiv.org/abs/2409.20325.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# The polynomial that pushes singular values towards 1; from the source.
_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """For weights of two and more dimensions; of a convolution all but the first count as one."""

    def __init__(
        self, weights: Iterable[Tensor], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Change all weights by one step, Nesterov's momentum included."""
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, group)

    def _step(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["average"] = torch.zeros_like(weight)
        average = state["average"].lerp_(weight.grad, 1 - group["momentum"])
        step = orthogonal(weight.grad.lerp(average, group["momentum"]).flatten(1))
        step = step * max(1.0, step.shape[0] / step.shape[1]) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(step.view_as(weight), alpha=-group["lr"])


def orthogonal(matrix: Tensor, *, rounds: int = 5) -> Tensor:
    """(n, m) -> (n, m) with singular values of about 1 (0.7..1.2) and the same singular vectors.

    >>> matrix = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    >>> bool((torch.linalg.svdvals(orthogonal(matrix)) - 1).abs().max() < 0.35)
    True
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        square = x @ x.T
        x = _A * x + (_B * square + _C * square @ square) @ x
    return x.T if is_tall else x
