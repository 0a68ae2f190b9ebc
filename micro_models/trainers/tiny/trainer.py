"""The trainer whose models are tiny networks that start from nothing."""

from __future__ import annotations

from collections.abc import Sequence

from micro_models.budget import Budget, Told, ignore
from micro_models.devices import present
from micro_models.examples import Example
from micro_models.interface import State
from micro_models.regions import Image
from micro_models.threads import wait_passively
from micro_models.trainers.tiny.model import TinyModel, restored
from micro_models.trainers.tiny.recipe import Recipe


class TinyTrainer:
    """Trains a small fully convolutional network from scratch, for every kind of shape.

    `device`: where it trains, "cpu", "auto" for a GPU if there is one, or a torch device. What was
    trained answers on the CPU, wherever that was.

    >>> TinyTrainer().name
    'tiny'
    """

    name = "tiny"

    def __init__(self, recipe: Recipe | None = None, *, device: str = "cpu") -> None:
        self._recipe, self._device = recipe or Recipe(), device

    def suits(self, examples: Sequence[Example]) -> bool:
        """Whether there is anything to learn."""
        return any(example.regions for example in examples)

    def fit(
        self,
        examples: Sequence[Example],
        *,
        budget: Budget,
        seed: int,
        unlabelled: Sequence[Image] = (),
        told: Told = ignore,
    ) -> TinyModel:
        """Train on all examples, whose pictures are images in memory, until the budget is used up.

        The same seed, examples and budget of steps give the same model. To cancel, raise in `told`.
        Errors: `NoSuchDevice`.
        """
        del unlabelled
        clock = budget.start()
        wait_passively()
        # torch takes a second to import, and who only detects needs it not.
        from micro_models.trainers.tiny.training import train

        device = present(self._device)
        return train(
            examples, recipe=self._recipe, clock=clock, seed=seed, told=told, device=device
        )

    def restore(self, state: State) -> TinyModel:
        """The same model again.

        Errors: `ModelFileError` for a state that does not fit together.
        """
        return restored(state)
