"""Drawn pictures of red squares on noise, for tests that train."""

from __future__ import annotations

import numpy as np

from micro_models.examples import Example
from micro_models.regions import Box, Image, Region


def squares(
    count: int, *, each: int = 1, side: int = 20, size: tuple[int, int] = (128, 96), seed: int = 0
) -> list[Example]:
    """`count` pictures (width, height) with `each` red squares in them."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        pixels = rng.integers(90, 150, (size[1], size[0], 3)).astype(np.uint8)
        regions = []
        for column in range(each):
            room = size[0] // each
            x = column * room + int(rng.integers(0, room - side))
            y = int(rng.integers(0, size[1] - side))
            pixels[y : y + side, x : x + side] = (200, 30, 30)
            regions.append(Region("square", Box(x, y, x + side, y + side)))
        found.append(Example(Image(pixels), regions))
    return found
