"""Models of the same examples that answer together: what both find is more surely right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from micro_models.budget import Budget, Told, ignore
from micro_models.evaluation.matching import match
from micro_models.examples import Example
from micro_models.interface import Learned, ModelFileError, State, Trainer
from micro_models.regions import Box, Image, Region

# What finding nothing at a place counts, and finding hardly anything.
_MISSED = 0.03
_MOST = 0.9999


@dataclass(frozen=True, eq=False)
class Committee:
    """Two models; regions are told in the shapes of the second, boxes as the mean of both."""

    first: Learned
    second: Learned

    @property
    def labels(self) -> Sequence[str]:
        """What either can find, sorted."""
        return sorted({*self.first.labels, *self.second.labels})

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        """As `Learned.detect`."""
        return [self._detect(image, min_score) for image in images]

    def state(self) -> State:
        """Of both."""
        states = {"first": self.first.state(), "second": self.second.state()}
        return State(
            {name: dict(state.settings) for name, state in states.items()},
            {
                f"{name}.{key}": array
                for name, state in states.items()
                for key, array in state.arrays.items()
            },
        )

    def _detect(self, image: Image, min_score: float) -> list[Region]:
        # What one of them hardly believes may be what the other is sure of.
        first, second = (
            model.detect([image], min_score=min(min_score, _MISSED))[0]
            for model in (self.first, self.second)
        )
        return [one for one in together(first, second) if one.score >= min_score]


@dataclass(frozen=True)
class CommitteeTrainer:
    """Trains two, each with half of the budget; `fit` trains them itself and shares time better."""

    first: Trainer
    second: Trainer

    @property
    def name(self) -> str:
        """Both names: "forest+tiny"."""
        return f"{self.first.name}+{self.second.name}"

    def suits(self, examples: Sequence[Example]) -> bool:
        """Whether both can learn from them."""
        return self.first.suits(examples) and self.second.suits(examples)

    def fit(
        self,
        examples: Sequence[Example],
        *,
        budget: Budget,
        seed: int,
        unlabelled: Sequence[Image] = (),
        told: Told = ignore,
    ) -> Committee:
        """As `Trainer.fit`."""
        models = [
            trainer.fit(
                examples, budget=budget.share(0.5), seed=seed, unlabelled=unlabelled, told=told
            )
            for trainer in (self.first, self.second)
        ]
        return Committee(*models)

    def restore(self, state: State) -> Committee:
        """As `Trainer.restore`. Errors: `ModelFileError` for a state that does not fit together."""
        return Committee(
            self.first.restore(_part(state, "first")), self.second.restore(_part(state, "second"))
        )


def together(first: Sequence[Region], second: Sequence[Region]) -> list[Region]:
    """One image's regions of two models as one list, best first.

    What overlaps by half and has the same label is one region, whose log-odds are the mean of both;
    what only one of them found is doubted.

    >>> both = together([Region("a", Box(0, 0, 8, 8), 0.9)], [Region("a", Box(0, 0, 8, 10), 0.9),
    ...                                                      Region("a", Box(50, 0, 58, 8), 0.9)])
    >>> [(region.shape.y1, round(region.score, 2)) for region in both]
    [(9.0, 0.9), (8, 0.35)]
    """
    pairs = {pair.found: pair.truth for pair in match(second, first).pairs}
    told = []
    for at, region in enumerate(second):
        other = first[pairs[at]] if at in pairs else None
        score = _mean(region.score, _MISSED if other is None else other.score)
        if other is not None and isinstance(region.shape, Box) and isinstance(other.shape, Box):
            region = replace(region, shape=_between(region.shape, other.shape))
        told.append(replace(region, score=score))
    alone = set(range(len(first))) - set(pairs.values())
    told += [replace(first[at], score=_mean(first[at].score, _MISSED)) for at in sorted(alone)]
    return sorted(told, key=lambda region: -region.score)


def _between(one: Box, other: Box) -> Box:
    edges = zip(vars(one).values(), vars(other).values(), strict=True)
    return Box(*((a + b) / 2 for a, b in edges))


def _mean(one: float, other: float) -> float:
    """The score whose log-odds are the mean of theirs."""
    low, high = (min(max(score, _MISSED), _MOST) for score in (one, other))
    odds = math.sqrt(low / (1 - low) * high / (1 - high))
    return odds / (1 + odds)


def _part(state: State, name: str) -> State:
    settings = state.settings.get(name)
    if not isinstance(settings, dict):
        raise ModelFileError(f"the model lacks its {name} half; train it again")
    begin = f"{name}."
    arrays = {n.removeprefix(begin): a for n, a in state.arrays.items() if n.startswith(begin)}
    return State(settings, arrays)
