"""A small SAM, trained on drawn shapes: real enough to prove where prompts land.

`python -m tests.small_sam FILE` trains it, about 20 minutes on two cores; `python -m
tests.small_sam FILE OLD` trains OLD a little further. The result is kept as `tests/small_sam.pt`,
so that tests need not wait for it: 3,000 steps, then 1,000 more after boxes had been given more
weight.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn

from micro_models.engines.checkpoints import read_tensors
from micro_models.engines.sam_decoder import Decoder
from micro_models.engines.sam_spec import Spec
from micro_models.engines.sam_torch import Encoder
from micro_models.engines.sam_transforms import decoder_inputs, encoder_input, input_size
from micro_models.regions import Bools, Box, Click, Image, Prompt

SIZE, PATCH, CHANNELS = 64, 4, 128
SPEC = Spec(model="small", image_size=SIZE, mask_size=4 * SIZE // PATCH)
STEPS, IMAGES, PROMPTS = 3000, 8, 4
KINDS = ("circle", "rectangle", "triangle", "star")


# Drawing ------------------------------------------------------------------------------------


def draw_scene(
    rng: np.random.Generator, width_px: int, height_px: int
) -> tuple[Image, list[Bools]]:
    """Plain shapes apart from each other on a textured ground, and each one's (h, w) mask."""
    canvas = _ground(rng, width_px, height_px)
    masks = [mask for mask, _ in _place(rng, canvas, int(rng.integers(2, 6)))]
    return Image(_grain(rng, canvas)), masks


def draw_badge(
    rng: np.random.Generator, width_px: int, height_px: int
) -> tuple[Image, Bools, Bools]:
    """One shape with a smaller shape of another colour on it: image, the whole, the inner one.

    One click means the part of the colour under it, a box or a click on each part the whole; a
    negative click on the inner shape takes that off.
    """
    canvas = _ground(rng, width_px, height_px)
    (whole, outline), *_ = _place(rng, canvas, 1, least=0.36, kinds=("circle", "rectangle"))
    inner = _inner(rng, canvas, outline)
    return Image(_grain(rng, canvas)), whole, inner


