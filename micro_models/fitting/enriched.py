"""A trainer that is given more examples than a person labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from micro_models.budget import Budget, Progress, Told, ignore
from micro_models.evaluation.matching import match
from micro_models.examples import Example, image_of
from micro_models.fitting.copy_paste import synthesise
from micro_models.fitting.pseudo_labels import pseudo_examples
from micro_models.interface import Learned, State, Trainer
from micro_models.regions import Image

# The model that makes pseudo-labels gets this part of the budget.
_FIRST = 0.4
# As many images are asked for pseudo-labels as there are labelled ones, times this.
_PSEUDO_PER_EXAMPLE = 4
_PASTED_PER_EXAMPLE = 2


@dataclass(frozen=True)
class EnrichedTrainer:
    """Trains `trainer` on the examples and on what is made of them and of unlabelled images.

    `copy_paste`: two windows per example with an object pasted in (`copy_paste.synthesise`).
    `pseudo_labels`: a first model, of 40% of the budget, answers unlabelled images; those answered
    without a doubt are examples for the second (`pseudo_labels.pseudo_examples`). Its scores count
    in parts of the median score that it gives what it finds in its own examples.

    >>> from micro_models.fitting.builtin import trainer_named
    >>> EnrichedTrainer(trainer_named("tiny"), copy_paste=True).name
    'tiny'
    """

    trainer: Trainer
    copy_paste: bool = False
    pseudo_labels: bool = False

    @property
    def name(self) -> str:
        """That of the trainer: the model is of the same kind."""
        return self.trainer.name

    def suits(self, examples: Sequence[Example]) -> bool:
        """Whether the trainer can learn from them."""
        return self.trainer.suits(examples)

    def fit(
        self,
        examples: Sequence[Example],
        *,
        budget: Budget,
        seed: int,
        unlabelled: Sequence[Image] = (),
        told: Told = ignore,
    ) -> Learned:
        """As `Trainer.fit`."""
        clock = budget.start()
        rng = np.random.default_rng([seed % 2**63, 1])
        given = list(examples)
        if self.copy_paste:
            count = _PASTED_PER_EXAMPLE * len(examples)
            given += synthesise(examples, unlabelled, count=count, rng=rng)
        if not self.pseudo_labels:
            left = Budget(clock.left().seconds, budget.steps)
            return self.trainer.fit(given, budget=left, seed=seed, unlabelled=unlabelled, told=told)
        first = self.trainer.fit(
            given,
            budget=budget.share(_FIRST),
            seed=seed,
            unlabelled=unlabelled,
            told=_part(told, 0.0, _FIRST),
        )
        given += answered(first, examples, unlabelled, rng=rng)
        left = Budget(clock.left().seconds, budget.share(1 - _FIRST).steps)
        told = _part(told, _FIRST, 1 - _FIRST)
        return self.trainer.fit(given, budget=left, seed=seed, unlabelled=unlabelled, told=told)

    def restore(self, state: State) -> Learned:
        """As `Trainer.restore`."""
        return self.trainer.restore(state)


def answered(
    model: Learned, examples: Sequence[Example], unlabelled: Sequence[Image], *, rng: Generator
) -> list[Example]:
    """A few of the unlabelled images as examples: those of which the model has no doubt.

    >>> from micro_models.fitting.builtin import trainer_named
    >>> from micro_models.regions import Box, Region
    >>> image = Image(np.zeros((32, 32, 3), np.uint8))
    >>> example = Example(image, [Region("all", Box(8, 8, 24, 24))])
    >>> model = trainer_named("forest").fit([example], budget=Budget(steps=2), seed=0)
    >>> answered(model, [example], [], rng=np.random.default_rng(0))
    []
    """
    usual = _usual_score(model, examples)
    count = min(_PSEUDO_PER_EXAMPLE * len(examples), len(unlabelled))
    if not usual or not count:
        return []
    images = [unlabelled[i] for i in rng.choice(len(unlabelled), count, replace=False)]
    found = [
        [replace(region, score=min(region.score / usual, 1.0)) for region in regions]
        for regions in model.detect(images)
    ]
    return pseudo_examples(found, images)


def _usual_score(model: Learned, examples: Sequence[Example]) -> float:
    """The median score of what the model finds rightly in its own examples; 0 without any."""
    found = model.detect([image_of(example.picture) for example in examples])
    scores = [
        regions[pair.found].score
        for regions, example in zip(found, examples, strict=True)
        for pair in match(regions, example.regions).pairs
    ]
    return float(np.median(scores)) if scores else 0.0


def _part(told: Told, begin: float, share: float) -> Told:
    def tell(inner: Progress) -> None:
        told(replace(inner, spent=begin + share * inner.spent))

    return tell
