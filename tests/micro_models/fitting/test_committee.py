"""Two models that answer together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from micro_models.budget import Budget
from micro_models.fitting.builtin import trainer_named
from micro_models.fitting.committee import Committee, CommitteeTrainer, together
from micro_models.interface import ModelFileError, State
from micro_models.regions import Box, Image, Point, Region, WholeImage
from tests.micro_models.fitting.colour_trainer import ColourTrainer, scenes

STEPS = Budget(steps=4)
IMAGE = Image(np.zeros((40, 60, 3), np.uint8))


@dataclass(frozen=True)
class Says:
    """A model that always finds the same."""

    regions: tuple[Region, ...]
    labels: tuple[str, ...] = ("a",)

    def detect(self, images: list[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        return [[one for one in self.regions if one.score >= min_score] for _ in images]

    def state(self) -> State:
        return State({"labels": list(self.labels)}, {})


def at(x: float, score: float, label: str = "a") -> Region:
    return Region(label, Box(x, 0, x + 10, 10), score)


def test_what_both_find_stays_and_what_one_finds_is_doubted() -> None:
    both, alone, other = together([at(0, 0.6), at(30, 0.6)], [at(2, 0.6), at(0, 0.6, "b")])
    assert (both.shape, both.score) == (Box(1, 0, 11, 10), pytest.approx(0.6))
    assert {alone.label, other.label} == {"a", "b"}
    assert 0.1 < alone.score == other.score < 0.3


def test_shapes_other_than_boxes_are_those_of_the_second() -> None:
    (told,) = together([Region("a", Point(3, 3), 0.2)], [Region("a", Point(5, 5), 0.8)])
    assert told.shape == Point(5, 5)
    assert told.score == pytest.approx(0.5)


def test_who_finds_hardly_anything_counts_as_who_finds_nothing() -> None:
    (hardly,) = together([at(0, 0.5)], [at(0, 0.0)])
    (nothing,) = together([at(0, 0.5)], [])
    assert hardly.score == pytest.approx(nothing.score)


def test_classes_are_joined_by_label() -> None:
    first = [Region("day", WholeImage(), 0.9), Region("night", WholeImage(), 0.1)]
    second = [Region("night", WholeImage(), 0.5), Region("day", WholeImage(), 0.5)]
    assert [(one.label, round(one.score, 2)) for one in together(first, second)] == [
        ("day", 0.75),
        ("night", 0.25),
    ]


def test_what_one_hardly_believes_still_counts() -> None:
    committee = Committee(Says((at(0, 0.04),)), Says((at(0, 0.9999),)))
    (found,) = committee.detect([IMAGE], min_score=0.5)
    assert [one.score for one in found] == [pytest.approx(0.95, abs=0.01)]


def test_a_half_that_is_missing_is_told() -> None:
    trainer = CommitteeTrainer(ColourTrainer("one"), ColourTrainer("two"))
    state = trainer.fit(scenes(2), budget=STEPS, seed=0).state()
    broken = State({"first": state.settings["first"]}, state.arrays)
    with pytest.raises(ModelFileError, match="lacks its second half"):
        trainer.restore(broken)


def test_its_name_names_both() -> None:
    others = [ColourTrainer("one"), ColourTrainer("two")]
    assert trainer_named("one+two", others).name == "one+two"
    with pytest.raises(ModelFileError, match="'three'"):
        trainer_named("one+three", others)
