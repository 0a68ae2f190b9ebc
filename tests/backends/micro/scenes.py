"""Drawn pictures in files, for tests that train: red discs and blue squares among green things."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from backends.micro.exchange import Material
from micro_models.regions import Box, Region

WIDTH, HEIGHT = 320, 240
_COLOURS = {"disc": (190, 60, 60), "square": (60, 70, 180), "other": (60, 150, 70)}


def drawn(folder: Path, number: int, *, seed: int = 0) -> Material:
    """Task `number`: a picture with one to three things, and what is right for it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng([seed, number])
    grain = rng.integers(80, 150, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
    pixels = np.asarray(cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    regions: list[Region] = []
    for label in [*rng.permutation(["disc", "square"])[: rng.integers(1, 3)].tolist(), "other"]:
        side = int(rng.integers(28, 48))
        box = _free(rng, side, [one.shape for one in regions if isinstance(one.shape, Box)])
        colour = (np.array(_COLOURS[label]) + rng.integers(-20, 20, 3)).tolist()
        centre = (int(box.x0 + side / 2), int(box.y0 + side / 2))
        if label == "square":
            corners = (int(box.x0), int(box.y0)), (int(box.x1) - 1, int(box.y1) - 1)
            cv2.rectangle(pixels, *corners, colour, -1)
        else:
            cv2.circle(pixels, centre, side // 2, colour, -1)
        regions.append(Region(label, box))
    path = folder / f"{seed}-{number}.png"
    PIL.Image.fromarray(pixels).save(path)
    return Material(number, path, tuple(one for one in regions if one.label != "other"))


def all_drawn(folder: Path, count: int, *, first: int = 0, seed: int = 0) -> tuple[Material, ...]:
    return tuple(drawn(folder, first + n, seed=seed) for n in range(count))


def misplaced(one: Material, rng: np.random.Generator) -> Material:
    """The same with boxes of the same sizes anywhere."""
    regions = []
    for region in one.regions:
        box = region.shape
        assert isinstance(box, Box)
        regions.append(Region(region.label, _free(rng, int(box.x1 - box.x0), [])))
    return replace(one, regions=tuple(regions))


def swapped(one: Material) -> Material:
    """The same with each label for the other."""
    other = {"disc": "square", "square": "disc"}
    return replace(
        one, regions=tuple(replace(region, label=other[region.label]) for region in one.regions)
    )


def _free(rng: np.random.Generator, side: int, taken: list[Box]) -> Box:
    while True:
        x, y = (int(rng.integers(2, most - side - 2)) for most in (WIDTH, HEIGHT))
        box = Box(x, y, x + side, y + side)
        if not any(
            box.x0 < t.x1 and t.x0 < box.x1 and box.y0 < t.y1 and t.y0 < box.y1 for t in taken
        ):
            return box
