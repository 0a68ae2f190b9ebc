"""Segment Anything as a `Segmenter`: SAM vit_b/l/h, MobileSAM and SAM 2.1, on CPU or GPU.

On the CPU through OpenVINO, on a GPU through torch in half precision; both give the same masks.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from micro_models.engines import openvino_runtime
from micro_models.engines.checkpoints import CheckpointError, digest
from micro_models.engines.sam_spec import Spec
from micro_models.engines.sam_transforms import choose, decoder_inputs, encoder_input, full_mask
from micro_models.interface import Segmenter
from micro_models.regions import Embedding, Image, Prompt, Segmentation

log = logging.getLogger(__name__)
Array = NDArray[Any]
T = TypeVar("T")

# Part of every version: raise it when the same weights begin to give other answers.
_SETTINGS = "1: antialiased resize, best of three for one click, float16 features"


class Network(Protocol):
    """SAM's two halves on some runtime; safe to call from many threads."""

    @property
    def device(self) -> str:
        """Where it computes, for people."""

    def encode(self, image: Array) -> list[Array]:
        """(1, 3, size, size) float32 -> the feature maps of `Spec.maps`, float16."""

    def decode(self, inputs: Sequence[Array], maps: Sequence[Array]) -> tuple[Array, Array]:
        """`decoder_inputs` and feature maps -> (n, side, side) logits and (n,) predicted IoU."""


class Sam:
    """A `Segmenter` over a network; embeddings hold float16 feature maps."""

    def __init__(self, network: Network, spec: Spec, *, version: str) -> None:
        self._network = network
        self._spec = spec
        self.version = version

    @property
    def name(self) -> str:
        """For example "sam vit_b"."""
        return self._spec.model if "sam" in self._spec.model else f"sam {self._spec.model}"

    @property
    def device(self) -> str:
        """For example "cpu (openvino)"."""
        return self._network.device

    def embed(self, image: Image) -> Embedding:
        """Run the image encoder: a second or more on a CPU."""
        maps = self._network.encode(encoder_input(image, self._spec))
        arrays = dict(zip(self._spec.maps, maps, strict=True))
        return Embedding(arrays, width_px=image.width_px, height_px=image.height_px)

    def segment(self, embedding: Embedding, prompt: Prompt) -> Segmentation:
        """Run the mask decoder: milliseconds. Errors: ValueError for foreign input."""
        size = {"width_px": embedding.width_px, "height_px": embedding.height_px}
        try:
            maps = [embedding.arrays[name] for name in self._spec.maps]
        except KeyError as error:
            raise ValueError(f"the embedding is not one of {self.name}: no {error}") from error
        inputs = decoder_inputs(prompt, self._spec, **size)
        logits, scores = self._network.decode(inputs, maps)
        index = choose(logits, scores, prompt, self._spec)
        hint = logits[index].clip(-32, 32) if self._spec.sam2 else logits[index]
        return Segmentation(
            mask=full_mask(logits[index], self._spec, **size),
            score=float(np.nan_to_num(scores[index]).clip(0.0, 1.0)),
            hint=np.ascontiguousarray(hint, np.float32),
        )


def load_sam(
    checkpoint: Path, *, device: str = "auto", cache_dir: Path, model: str | None = None
) -> Segmenter:
    """Load a SAM checkpoint (`.pt`, `.pth`) of any kind; its tensors tell which.

    `device`: "auto" (a GPU if there is one), "cpu" (OpenVINO), "cpu-torch" (torch in single
    precision, to compare), or a torch device such as "cuda:0". `cache_dir` keeps the converted
    model. `model` is a name for error messages only.

    Errors: `CheckpointError` for a file that is missing, damaged, foreign or needs ultralytics,
    and for a device that is not there.
    """
    sha256 = digest(checkpoint, cache_dir=cache_dir)
    mark = hashlib.sha256(f"{sha256} {_SETTINGS}".encode()).hexdigest()[:12]
    folder = cache_dir / "openvino" / mark

    def read() -> Any:
        from micro_models.engines.sam_torch import read_modules

        return read_modules(checkpoint, model)

    place = _gpu() if device == "auto" else device
    if place == "cpu":
        spec, network = openvino_runtime.convert(folder, read)
        return Sam(network, spec, version=f"{spec.model}-{mark}")
    import torch

    from micro_models.engines.sam_torch import TorchNetwork

    spec, encoder, decoder = read()
    version = f"{spec.model}-{mark}"
    if place == "cpu-torch":
        single = TorchNetwork(encoder, decoder, device="cpu", dtype=torch.float32)
        return Sam(single, spec, version=version)
    try:
        half = TorchNetwork(encoder, decoder, device=place, dtype=torch.half)
    except (RuntimeError, AssertionError) as error:  # no such device, or its memory is full
        raise CheckpointError(
            f"{spec.model} cannot be put on the device {place!r} "
            f'({str(error).splitlines()[0]}); choose "auto" or "cpu"'
        ) from error
    spare = Spare(half, lambda: openvino_runtime.convert(folder, read)[1])
    return Sam(spare, spec, version=version)


def _gpu() -> str:
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


class Spare:
    """A network on a GPU that hands a call to the CPU when the GPU's memory is full."""

    def __init__(self, gpu: Network, on_cpu: Callable[[], Network]) -> None:
        self._gpu = gpu
        self._on_cpu = on_cpu
        self._cpu: Network | None = None
        self._building = threading.Lock()

    @property
    def device(self) -> str:
        """The GPU's."""
        return self._gpu.device

    def encode(self, image: Array) -> list[Array]:
        """On the GPU, or on the CPU."""
        return self._try(lambda network: network.encode(image))

    def decode(self, inputs: Sequence[Array], maps: Sequence[Array]) -> tuple[Array, Array]:
        """On the GPU, or on the CPU."""
        return self._try(lambda network: network.decode(inputs, maps))

    def _try(self, call: Callable[[Network], T]) -> T:
        import torch

        for _ in range(2):
            try:
                return call(self._gpu)
            except torch.OutOfMemoryError:
                log.warning("%s is out of memory; freeing what is unused", self._gpu.device)
            # Outside the except block: there the error still holds the failed call's tensors.
            torch.cuda.empty_cache()
        log.warning("%s is still out of memory; this image goes to the CPU", self._gpu.device)
        with self._building:
            if self._cpu is None:
                self._cpu = self._on_cpu()
        return call(self._cpu)