def point_in(rng: np.random.Generator, mask: Bools) -> tuple[float, float]:
    """A random point (x, y) well inside a mask."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= 0.5 * depth.max())
    index = rng.integers(len(rows))
    return float(columns[index]) + 0.5, float(rows[index]) + 0.5


def box_of(mask: Bools) -> Box:
    """The tight box of a mask."""
    rows, columns = np.nonzero(mask)
    return Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def _ground(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    coarse = rng.uniform(40, 215, 3) + rng.uniform(-25, 25, (6, 6, 3))
    return cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def _grain(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    grain = rng.integers(-10, 11, canvas.shape[:2])[..., None]
    return np.clip(canvas + grain, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator, *others: np.ndarray) -> np.ndarray:
    while True:
        colour = rng.uniform(0, 255, 3)
        if all(np.abs(colour - other).max() > 90 for other in others):
            return colour


def _outline(
    rng: np.random.Generator, center: np.ndarray, radius: float, kinds: tuple[str, ...] = KINDS
) -> np.ndarray:
    kind = rng.choice(kinds)
    turn = rng.uniform(0, 2 * np.pi)
    if kind == "rectangle":
        half = rng.uniform(0.6, 1.0)
        corners = np.arctan2([half, half, -half, -half], [1, -1, -1, 1])
        angles, radii = corners + turn, np.full(4, radius)
    else:
        count = {"circle": 48, "triangle": 3, "star": 10}[kind]
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + turn
        radii = np.full(count, radius)
        if kind == "star":
            radii[1::2] *= 0.55
    return center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _fill(outline: np.ndarray, shape: tuple[int, ...]) -> Bools:
    mask = np.zeros(shape[:2], np.uint8)
    # Pixel (column, row) covers [column, column + 1): its middle is half a pixel further.
    fixed = np.round((outline - 0.5) * 256).astype(np.int32)
    return cv2.fillPoly(mask, [fixed], 1, shift=8).astype(bool)


def _place(
    rng: np.random.Generator,
    canvas: np.ndarray,
    count: int,
    least: float = 0.16,
    kinds: tuple[str, ...] = KINDS,
) -> list[tuple[Bools, np.ndarray]]:
    height, width = canvas.shape[:2]
    short, long = min(width, height), max(width, height)
    placed: list[tuple[np.ndarray, float, Bools, np.ndarray]] = []
    for _ in range(40):
        radius = min(max(rng.uniform(least, 0.42) * short, 0.13 * long), 0.45 * short)
        center = rng.uniform([radius, radius], [width - radius, height - radius])
        if all(np.hypot(*(center - c)) > radius + r + 0.02 * long for c, r, _, _ in placed):
            outline = _outline(rng, center, radius, kinds)
            mask = _fill(outline, canvas.shape)
            canvas[mask] = _colour(rng, canvas[mask].mean(axis=0))
            placed.append((center, radius, mask, outline))
        if len(placed) == count:
            break
    return [(mask, outline) for _, _, mask, outline in placed]


def _inner(rng: np.random.Generator, canvas: np.ndarray, outline: np.ndarray) -> Bools:
    center = outline.mean(axis=0)
    following = np.roll(outline, -1, axis=0)
    # How far the nearest edge's middle is: what an inner shape may reach.
    reach = np.hypot(*((outline + following) / 2 - center).T).min()
    inner = _fill(_outline(rng, center, reach * rng.uniform(0.6, 0.8)), canvas.shape)
    canvas[inner] = _colour(rng, canvas[inner].mean(axis=0))
    return inner


# Training -----------------------------------------------------------------------------------


def build() -> Sam:
    """The small SAM with random weights."""
    grid = SIZE // PATCH
    sam = Sam(
        ImageEncoderViT(
            img_size=SIZE,
            patch_size=PATCH,
            embed_dim=96,
            depth=3,
            num_heads=4,
            mlp_ratio=3,
            out_chans=CHANNELS,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=8,
            global_attn_indexes=(1, 2),
        ),
        PromptEncoder(CHANNELS, (grid, grid), (SIZE, SIZE), mask_in_chans=8),
        MaskDecoder(
            transformer_dim=CHANNELS,
            transformer=TwoWayTransformer(2, CHANNELS, num_heads=8, mlp_dim=128),
            iou_head_hidden_dim=64,
        ),
    )
    # As drawn, neighbouring places look alike; years of GPU time would sort that out.
    sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix *= 1.5
    return sam


def train(
    steps: int = STEPS, *, seed: int = 0, report_every: int = 0, start: Path | None = None
) -> Sam:
    """Train on freshly drawn scenes, from weights in `start` if given, then more gently."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sam, rate = build(), 1e-3
    if start is not None:
        sam.load_state_dict(read_tensors(start))
        rate = 3e-4
    encoder, decoder = (
        Encoder(sam.image_encoder),
        Decoder(sam.prompt_encoder, sam.mask_decoder, image_size=SIZE),
    )
    optimizer = torch.optim.AdamW(sam.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.05)
    start = time.perf_counter()
    for step in range(steps):
        images, prompts, targets = _batch(rng)
        features = _features(encoder, images).repeat_interleave(PROMPTS, dim=0)
        grouped = _grouping(features, *prompts[:2], targets)
        first, scores = decoder(*prompts, features)
        loss, overlap = _loss(first, scores, targets, done=step / steps)
        if step % 2:
            again = _corrected(rng, prompts, first.detach(), targets)
            loss = loss + _loss(*decoder(*again, features), targets, done=step / steps)[0]
        optimizer.zero_grad()
        (loss + grouped).backward()
        nn.utils.clip_grad_norm_(sam.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if report_every and step % report_every == 0:
            print(f"{step} {time.perf_counter() - start:.0f}s {loss.item():.3f} {overlap:.3f}")
    return sam


def _features(encoder: Encoder, images: Tensor) -> Tensor:
    # Without the rounding to float16 of `Encoder.forward`, which would lose small gradients.
    return encoder.features(images).flatten(2).transpose(1, 2)


def _batch(rng: np.random.Generator) -> tuple[Tensor, list[Tensor], Tensor]:
    images, prompts, targets = [], [], []
    for _ in range(IMAGES):
        long, short = int(rng.integers(64, 288)), rng.uniform(0.5, 1.0)
        width, height = (
            (long, int(long * short)) if rng.random() < 0.5 else (int(long * short), long)
        )
        image, wanted = _lesson(rng, width, height)
        images.append(encoder_input(image, SPEC)[0])
        for prompt, mask in wanted:
            prompts.append(decoder_inputs(prompt, SPEC, width_px=width, height_px=height))
            targets.append(_target(mask))
    longest = max(inputs[1].shape[1] for inputs in prompts)
    for inputs in prompts:
        spare = longest - inputs[1].shape[1]
        inputs[0] = np.pad(inputs[0], [(0, 0), (0, spare), (0, 0)])
        inputs[1] = np.pad(inputs[1], [(0, 0), (0, spare)], constant_values=-1)
    stacked = [torch.from_numpy(np.concatenate(column)) for column in zip(*prompts, strict=True)]
    return torch.from_numpy(np.stack(images)), stacked, torch.from_numpy(np.stack(targets))


def _lesson(
    rng: np.random.Generator, width: int, height: int
) -> tuple[Image, list[tuple[Prompt, Bools]]]:
    if rng.random() < 0.4:
        image, whole, inner = draw_badge(rng, width, height)
        ring, box = whole & ~inner, _near(rng, box_of(whole))
        on, within = Click(*point_in(rng, ring)), Click(*point_in(rng, inner))
        off = Click(within.x, within.y, positive=False)
        more = [
            (Prompt((on, off)), ring),
            (Prompt((on, within)), whole),
            (Prompt((within,)), inner),
            (Prompt((), box_of(inner)), inner),
        ]
        always = [(Prompt((on,)), ring), (Prompt((), box), whole), (Prompt((off,), box), ring)]
        return image, [*always, more[rng.integers(len(more))]]
    image, masks = draw_scene(rng, width, height)
    return image, [_prompt(rng, masks[index % len(masks)]) for index in range(PROMPTS)]


def _prompt(rng: np.random.Generator, mask: Bools) -> tuple[Prompt, Bools]:
    click, near = Click(*point_in(rng, mask)), _near(rng, box_of(mask))
    away = Click(*point_in(rng, ~mask), positive=False)
    kinds = [Prompt((click,)), Prompt((), near), Prompt((click, away)), Prompt((click,), near)]
    return kinds[rng.choice(4, p=[0.4, 0.4, 0.1, 0.1])], mask


def _near(rng: np.random.Generator, box: Box) -> Box:
    """The box as a hurried hand draws it."""
    sides = [box.x1 - box.x0, box.y1 - box.y0]
    x0, y0, x1, y1 = rng.normal(0, 0.02, 4) * np.tile(sides, 2)
    return Box(box.x0 + x0, box.y0 + y0, box.x1 + x1, box.y1 + y1)


def _target(mask: Bools) -> np.ndarray:
    height, width = mask.shape
    size = input_size(SPEC, width_px=width, height_px=height)
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    target = np.zeros((SIZE, SIZE), np.float32)
    target[: size[1], : size[0]] = small
    return target


def _loss(logits: Tensor, scores: Tensor, targets: Tensor, *, done: float) -> tuple[Tensor, float]:
    """Errors of every mask token and of its predicted IoU; and the mean IoU.

    Dice finds the objects, cross-entropy then sharpens the edges: `done` 0..1 shifts the weight.
    """
    wanted = targets[:, None].expand_as(logits)
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, wanted)
    shown = logits.sigmoid()
    shared, total = (shown * wanted).sum((2, 3)), (shown + wanted).sum((2, 3))
    dice = (1 - (2 * shared + 1) / (total + 1)).mean()
    overlap = _iou(logits.detach() > 0, wanted > 0.5)
    loss = (2 + 6 * done) * entropy + (1 - done) * dice + nn.functional.mse_loss(scores, overlap)
    return loss, overlap[:, 0].mean().item()


