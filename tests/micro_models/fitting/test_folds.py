"""Groups of examples that are held out together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro_models.examples import Example
from micro_models.fitting.folds import folds, held_out
from micro_models.regions import Image, Region, WholeImage

IMAGE = Image(np.zeros((4, 4, 3), np.uint8))


def labelled(*labels: str) -> Example:
    return Example(IMAGE, [Region(label, WholeImage()) for label in labels])


@given(st.lists(st.sets(st.sampled_from("abcd")), max_size=30), st.integers(2, 6))
def test_every_example_is_in_one_group_and_none_is_empty(sets: list[set[str]], count: int) -> None:
    examples = [labelled(*sorted(labels)) for labels in sets]
    groups = folds(examples, count=count)
    if len(sets) < 2:
        assert groups == ()
        return
    assert sorted(index for group in groups for index in group) == list(range(len(sets)))
    assert len(groups) == min(count, len(sets))
    assert all(groups)
    assert groups == folds(examples, count=count)


def test_a_rare_label_is_spread() -> None:
    examples = [labelled("often") for _ in range(9)] + [labelled("often", "rare")] * 3
    for group in folds(examples, count=3):
        assert sum("rare" in examples[index].labels for index in group) == 1
        assert len(group) == 4


def test_what_has_no_object_is_spread_too() -> None:
    examples = [labelled() for _ in range(3)] + [labelled("ball") for _ in range(3)]
    for group in folds(examples, count=3):
        assert sorted(len(examples[index].regions) for index in group) == [0, 1]


@pytest.mark.parametrize("size", [1, 39, 40, 41, 1000])
def test_of_many_a_spread_part_is_looked_at(size: int) -> None:
    chosen = held_out(range(size))
    assert len(chosen) == len(set(chosen)) == min(size, 40)
    assert max(chosen, default=0) >= size * 0.97 - 1
