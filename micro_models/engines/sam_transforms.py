"""Between an image's pixels and SAM's square input: pixels, prompts and masks. Pure numpy."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from micro_models.engines.sam_spec import Spec
from micro_models.regions import Box, Click, Floats, Image, Mask, Prompt, RotatedBox

Array = NDArray[Any]

_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)
_BELONGS, _DOES_NOT, _TOP_LEFT, _BOTTOM_RIGHT, _PADDING = 1.0, 0.0, 2.0, 3.0, -1.0


def input_size(spec: Spec, *, width_px: int, height_px: int) -> tuple[int, int]:
    """How much of the square input an image fills: (width, height) in pixels, at least 1."""
    size = spec.image_size
    if spec.sam2:
        return size, size
    scale = size / max(width_px, height_px)
    return max(1, int(width_px * scale + 0.5)), max(1, int(height_px * scale + 0.5))


def encoder_input(image: Image, spec: Spec) -> Floats:
    """Image -> (1, 3, size, size) float32: resized, normalised, zero to the right and below."""
    width, height = input_size(spec, width_px=image.width_px, height_px=image.height_px)
    # Pillow's antialiased resize is what SAM was trained with.
    small = Pillow.fromarray(image.pixels).resize((width, height), Pillow.Resampling.BILINEAR)
    pixels = np.asarray(small)
    normalised = np.zeros((1, 3, spec.image_size, spec.image_size), np.float32)
    for channel, plane in enumerate(normalised[0, :, :height, :width]):
        np.subtract(pixels[..., channel], _MEAN[channel], out=plane)
        plane /= _DEVIATION[channel]
    return normalised


def decoder_inputs(prompt: Prompt, spec: Spec, *, width_px: int, height_px: int) -> list[Array]:
    """Prompt -> (1, n, 2) points in input pixels, (1, n) labels, (1, 1, side, side) hint, (1,).

    Errors: ValueError where the hint is not one of this model's.
    """
    clicks = [_point(click, width_px, height_px) for click in prompt.clicks]
    box: list[tuple[float, float, float]] = []
    if prompt.box is not None:
        x0, y0, x1, y1 = _clipped(prompt.box, width_px, height_px)
        box = [(x0, y0, _TOP_LEFT), (x1, y1, _BOTTOM_RIGHT)]
        if isinstance(prompt.box, RotatedBox):
            # Its upright hull says little where it is thin and slanted; its middle says the rest.
            middle = Click(prompt.box.center_x, prompt.box.center_y)
            clicks.append(_point(middle, width_px, height_px))
    # SAM appends a padding point where no box follows, SAM 2 always does and puts the box first.
    padding = [(0.0, 0.0, _PADDING)] if spec.sam2 or not box else []
    rows = np.array([*box, *clicks, *padding] if spec.sam2 else [*clicks, *padding, *box])
    width, height = input_size(spec, width_px=width_px, height_px=height_px)
    points = rows[None, :, :2] * (width / width_px, height / height_px)
    points[0, rows[:, 2] == _PADDING] = 0
    side = spec.mask_size
    hint = np.zeros((side, side), np.float32) if prompt.hint is None else prompt.hint
    if hint.shape != (side, side):
        raise ValueError(f"a hint of {spec.model} is ({side}, {side}), not {hint.shape}")
    return [
        points.astype(np.float32),
        rows[None, :, 2].astype(np.float32),
        np.ascontiguousarray(hint, np.float32)[None, None],
        np.array([prompt.hint is not None], np.float32),
    ]


def _point(click: Click, width_px: int, height_px: int) -> tuple[float, float, float]:
    x = min(max(click.x, 0.5), width_px - 0.5)
    y = min(max(click.y, 0.5), height_px - 0.5)
    return x, y, _BELONGS if click.positive else _DOES_NOT


def _clipped(
    box: Box | RotatedBox, width_px: int, height_px: int
) -> tuple[float, float, float, float]:
    if isinstance(box, RotatedBox):
        (x0, y0), (x1, y1) = box.corners().min(axis=0), box.corners().max(axis=0)
    else:
        x0, y0, x1, y1 = box.x0, box.y0, box.x1, box.y1
    return (
        min(max(float(x0), 0.0), width_px),
        min(max(float(y0), 0.0), height_px),
        min(max(float(x1), 0.0), width_px),
        min(max(float(y1), 0.0), height_px),
    )


def choose(logits: Array, scores: Array, prompt: Prompt, spec: Spec) -> int:
    """Which of (n, side, side) masks to answer with; 0 is the single mask, the rest the several.

    A lone click may mean a part or the whole: the best of the several by predicted IoU. Anything
    more says what is meant: the single mask.
    """
    best = 1 + int(np.argmax(np.nan_to_num(scores[1:], nan=-1.0)))
    if len(prompt.clicks) == 1 and prompt.box is None and prompt.hint is None:
        return best
    if spec.sam2 and _stability(logits[0]) < 0.98:
        return best
    return 0


def _stability(logits: Array) -> float:
    """IoU of the masks at thresholds +0.05 and -0.05, SAM 2's measure of a firm edge."""
    outer = np.count_nonzero(logits > -0.05)
    return 1.0 if outer == 0 else np.count_nonzero(logits > 0.05) / outer


def full_mask(logits: Floats, spec: Spec, *, width_px: int, height_px: int) -> Mask:
    """(side, side) logits -> the mask at the image's size, bilinear as in SAM's own predictor."""
    if not spec.sam2:
        size = spec.image_size
        width, height = input_size(spec, width_px=width_px, height_px=height_px)
        logits = cv2.resize(logits, (size, size))[:height, :width]  # type: ignore[assignment]
    return Mask(cv2.resize(logits, (width_px, height_px)) > 0)