def _grouping(features: Tensor, points: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """How badly features tell the clicked object's places from others; it teaches the encoder.

    Only prompts of one positive click and no box count: there the object is what was clicked.
    """
    lone = ((labels == 1).sum(1) == 1) & ~(labels == 2).any(1)
    features = nn.functional.normalize(features[lone], dim=-1)
    clicked = points[lone][labels[lone] == 1]
    cells = (clicked / PATCH).long().clamp(0, SIZE // PATCH - 1)
    places = cells[:, 1] * (SIZE // PATCH) + cells[:, 0]
    anchors = features[torch.arange(len(places)), places]
    alike = (features @ anchors.unsqueeze(2)).squeeze(2)
    covered = nn.functional.avg_pool2d(targets[lone][:, None], PATCH).flatten(1)
    return nn.functional.binary_cross_entropy_with_logits(12 * alike - 6, covered)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    return (a & b).sum((2, 3)) / (a | b).sum((2, 3)).clamp(min=1)


def _corrected(
    rng: np.random.Generator, prompts: list[Tensor], logits: Tensor, targets: Tensor
) -> list[Tensor]:
    """The same prompts with a click where the answer was wrong, and the answer as the hint."""
    wanted, answer = (targets > 0.5).numpy(), (logits[:, 0] > 0).numpy()
    points, labels = [], []
    for want, got in zip(wanted, answer, strict=True):
        wrong = want != got
        rows, columns = np.nonzero(wrong if wrong.any() else want)
        index = rng.integers(len(rows))
        points.append([columns[index] + 0.5, rows[index] + 0.5])
        labels.append([float(want[rows[index], columns[index]])])
    return [
        torch.cat([prompts[0], torch.tensor(points, dtype=torch.float32)[:, None]], dim=1),
        torch.cat([prompts[1], torch.tensor(labels)], dim=1),
        logits[:, :1],
        torch.ones(len(points)),
    ]


def save(sam: Sam, path: Path) -> None:
    """Save the weights as segment-anything saves its own, in half precision."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    torch.save({name: tensor.half() for name, tensor in sam.state_dict().items()}, unfinished)
    unfinished.replace(path)


if __name__ == "__main__":
    target, *before = [Path(argument) for argument in sys.argv[1:]]
    start = before[0] if before else None
    save(train(1000 if start else STEPS, report_every=50, start=start, seed=len(before)), target)
