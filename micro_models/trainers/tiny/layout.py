"""The layers of the tiny network as a table, for the code that trains it and the code that runs it.

Features of strides 4, 8 and 16 are computed and added up at stride 4, where one layer more mixes
them and the dense heads read. Source of the shape: T.-Y. Lin et al., Feature Pyramid Networks
(CVPR 2017), arxiv.org/abs/1612.03144.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STRIDE = 4
# The sides of an image must be multiples of it: the coarsest features have this stride.
MULTIPLE = 16
# The logarithm of a side relative to a typical one is kept within.
SHORTEST, LONGEST = -4.0, 5.0
# Heads that read from the whole image instead of each cell.
POOLED = ("classes",)


@dataclass(frozen=True)
class Layer:
    """A convolution of 3 x 3, its normalisation and SiLU."""

    name: str
    n_in: int
    n_out: int
    stride: int = 1
    dilation: int = 1

    @property
    def padding(self) -> int:
        """Keeps the size at stride 1."""
        return self.dilation


# Two thirds of the time goes to strides 2 and 4, so channels are few there.
FINE = (
    Layer("fine.0", 3, 16, stride=2),
    Layer("fine.1", 16, 32, stride=2),
    Layer("fine.2", 32, 32),
)
MIDDLE = (Layer("middle.0", 32, 48, stride=2), Layer("middle.1", 48, 48))
COARSE = (
    Layer("coarse.0", 48, 64, stride=2),
    Layer("coarse.1", 64, 64),
    Layer("coarse.2", 64, 64, dilation=2),
)
MIX = (Layer("mix.0", 32, 32),)
LAYERS = (*FINE, *MIDDLE, *COARSE, *MIX)


def shapes(heads: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The name and shape of every array of a trained network with these heads.

    >>> shapes({"heat": 1, "sides": 4})["dense.weight"]
    (5, 32, 1, 1)
    """
    fine, middle, coarse = FINE[-1].n_out, MIDDLE[-1].n_out, COARSE[-1].n_out
    dense = sum(count for name, count in heads.items() if name not in POOLED)
    found: dict[str, tuple[int, ...]] = {}
    for layer in LAYERS:
        found[f"{layer.name}.weight"] = (layer.n_out, layer.n_in, 3, 3)
        found[f"{layer.name}.bias"] = (layer.n_out,)
    found |= {
        "to_middle.weight": (middle, coarse, 1, 1),
        "to_middle.bias": (middle,),
        "to_fine.weight": (fine, middle, 1, 1),
        "to_fine.bias": (fine,),
        "mean": (3,),
        "std": (3,),
        "half_side": (),
    }
    if dense:
        found |= {"dense.weight": (dense, fine, 1, 1), "dense.bias": (dense,)}
    if "classes" in heads:
        found |= {
            "classes.weight": (heads["classes"], 2 * coarse),
            "classes.bias": (heads["classes"],),
        }
    return found
