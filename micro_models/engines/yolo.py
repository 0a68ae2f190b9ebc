"""YOLO as a `Detector`: boxes, masks, key points, turned boxes and classes, on CPU or GPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from micro_models.detections import Detection, DetectOptions, DetectorTask
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.letterbox import Letterbox
from micro_models.engines.yolo_findings import Findings, detections
from micro_models.engines.yolo_network import Network, load_network, version_of
from micro_models.regions import Image

log = logging.getLogger(__name__)

# Pixels of the inputs of one batch. A CPU is busy with one; a GPU of 8 GB holds many more.
_CPU_BATCH_PX, _GPU_BATCH_PX = 640 * 640, 32 * 640 * 640
# Beyond it ultralytics would take boxes of different classes for neighbours.
_LONGEST_PX = 7680
# Below it there are so many boxes that ultralytics may run out of time and drop later images.
_CROWDED_SCORE = 0.05
# Part of every version: raise it when the same weights begin to give other answers.
_SETTINGS = "1"


class Yolo:
    """A `Detector` over a network; `on_cpu` gives another for when the GPU's memory is full."""

    def __init__(
        self,
        network: Network,
        *,
        name: str,
        version: str,
        batch_px: int = _CPU_BATCH_PX,
        on_cpu: Callable[[], Network] | None = None,
    ) -> None:
        self._network = network
        self._name = name
        self.version = version
        self._batch_px = batch_px
        self._on_cpu = on_cpu
        self._moving = threading.Lock()

    @property
    def name(self) -> str:
        """The file and its runtime."""
        return f"{self._name} on {self.device}"

    @property
    def device(self) -> str:
        """For example "cpu (torch)"."""
        return self._network.device

    @property
    def task(self) -> DetectorTask:
        """What it tells of an object."""
        return self._network.spec.task

    @property
    def labels(self) -> Sequence[str]:
        """Its classes by index."""
        return self._network.spec.labels

    @property
    def nbytes(self) -> int:
        """The weights' size."""
        return self._network.nbytes

    def detect(self, images: Sequence[Image], *, options: DetectOptions) -> list[list[Detection]]:
        """Per image its objects, best first, clipped to the image.

        A classifier gives every class whose probability is at least `options.min_score`. Unknown
        names in `options.classes` are ignored; an export of a fixed size ignores
        `image_size_px`, and what cannot augment ignores `augment`.
        """
        named = set(self.labels) if options.classes is None else options.classes
        wanted = [index for index, label in enumerate(self.labels) if label in named]
        answers: list[list[Detection]] = [[] for _ in images]
        if not wanted:
            return answers
        boxes = [self._place(image, options) for image in images]
        for batch in self._batches(boxes, options):
            inputs = [boxes[index].fill(_middle(images[index], self.task)) for index in batch]
            for index, found in zip(batch, self._infer(inputs, options, wanted), strict=True):
                seen = detections(found, boxes[index], self.labels, min_score=options.min_score)
                answers[index] = [one for one in seen if one.label in named]
        return answers

    def _place(self, image: Image, options: DetectOptions) -> Letterbox:
        spec = self._network.spec
        image = _middle(image, self.task)
        if self.task is DetectorTask.CLASSIFY:  # ultralytics scales and crops those itself
            size = image.width_px, image.height_px
            return Letterbox(size, size, (0, 0), size)
        if spec.fixed:
            return Letterbox.fit(image, spec.size_px, stride_px=None)
        longest = min(options.image_size_px or max(spec.size_px), _LONGEST_PX)
        longest = -(-max(longest, 1) // spec.stride_px) * spec.stride_px
        return Letterbox.fit(image, (longest, longest), stride_px=spec.stride_px)

    def _batches(
        self, boxes: Sequence[Letterbox], options: DetectOptions
    ) -> Iterator[Sequence[int]]:
        """Indices of images whose inputs have one shape, as many as the memory is thought for."""
        shapes: dict[tuple[int, int], list[int]] = {}
        for index, box in enumerate(boxes):
            shapes.setdefault(box.outer_px, []).append(index)
        for (width, height), indices in shapes.items():
            most = max(1, self._batch_px // (width * height))
            if options.min_score < _CROWDED_SCORE:
                most = 1
            most = min(most, self._network.spec.batch or most)
            for start in range(0, len(indices), most):
                yield indices[start : start + most]

    def _infer(
        self, inputs: list[NDArray[np.uint8]], options: DetectOptions, wanted: Sequence[int]
    ) -> list[Findings]:
        import torch

        network = self._network
        try:
            return network.infer(inputs, options, wanted)
        except torch.OutOfMemoryError:
            if len(inputs) == 1 and self._on_cpu is None:
                raise
        # Outside the except block: there the error still holds the failed call's tensors.
        torch.cuda.empty_cache()
        if len(inputs) > 1:
            half = len(inputs) // 2
            log.warning("%s is out of memory; now %d images at once", network.device, half)
            height, width = inputs[0].shape[:2]
            self._batch_px = min(self._batch_px, half * height * width)
            rest = self._infer(inputs[half:], options, wanted)
            return self._infer(inputs[:half], options, wanted) + rest
        self._leave(network)
        return self._infer(inputs, options, wanted)

    def _leave(self, full: Network) -> None:
        """Go to the CPU for good, whoever finds the GPU full first."""
        with self._moving:
            if self._network is full and self._on_cpu is not None:
                log.warning("%s is out of memory; %s goes to the CPU", full.device, self._name)
                self._network = self._on_cpu()
                self._on_cpu = None
                self._batch_px = _CPU_BATCH_PX


def load_yolo(
    path: Path, *, device: str = "auto", cache_dir: Path, task: DetectorTask | None = None
) -> Yolo:
    """Load a YOLO: .pt, .onnx, .tflite, .torchscript, .engine or an OpenVINO folder.

    Of a `.pt`, a pickle, only networks of ultralytics and layers of torch are made. Other formats
    are programs for their runtimes: `path` lies where only trusted people put files. `device`:
    "auto" (a GPU if there is one), "cpu" or "cuda:0"; on a GPU in half precision, and where its
    memory is full on the CPU. `task` is for exports that do not tell theirs. `cache_dir` keeps
    digests.

    Errors: `CheckpointError` for a file that is missing, damaged or foreign, for a runtime that is
    not installed and for a device that is not there.
    """
    import torch

    version = version_of(path, cache_dir=cache_dir)
    device = _present(device)

    def on_cpu() -> Network:
        return load_network(path, task=task, device="cpu")

    try:
        network: Network | None = load_network(path, task=task, device=device)
    except torch.OutOfMemoryError:
        network = None
    # Outside the except block: there the error still holds what was loaded by then.
    if network is None:
        log.warning("%s is out of memory; %s goes to the CPU", device, path.name)
        torch.cuda.empty_cache()
        network, device = on_cpu(), "cpu"
    on_gpu = device.startswith("cuda")
    yolo = Yolo(
        network,
        name=path.name,
        version=f"{path.stem}-{version}-{_SETTINGS}",
        batch_px=_GPU_BATCH_PX if on_gpu else _CPU_BATCH_PX,
        on_cpu=on_cpu if on_gpu else None,
    )
    _try(yolo, path)
    return yolo


def _present(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        known = torch.device(device)
    except RuntimeError:  # no name of a device
        known = None
    gpus = torch.cuda.device_count()
    if known and (known.type == "cpu" or (known.type == "cuda" and (known.index or 0) < gpus)):
        return device
    raise CheckpointError(f'there is no device {device!r} for YOLO; choose "auto" or "cpu"')


def _try(yolo: Yolo, path: Path) -> None:
    """A grey image, so that a model that cannot run is found now; and the first call is warm."""
    grey = Image(np.full((32, 32, 3), 128, np.uint8))
    try:
        yolo.detect([grey], options=DetectOptions())
    except Exception as error:  # every runtime has errors of its own
        log.info("%s could not run: %r", path.name, error)
        raise CheckpointError(
            f"{path.name} loads but cannot run; export it again, or use its .pt"
        ) from error


def _middle(image: Image, task: DetectorTask) -> Image:
    """The part that a classifier looks at: it crops the middle, so a ribbon's ends are in vain."""
    short = min(image.width_px, image.height_px)
    if task is not DetectorTask.CLASSIFY or max(image.width_px, image.height_px) <= 4 * short:
        return image
    x, y = max(0, image.width_px // 2 - 2 * short), max(0, image.height_px // 2 - 2 * short)
    return Image(image.pixels[y : y + 4 * short, x : x + 4 * short])
