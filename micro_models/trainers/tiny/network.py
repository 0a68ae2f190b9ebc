"""The tiny network as it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from micro_models.trainers.tiny.layout import (
    COARSE,
    FINE,
    LAYERS,
    LONGEST,
    MIDDLE,
    MIX,
    POOLED,
    SHORTEST,
    Layer,
)

# A heat map begins as background: at first nearly every cell is.
_RARE = -3.5


class Network(nn.Module):
    """About 0.2 M parameters, all of them learnt.

    `heads`: name -> channels, see `Spec.heads`. `half_side`: half of a typical object's side in
    cells. `mean`, `std`: of the training images' three channels. Source of the first weights: K. He
    et al., Delving Deep into Rectifiers (ICCV 2015), arxiv.org/abs/1502.01852.
    """

    mean: Tensor
    std: Tensor
    half_side: Tensor

    def __init__(
        self,
        heads: Mapping[str, int],
        *,
        half_side: float,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.dense_heads = {name: n for name, n in heads.items() if name not in POOLED}
        self.fine, self.middle, self.coarse = _stack(FINE), _stack(MIDDLE), _stack(COARSE)
        self.mix = _stack(MIX)
        self.to_middle = _empty(nn.Conv2d, COARSE[-1].n_out, MIDDLE[-1].n_out, 1)
        self.to_fine = _empty(nn.Conv2d, MIDDLE[-1].n_out, FINE[-1].n_out, 1)
        dense, classes = sum(self.dense_heads.values()), heads.get("classes", 0)
        self.dense = _empty(nn.Conv2d, MIX[-1].n_out, dense, 1) if dense else None
        self.classes = _empty(nn.Linear, 2 * COARSE[-1].n_out, classes) if classes else None
        self.register_buffer("mean", torch.from_numpy(mean).clone())
        self.register_buffer("std", torch.from_numpy(std).clone())
        self.register_buffer("half_side", torch.tensor(half_side, dtype=torch.float32))
        self._begin(generator)

    @torch.no_grad()
    def _begin(self, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.dense:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        biases = {
            "dense": [
                _RARE if name in ("heat", "point_heat") else 0.0
                for name, channels in self.dense_heads.items()
                for _ in range(channels)
            ],
            "classes": [0.0] * (self.classes.out_features if self.classes else 0),
        }
        for head, bias in ((self.dense, biases["dense"]), (self.classes, biases["classes"])):
            if head is not None:
                nn.init.normal_(head.weight, std=0.01, generator=generator)
                head.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(n, h, w, 3) uint8 -> by head (n, channels, h / 4, w / 4), of `classes` (n, channels).

        All are logits but `sides`, in cells, and `angle` and `point_offset`, which are as they
        should be. h and w are multiples of 16.
        """
        x = (images.float() - self.mean) / self.std
        fine = self.fine(x.permute(0, 3, 1, 2))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        outputs: dict[str, Tensor] = {}
        if self.dense is not None:
            middle = middle + functional.interpolate(self.to_middle(coarse), scale_factor=2.0)
            fine = fine + functional.interpolate(self.to_fine(middle), scale_factor=2.0)
            dense = self.dense(self.mix(fine)).split(list(self.dense_heads.values()), dim=1)
            outputs = dict(zip(self.dense_heads, dense, strict=True))
            if "sides" in outputs:
                sides = outputs["sides"].clamp(SHORTEST, LONGEST).exp()
                outputs["sides"] = sides * self.half_side
        if self.classes is not None:
            pooled = torch.cat([coarse.mean((2, 3)), coarse.amax((2, 3))], dim=1)
            outputs["classes"] = self.classes(pooled)
        return outputs

    @torch.no_grad()
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """By the names of `layout.shapes`; each normalisation is folded into its convolution."""
        parts: dict[str, Any] = dict(self.named_modules())
        found: dict[str, Tensor] = {"mean": self.mean, "std": self.std, "half_side": self.half_side}
        for layer in LAYERS:
            convolution, norm = parts[f"{layer.name}.0"], parts[f"{layer.name}.1"]
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            found[f"{layer.name}.weight"] = convolution.weight * gain[:, None, None, None]
            found[f"{layer.name}.bias"] = norm.bias - norm.running_mean * gain
        for name in ("to_middle", "to_fine", "dense", "classes"):
            part = getattr(self, name)
            if part is not None:
                found |= {f"{name}.weight": part.weight, f"{name}.bias": part.bias}
        return {
            name: tensor.detach().cpu().contiguous().numpy().copy()
            for name, tensor in found.items()
        }


def _stack(layers: Iterable[Layer]) -> nn.Sequential:
    return nn.Sequential(*(_block(layer) for layer in layers))


def _block(layer: Layer) -> nn.Sequential:
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    return nn.Sequential(
        _empty(nn.Conv2d, layer.n_in, layer.n_out, 3, bias=False, **options),
        nn.BatchNorm2d(layer.n_out),
        nn.SiLU(inplace=True),
    )


def _empty(kind: Callable[..., nn.Module], *sizes: int, **options: Any) -> Any:
    """A module whose weights are still to be set; torch's own would be of its global generator."""
    return kind(*sizes, **options, device="meta").to_empty(device="cpu")
