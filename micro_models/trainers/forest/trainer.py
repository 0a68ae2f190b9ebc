"""The trainer "forest", and its model: objects and classes, each by a forest of their own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.budget import Budget, Clock, Told, ignore
from micro_models.examples import Example
from micro_models.interface import ModelFileError, State
from micro_models.regions import Image, Region
from micro_models.trainers.forest import located, whole

_PARTS = ("located", "whole")

# What is left for trees if the budget was used up before.
_LEAST_S = 0.3

# Of the stored state; another number is another layout.
_FORMAT = 2


@dataclass(frozen=True, eq=False)
class ForestModel:
    """What a forest learned: objects, classes of the whole image, or both."""

    located: located.LocatedModel | None
    whole: whole.WholeModel | None

    @property
    def labels(self) -> Sequence[str]:
        """What it can find, sorted."""
        known = {label for part in (self.located, self.whole) if part for label in part.labels}
        return tuple(sorted(known))

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        """Per image its regions, best first; every class of the whole image among them."""
        return [self._detect(image, min_score) for image in images]

    def _detect(self, image: Image, min_score: float) -> list[Region]:
        found = self.located.detect(image, min_score=min_score) if self.located else []
        classes = self.whole.detect(image) if self.whole else []
        return sorted([*found, *classes], key=lambda region: -region.score)

    def state(self) -> State:
        """All of it, for `ForestTrainer.restore`."""
        states = {name: part.state() for name in _PARTS if (part := getattr(self, name))}
        return State(
            {"forest": _FORMAT, **{name: dict(state.settings) for name, state in states.items()}},
            {
                f"{name}.{key}": array.copy()
                for name, state in states.items()
                for key, array in state.arrays.items()
            },
        )


@dataclass(frozen=True)
class ForestTrainer:
    """Learns objects of every shape and classes of whole images; a step of its budget is a tree.

    It is done after some forty trees, whatever the budget has left.

    >>> from micro_models.regions import Box
    >>> pixels = np.zeros((48, 64, 3), np.uint8)
    >>> pixels[16:32, 24:40] = 255
    >>> example = Example(Image(pixels), [Region("square", Box(24, 16, 40, 32))])
    >>> model = ForestTrainer().fit([example], budget=Budget(steps=8), seed=0)
    >>> best = model.detect([Image(pixels)])[0][0]
    >>> best.label, round(best.shape.x0), round(best.shape.y1)
    ('square', 24, 32)
    """

    name: str = "forest"

    def suits(self, examples: Sequence[Example]) -> bool:
        """Whether anything is labelled in them: it learns all shapes."""
        return any(example.regions for example in examples)

    def fit(
        self,
        examples: Sequence[Example],
        *,
        budget: Budget,
        seed: int,
        unlabelled: Sequence[Image] = (),  # noqa: ARG002 - seconds are better spent on the labels
        told: Told = ignore,
    ) -> ForestModel:
        """Train on all examples; the same seed and budget of steps give the same model."""
        clock = _ready(budget)
        rngs = [np.random.default_rng([seed % 2**63, part]) for part in range(2)]
        classes = whole.fit(examples, clock=clock, rng=rngs[0], told=told)
        found = located.fit(examples, clock=clock, rng=rngs[1], told=told)
        return ForestModel(found, classes)

    def restore(self, state: State) -> ForestModel:
        """The same model again.

        Errors: `ModelFileError` for a state that does not fit together.
        """
        parts = {name: state.settings[name] for name in _PARTS if name in state.settings}
        arrays: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in parts}
        for key, array in state.arrays.items():
            part, _, name = key.partition(".")
            arrays.setdefault(part, {})[name] = array
        told_all = set(arrays) == set(parts) and set(state.settings) == {"forest", *parts}
        if not told_all or state.settings["forest"] != _FORMAT:
            raise ModelFileError("this is no state of a forest; train the model again")
        if not all(isinstance(part, Mapping) for part in parts.values()):
            raise ModelFileError("this is no state of a forest; train the model again")
        return ForestModel(
            located.restore(parts["located"], arrays["located"]) if "located" in parts else None,
            whole.restore(parts["whole"], arrays["whole"]) if "whole" in parts else None,
        )


def _ready(budget: Budget) -> Clock:
    """A clock that began before scikit-learn was imported.

    Once in a process that takes a second; if nothing is left then, a little is: for some trees.
    """
    clock = budget.start()
    importlib.import_module("sklearn.tree")
    if budget.seconds is None or not clock.over:
        return clock
    return replace(budget, seconds=min(budget.seconds, _LEAST_S)).start()
