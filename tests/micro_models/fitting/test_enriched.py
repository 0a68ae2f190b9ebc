from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from micro_models.budget import Budget, Progress, ignore
from micro_models.examples import Example
from micro_models.fitting.enriched import EnrichedTrainer
from micro_models.interface import State
from micro_models.regions import Box, Image, Region


def image(level: int) -> Image:
    return Image(np.full((40, 60, 3), level, np.uint8))


def box(score: float = 1.0) -> Region:
    return Region("car", Box(20, 10, 40, 25), score)


class Model:
    """Is as sure of its one box as the image is bright; black images have no box."""

    labels = ("car",)

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        levels = [int(image.pixels[0, 0, 0]) / 200 for image in images]
        return [[box(level)] if level else [] for level in levels]

    def state(self) -> State:
        return State({}, {})


@dataclass
class Trainer:
    """Remembers what it was given."""

    name: str = "fake"
    given: list[tuple[list[Example], Budget]] = field(default_factory=list)

    def suits(self, examples) -> bool:
        return True

    def fit(self, examples, *, budget, seed, unlabelled=(), told=ignore) -> Model:
        self.given.append((list(examples), budget))
        for spent in (0.0, 0.5, 1.0):
            told(Progress("training", spent))
        return Model()

    def restore(self, state) -> Model:
        return Model()


EXAMPLES = [Example(image(100), [box()]), Example(image(100), [box()])]
OTHERS = [image(level) for level in (100, 60, 98, 0)]


def test_off_it_is_the_trainer_itself() -> None:
    trainer = Trainer()
    EnrichedTrainer(trainer).fit(EXAMPLES, budget=Budget(steps=10), seed=0, unlabelled=OTHERS)
    assert trainer.given == [(EXAMPLES, Budget(steps=10))]


def test_pasted_objects_come_after_the_examples() -> None:
    trainer = Trainer()
    rich = EnrichedTrainer(trainer, copy_paste=True)
    rich.fit(EXAMPLES, budget=Budget(steps=10), seed=0, unlabelled=OTHERS)
    ((given, budget),) = trainer.given
    assert (given[:2], len(given), budget) == (EXAMPLES, 6, Budget(steps=10))
    assert all(example.labels == ("car",) for example in given)


def test_what_the_first_model_is_sure_of_teaches_the_second() -> None:
    trainer = Trainer()
    rich = EnrichedTrainer(trainer, pseudo_labels=True)
    told: list[float] = []
    rich.fit(
        EXAMPLES,
        budget=Budget(steps=10),
        seed=0,
        unlabelled=OTHERS,
        told=lambda progress: told.append(progress.spent),
    )
    (first, second) = trainer.given
    assert first == (EXAMPLES, Budget(steps=4))
    # Sure: as sure as of its own examples, or nearly so. The one without a box is not taken.
    taken = second[0][2:]
    assert sorted(int(one.picture.pixels[0, 0, 0]) for one in taken) == [98, 100]
    assert all(one.regions == (box(),) for one in taken)
    assert second[1] == Budget(steps=6)
    assert told == pytest.approx([0, 0.2, 0.4, 0.4, 0.7, 1.0])


def test_a_model_that_finds_nothing_teaches_nothing() -> None:
    trainer = Trainer()
    dark = [Example(image(0), [box()])]
    rich = EnrichedTrainer(trainer, pseudo_labels=True)
    rich.fit(dark, budget=Budget(steps=10), seed=0, unlabelled=OTHERS)
    assert [given for given, _ in trainer.given] == [dark, dark]


def test_seconds_are_divided_and_never_exceeded() -> None:
    trainer = Trainer()
    rich = EnrichedTrainer(trainer, copy_paste=True, pseudo_labels=True)
    rich.fit(EXAMPLES, budget=Budget(seconds=100), seed=0, unlabelled=OTHERS)
    first, second = (budget for _, budget in trainer.given)
    assert first.seconds == pytest.approx(40)
    assert 0 < second.seconds <= 100


def test_the_same_seed_makes_the_same_examples() -> None:
    boxes = []
    for seed in (0, 0, 1):
        trainer = Trainer()
        rich = EnrichedTrainer(trainer, copy_paste=True)
        rich.fit(EXAMPLES, budget=Budget(steps=1), seed=seed, unlabelled=OTHERS)
        boxes.append([example.regions for example in trainer.given[0][0]])
    assert boxes[0] == boxes[1] != boxes[2]
