"""What the rest of the program asks of an engine. A Protocol needs no subclass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from micro_models.budget import Budget, Told, ignore
from micro_models.examples import Example
from micro_models.regions import Embedding, Image, Prompt, Region, Segmentation


class ModelFileError(ValueError):
    """A stored micro-model that cannot be used; the message says why and what to do."""


class Segmenter(Protocol):
    """Turns a prompt into a mask. Keeps nothing between calls; safe to call from many threads."""

    @property
    def name(self) -> str:
        """The engine and its model, for people: "grabcut", "sam vit_b"."""

    @property
    def version(self) -> str:
        """Changes whenever an answer could: a hash over weights and settings."""

    @property
    def device(self) -> str:
        """Where it computes, for people: "cpu (openvino)", "cuda:0 (half precision)"."""

    def embed(self, image: Image) -> Embedding:
        """Compute what all prompts on one image share; slow. The caller caches it."""

    def segment(self, embedding: Embedding, prompt: Prompt) -> Segmentation:
        """Compute the mask at the prompt, as large as the image; fast, changes nothing.

        Points and boxes outside the image are clipped to it.
        """


@dataclass(frozen=True)
class State:
    """Everything that a trained thing is: plain numbers and arrays, so that no file needs code.

    `settings` is JSON; `arrays` are numpy arrays of numbers by name.
    """

    settings: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


class Learned(Protocol):
    """What a trainer made of examples. Never changes; safe to call from many threads."""

    @property
    def labels(self) -> Sequence[str]:
        """What it can find, sorted."""

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        """Per image its regions, best first; scores rank, and are calibrated by nobody yet.

        A label is given in the shape that it has in most of its examples. Of a class about the
        whole image every label is given, with its probability.
        """

    def state(self) -> State:
        """All of it, for `Trainer.restore`."""


class Trainer(Protocol):
    """Makes a model of examples, quickly. Keeps nothing between calls."""

    @property
    def name(self) -> str:
        """Its name in reports and files: "tiny"."""

    def suits(self, examples: Sequence[Example]) -> bool:
        """Whether it can learn the kinds of shapes that are in them."""

    def fit(
        self,
        examples: Sequence[Example],
        *,
        budget: Budget,
        seed: int,
        unlabelled: Sequence[Image] = (),
        told: Told = ignore,
    ) -> Learned:
        """Train on all examples, whose pictures are images in memory, until the budget is used up.

        `unlabelled` are more images of the same project, with or without objects. The same seed,
        examples and budget of steps give the same model. Nothing global is changed, no random
        generator either.
        """

    def restore(self, state: State) -> Learned:
        """The same model again.

        Errors: `ModelFileError` for a state that does not fit together.
        """
