"""A trainer that also learns from answers that a certificate vouches for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.budget import Budget, Told, ignore
from micro_models.examples import Example
from micro_models.fitting.album import Album, decoded
from micro_models.interface import Learned, State, Trainer
from micro_models.pictures import UnreadableImage
from micro_models.regions import Image

# More would drown what people drew.
_PER_EXAMPLE = 4


@dataclass(frozen=True, eq=False)
class CertifiedTrainer:
    """Trains `trainer` on the examples and always on `more`, which are nobody's labels.

    They are apart from the examples: never held out, so that no model is judged by them, and in no
    count of labels.

    >>> from micro_models.fitting.builtin import trainer_named
    >>> CertifiedTrainer(trainer_named("forest"), ()).name
    'forest'
    """

    trainer: Trainer
    more: tuple[Example, ...]

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
        every = [*examples, *self.more]
        return self.trainer.fit(every, budget=budget, seed=seed, unlabelled=unlabelled, told=told)

    def restore(self, state: State) -> Learned:
        """As `Trainer.restore`."""
        return self.trainer.restore(state)


def chosen(
    pseudo: Sequence[Example], album: Album, *, rng: np.random.Generator
) -> tuple[Example, ...]:
    """At random some of the examples, decoded as large as those of the album.

    At most four for each that people labelled; with a label that those lack none, and none that
    cannot be read.

    >>> from micro_models.regions import Region, WholeImage
    >>> image = Image(np.zeros((8, 8, 3), np.uint8))
    >>> cat, dog = (Example(image, [Region(name, WholeImage())]) for name in ("cat", "dog"))
    >>> album = Album((cat,), sizes=((8, 8),))
    >>> [len(chosen(some, album, rng=np.random.default_rng(0))) for some in ([cat] * 9, [dog])]
    [4, 0]
    """
    known = {region.label for example in album.examples for region in example.regions}
    found: list[Example] = []
    for index in rng.permutation(len(pseudo)).tolist():
        if len(found) == _PER_EXAMPLE * len(album.examples):
            break
        if not known.issuperset(pseudo[index].labels):
            continue
        try:
            found.append(decoded(pseudo[index], album.factor))
        except (UnreadableImage, FileNotFoundError, ValueError):
            continue
    return tuple(found)
