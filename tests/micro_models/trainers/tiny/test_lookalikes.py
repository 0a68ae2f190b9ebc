from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from micro_models.trainers.tiny.lookalikes import stay_apart


def arrow(seed, *, quarters=0, color=(230, 220, 40)):
    """It points to the left; turned counter-clockwise by `quarters`."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(100, 140, (24, 20, 3)).astype(np.uint8)
    rows, columns = np.indices((24, 20))
    pixels[abs(rows - 12) < columns * 0.5 - rng.integers(0, 3)] = color
    return np.rot90(pixels, quarters)


def texture(seed):
    """Nothing faces anywhere; each label has its own blotches."""
    return np.kron(
        np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8),
        np.ones((5, 5, 1), np.uint8),
    )


def left(seed):
    return arrow(seed)


def right(seed):
    return arrow(seed, quarters=2)


def up(seed):
    return arrow(seed, quarters=3)


def blue(seed):
    return arrow(seed, color=(20, 40, 230))


@pytest.mark.parametrize("each", [1, 2, 5])
@pytest.mark.parametrize(
    ("one", "other", "mirror", "turn"),
    [
        (left, right, False, True),
        (left, up, True, False),
        (left, blue, True, True),
        (up, blue, True, True),
        (texture, left, True, True),
    ],
)
def test_a_change_that_makes_one_label_of_another_is_told(one, other, mirror, turn, each):
    crops = [draw(seed) for draw in (one, other) for seed in range(each)]
    groups = ["one"] * each + ["other"] * each
    assert stay_apart(crops, groups, np.fliplr) is mirror
    assert stay_apart(crops, groups, partial(np.rot90, k=1)) is turn


def test_two_of_many_labels_are_enough():
    draws = {
        "left": left,
        "right": right,
        **{f"at {n}": lambda _, n=n: texture(n) for n in range(9)},
    }
    crops, groups = zip(
        *((draw(n), name) for name, draw in draws.items() for n in range(3)), strict=True
    )
    assert not stay_apart(crops, groups, np.fliplr)
    assert stay_apart(crops[6:], groups[6:], np.fliplr)


@pytest.mark.parametrize("groups", [[], ["a"], ["a", "a"]])
def test_one_label_may_face_anywhere(groups):
    assert stay_apart([left(0), right(0)][: len(groups)], groups, np.fliplr)
