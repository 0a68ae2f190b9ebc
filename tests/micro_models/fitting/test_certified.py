"""Certified answers are trained on, and are nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from micro_models import Budget, Example, fit
from micro_models.budget import ignore
from micro_models.fitting.album import Album
from micro_models.fitting.certified import chosen
from micro_models.interface import State
from micro_models.regions import Box, Image, Mask, Region


def image(level: int) -> Image:
    return Image(np.full((40, 60, 3), level, np.uint8))


def example(level: int, label: str = "car") -> Example:
    return Example(image(level), [Region(label, Box(20, 10, 40, 25))])


def level_of(one: Example) -> int:
    assert isinstance(one.picture, Image)
    return int(one.picture.pixels[0, 0, 0])


class Model:
    """Finds the box everywhere."""

    labels = ("car",)

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        return [[Region("car", Box(20, 10, 40, 25), 0.9)] for _ in images]

    def state(self) -> State:
        return State({}, {})


@dataclass
class Trainer:
    """Remembers how bright the pictures were that it learned from."""

    name: str = "forest"
    given: list[list[int]] = field(default_factory=list)

    def suits(self, examples) -> bool:
        return True

    def fit(self, examples, *, budget, seed, unlabelled=(), told=ignore) -> Model:
        self.given.append([level_of(one) for one in examples])
        return Model()

    def restore(self, state) -> Model:
        return Model()


def test_they_are_trained_on_always_and_never_held_out_nor_counted() -> None:
    trainer = Trainer()
    people, pseudo = [example(n) for n in (10, 11, 12)], [example(n) for n in (90, 91)]
    model = fit(people, pseudo=pseudo, budget=Budget(steps=4), trainers=[trainer])
    for levels in trainer.given:
        assert set(levels) >= {90, 91}
        assert len(levels) == len(set(levels))
    held_out = [{10, 11, 12} - set(levels) for levels in trainer.given]
    assert sorted(map(len, held_out)) == [0, 1, 1, 1]
    assert len(model.held_out) == 3
    assert model.report.examples == 3
    assert model.report.labels == {"car": 3}
    assert any("2 pictures with pseudo-labels" in note for note in model.report.notes)


def test_without_any_nothing_is_said_of_them() -> None:
    model = fit([example(10)] * 2, budget=Budget(steps=4), trainers=[Trainer()])
    assert not any("pseudo" in note for note in model.report.notes)


def test_what_cannot_be_read_or_has_another_label_is_left_out(tmp_path: Path) -> None:
    damaged = tmp_path / "a.png"
    damaged.write_bytes(b"no picture")
    of_another_size = Region("car", Mask(np.ones((3, 3), np.bool_)))
    some = [
        Example(damaged, [Region("car", Box(0, 0, 9, 9))]),
        Example(tmp_path / "gone.png"),
        Example(image(50), [of_another_size]),
        example(60, "dog"),
        example(70),
        Example(image(80)),
    ]
    album = Album((example(10), example(11)), sizes=((60, 40),) * 2)
    found = chosen(some, album, rng=np.random.default_rng(0))
    assert sorted(level_of(one) for one in found) == [70, 80]
