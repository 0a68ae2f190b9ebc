"""How wrong a tiny network's answers are: one number per head, 0 = right."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

# How much each head counts.
WEIGHTS: Mapping[str, float] = {
    "heat": 1.0,
    "sides": 3.0,
    "angle": 1.0,
    "mask": 2.0,
    "point_heat": 1.0,
    "point_offset": 0.2,
    "classes": 1.0,
}


def total(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], *, exclusive: bool
) -> Tensor:
    """The weighted sum over the heads that are in both; a number without dimensions."""
    losses = []
    for name, answer in outputs.items():
        if name == "classes":
            if name in targets:
                losses.append(class_loss(answer, targets[name], exclusive=exclusive))
        elif name in targets:
            losses.append(WEIGHTS[name] * _dense_loss(name, answer, targets))
    return torch.stack(losses).sum()


def _dense_loss(name: str, answer: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    target = targets[name]
    weight = targets["point_weight" if name == "point_heat" else f"{name}_weight"]
    match name:
        case "heat":
            return focal_loss(answer, target, weight)
        case "sides":
            return side_loss(answer, target, weight)
        case "mask":
            wrong = functional.binary_cross_entropy_with_logits(answer, target, reduction="none")
            return mean_where(wrong, weight) + dice_loss(answer.sigmoid(), target, weight)
        case "point_heat":
            return soft_focal_loss(answer, target, weight)
        case "angle":
            wrong = (answer - target).square().sum(1, keepdim=True)
            return mean_where(wrong, weight)
    # Offsets of one key point are two channels with one weight.
    wrong = functional.smooth_l1_loss(answer, target, reduction="none", beta=0.5)
    return mean_where(wrong, weight.repeat_interleave(2, dim=1))


def mean_where(values: Tensor, weight: Tensor) -> Tensor:
    """The mean weighted with `weight` of the same shape or one that broadcasts; 0 without any.

    >>> mean_where(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 0.0])).item()
    1.0
    """
    return (values * weight).sum() / weight.expand_as(values).sum().clamp(min=1)


def focal_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Of heat maps (n, labels, h, w): per object, with less asked of cells close to a peak.

    Rare labels count like frequent ones.
    Where `target` is exactly 1 an object's middle is. Source: CenterNet, arxiv.org/abs/1904.07850.
    """
    chance = logits.sigmoid()
    yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    peaks = (target >= 1).float()
    gained = peaks * (1 - chance).square() * yes
    lost = (1 - peaks) * (1 - target).pow(4) * chance.square() * no
    wrong = -((gained + lost) * weight).sum((0, 2, 3))
    return (wrong / peaks.sum((0, 2, 3)).clamp(min=1)).mean()


def soft_focal_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Of heat maps whose peaks may lie between cells: cross-entropy where the answer is far off.

    Source: X. Li et al., Generalized Focal Loss (NeurIPS 2020), arxiv.org/abs/2006.04388.
    """
    wrong = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrong = wrong * (logits.sigmoid() - target).square()
    return (wrong * weight).sum() / (target * weight).sum().clamp(min=1) * 4


def side_loss(answer: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - IoU of the boxes that sides (n, 4, h, w) describe about the same cell, where weighted.

    >>> sides = torch.ones(1, 4, 1, 1)
    >>> side_loss(sides, sides, torch.ones(1, 1, 1, 1)).item()
    0.0
    """
    least = torch.minimum(answer, target)
    inner = (least[:, 0] + least[:, 2]) * (least[:, 1] + least[:, 3])
    outer = _area(answer) + _area(target) - inner
    return mean_where((1 - inner / outer.clamp(min=1e-3))[:, None], weight)


def _area(sides: Tensor) -> Tensor:
    return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])


def dice_loss(answer: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - the overlap of two covers (n, channels, h, w) 0..1: small objects count like large ones.

    Source: F. Milletari et al., V-Net (3DV 2016), arxiv.org/abs/1606.04797.
    """
    both = (answer * target * weight).sum((0, 2, 3))
    sizes = ((answer + target) * weight).sum((0, 2, 3))
    return (1 - (2 * both + 1) / (sizes + 1)).mean()


def class_loss(logits: Tensor, target: Tensor, *, exclusive: bool) -> Tensor:
    """Cross-entropy of (n, classes): over the classes if one image has exactly one, else each."""
    if exclusive:
        return functional.cross_entropy(logits, target / target.sum(1, keepdim=True).clamp(min=1))
    return functional.binary_cross_entropy_with_logits(logits, target)
