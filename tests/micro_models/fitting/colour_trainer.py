"""A trainer that is quick and easily fooled: an object is what has the objects' mean colour."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.budget import Budget, Progress, Told, ignore
from micro_models.examples import Example, image_of
from micro_models.interface import Learned, ModelFileError, State
from micro_models.regions import Box, Image, Region


@dataclass(frozen=True, eq=False)
class ColourModel:
    names: tuple[str, ...]
    colours: NDArray[np.float32]
    confidence: float

    @property
    def labels(self) -> Sequence[str]:
        return self.names

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        return [
            [
                one
                for one in sorted(self._found(image), key=lambda r: -r.score)
                if one.score >= min_score
            ]
            for image in images
        ]

    def state(self) -> State:
        settings = {"labels": list(self.names), "confidence": self.confidence}
        return State(settings, {"colours": self.colours})

    def _found(self, image: Image) -> list[Region]:
        regions = []
        for label, colour in zip(self.names, self.colours, strict=True):
            away = np.abs(image.pixels - colour).max(axis=2)
            near = (away < 30).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(near)
            for x, y, width, height, area in stats[1:count].tolist():
                score = self.confidence * area / (width * height)
                regions.append(Region(label, Box(x, y, x + width, y + height), score))
        return regions


class ColourTrainer:
    """`confidence`, 0..1, is what the model's best score is; `slow_s` what each step takes."""

    def __init__(
        self, name: str = "colour", *, confidence: float = 0.9, slow_s: float = 0.0
    ) -> None:
        self.name = name
        self.calls: list[tuple[int, Budget, int]] = []
        self._confidence, self._slow_s = confidence, slow_s

    def suits(self, examples: Sequence[Example]) -> bool:
        return all(isinstance(r.shape, Box) for one in examples for r in one.regions)

    def fit(
        self,
        examples: Sequence[Example],
        *,
        budget: Budget,
        seed: int,
        unlabelled: Sequence[Image] = (),
        told: Told = ignore,
    ) -> Learned:
        self.calls.append((len(examples), budget, seed))
        clock = budget.start()
        while not clock.over:
            time.sleep(self._slow_s)
            clock.tick()
            told(Progress(self.name, clock.spent, clock.steps))
        names = sorted({label for one in examples for label in one.labels})
        colours = [_mean_colour(examples, label) for label in names]
        return ColourModel(
            tuple(names), np.array(colours, np.float32).reshape(-1, 3), self._confidence
        )

    def restore(self, state: State) -> Learned:
        colours = state.arrays["colours"]
        names = tuple(state.settings["labels"])
        if colours.shape != (len(names), 3):
            raise ModelFileError("a colour for each label")
        return ColourModel(names, colours, state.settings["confidence"])


def _mean_colour(examples: Sequence[Example], label: str) -> NDArray[np.float32]:
    pixels = [
        image_of(one.picture).pixels[
            int(r.shape.y0) : int(r.shape.y1), int(r.shape.x0) : int(r.shape.x1)
        ]
        for one in examples
        for r in one.regions
        if r.label == label and isinstance(r.shape, Box)
    ]
    return np.concatenate([one.reshape(-1, 3) for one in pixels]).mean(axis=0).astype(np.float32)


def scene(x: int, y: int, *, label: str = "ball", level: int = 230, grain: int = 0) -> Example:
    """A bright 16 x 16 square on grey; `grain` seeds the noise."""
    noise = np.random.default_rng(grain).integers(-10, 11, (72, 96, 3))
    pixels = (100 + noise).astype(np.uint8)
    pixels[y : y + 16, x : x + 16] = level
    return Example(Image(pixels), [Region(label, Box(x, y, x + 16, y + 16))])


def scenes(count: int) -> list[Example]:
    rng = np.random.default_rng(0)
    return [scene(*rng.integers(0, [80, 56]).tolist(), grain=n) for n in range(count)]
