"""How a tiny network is trained: every number that was measured, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The defaults are the best found on clips, cells and nuclei: docs/explanation/micro-models.md.

    `crop_px` is a multiple of 16, and so is `large_crop_px`, for objects that would fill a crop.
    `object_share`: of the crops that lie around an object, the others lie anywhere; `whole_share`:
    of the batches that ask for classes of whole images, where places are asked for too.
    The rates rise for `warm_up_steps`, or `warm_up_part` of the budget if that is less.
    `matrix_rate`: of Muon for the convolutions; `rate`: of AdamW for the rest.
    """

    crop_px: int = 128
    batch: int = 8
    large_crop_px: int = 192
    large_batch: int = 4
    object_share: float = 0.75
    whole_share: float = 0.3
    matrix_rate: float = 0.03
    rate: float = 4e-3
    momentum: float = 0.9
    weight_decay: float = 0.01
    warm_up_steps: int = 20
    warm_up_part: float = 0.15
