"""Annotations of a made-up project: what predictions do to them is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backends.impact.nouns import Served
from micro_models.regions import Box, Region

SIZE_PX = (400, 200)


@dataclass(frozen=True)
class People:
    """How they work. `left`: the share of a model's mistakes that they leave standing."""

    factor: float = 1.5
    left: float = 0.0
    missed_less: float = 0.0
    annotators: int = 2
    share: float = 0.1
    had_prediction: float = 1.0


def served(rng: np.random.Generator, tasks: int, people: People = People()) -> tuple[Served, ...]:
    """One annotation of each of `tasks` tasks, in their order."""
    return tuple(_one(rng, number, people) for number in range(tasks))


def _one(rng: np.random.Generator, number: int, people: People) -> Served:
    blind = bool(rng.random() < people.share)
    things = [_box(rng, "cat" if rng.random() < 0.6 else "собака") for _ in range(rng.poisson(3))]
    found = [one for one in things if rng.random() < 0.8]
    extra = [_box(rng, "cat") for _ in range(rng.poisson(0.5))]
    if blind:
        regions = things
    else:
        regions = [one for one in things if one in found or rng.random() > people.left] + [
            one for one in extra if rng.random() < people.left
        ]
    annotator = int(rng.integers(people.annotators))
    seconds = (5.0 + 20 * annotator) * float(rng.lognormal(0, 0.5))
    return Served(
        number,
        annotator,
        blind,
        at=1_000.0 + number,
        seconds=seconds * (people.factor if blind else 1.0),
        had_prediction=not blind and bool(rng.random() < people.had_prediction),
        regions=tuple(regions),
        size_px=SIZE_PX,
        found=(*found, *extra),
    )


def _box(rng: np.random.Generator, label: str) -> Region:
    x, y = rng.uniform(0, 360), rng.uniform(0, 160)
    return Region(label, Box(x, y, x + rng.uniform(10, 40), y + rng.uniform(10, 40)))
