"""What the numpy side of SAM needs to know of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spec:
    """One SAM model: its name and the sides of its square input and of its logits, in pixels.

    `sam2`: the image is stretched to a square rather than padded, a box is two points, and an
    unstable single mask gives way to the best of three, as in SAM 2's own predictor.
    """

    model: str
    image_size: int
    mask_size: int
    sam2: bool = False
    maps: tuple[str, ...] = ("image",)
