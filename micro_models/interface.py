"""What the rest of the program asks of an engine. A Protocol needs no subclass."""

from __future__ import annotations

from typing import Protocol

from micro_models.regions import Embedding, Image, Prompt, Segmentation


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
