"""Which images a model knows: those like its own, however odd one of these is."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.fitting.limits import LEAST_REACH, Limits
from micro_models.regions import Image

BLACK = Image(np.zeros((48, 64, 3), np.uint8))


def meadow(seed: int, spread: int = 20) -> Image:
    noise = np.random.default_rng(seed).integers(0, spread, (48, 64, 3))
    return Image((np.array([60, 150, 40]) + noise).astype(np.uint8))


def street(seed: int) -> Image:
    """Grey stripes, each another width."""
    stripes = 60 + 120 * (np.arange(64) // (2 + seed) % 2)
    return Image(np.repeat(np.tile(stripes, (48, 1))[..., None], 3, axis=2).astype(np.uint8))


@pytest.mark.parametrize("count", [4, 14])
def test_one_odd_image_does_not_make_strange_ones_known(count: int) -> None:
    usual = [meadow(seed) for seed in range(count)]
    limits = Limits.of([*usual, BLACK])
    assert [limits.trust(street(n)) for n in range(3)] == [0.0] * 3
    assert limits.reach == Limits.of(usual).reach
    assert limits.trust(BLACK) == limits.trust(meadow(99)) == 1.0


def test_images_that_differ_reach_farther() -> None:
    some = [street(0), meadow(0), BLACK, meadow(1, 200), street(5)]
    assert Limits.of(some).reach > LEAST_REACH
    assert Limits.of([BLACK]).reach == Limits.of([BLACK, BLACK]).reach == LEAST_REACH
