"""A YOLO of any format on the runtime that its file asks for, through ultralytics' predictors."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from micro_models.detections import DetectOptions, DetectorTask
from micro_models.engines.checkpoints import CheckpointError, digest
from micro_models.engines.ultralytics_runtime import module, opens_as_named, undisturbed
from micro_models.engines.yolo_findings import Findings

log = logging.getLogger(__name__)

FILES = (".pt", ".onnx", ".tflite", ".torchscript", ".engine")
OPENVINO = "_openvino_model"
_RUNTIMES = {
    ".onnx": "onnxruntime",
    ".tflite": "ai-edge-litert",
    ".engine": "tensorrt",
    "": "openvino",
}


@dataclass(frozen=True)
class YoloSpec:
    """What a YOLO's file tells of it. `size_px` is (width, height), whole strides.

    `fixed`: it takes inputs of that size only, `batch` of them at once.
    """

    task: DetectorTask
    labels: tuple[str, ...]
    size_px: tuple[int, int]
    stride_px: int = 32
    fixed: bool = False
    batch: int | None = None


class Network(Protocol):
    """A YOLO on some runtime; safe to call from many threads."""

    @property
    def spec(self) -> YoloSpec:
        """What it tells of itself."""

    @property
    def device(self) -> str:
        """Where it computes, for people."""

    @property
    def nbytes(self) -> int:
        """About how much memory it holds."""

    def infer(
        self, inputs: Sequence[NDArray[np.uint8]], options: DetectOptions, classes: Sequence[int]
    ) -> list[Findings]:
        """Inputs (height, width, 3) BGR of one shape -> what is in each; `classes` by index."""


class UltralyticsNetwork:
    """A `Network` over a predictor of ultralytics, which keeps a state: one call at a time."""

    def __init__(self, path: Path, *, task: DetectorTask | None, device: str) -> None:
        import torch

        with undisturbed():
            yolo = module().YOLO(path, task=task.value if task else None, verbose=False)
            kind = yolo.task_map[yolo.task]["predictor"]
            if yolo.task == DetectorTask.SEGMENT:
                kind = _with_masks(kind)
            place = torch.device(device)
            quiet = {
                "mode": "predict",
                "save": False,
                "verbose": False,
                "rect": False,
                "data": None,
            }
            # No imgsz of the training: every call says its own.
            own = {key: value for key, value in yolo.overrides.items() if key != "imgsz"}
            self._predictor = kind(overrides={**own, **quiet, "half": place.type == "cuda"})
            self._predictor.args.device = place
            self._predictor.setup_model(yolo.model, verbose=False)
        self._model = self._predictor.model
        self._lock = threading.Lock()
        self.spec = _spec(path, self._model, yolo.task, yolo.overrides.get("imgsz", 640))
        half = " in half precision" if self._model.fp16 else ""
        self.device = f"{self._predictor.device} ({_runtime(self._model.format)}{half})"
        parameters = getattr(self._model.backend.model, "parameters", None)
        self.nbytes = (
            sum(p.nbytes for p in parameters()) if callable(parameters) else _file_bytes(path)
        )

    def infer(
        self, inputs: Sequence[NDArray[np.uint8]], options: DetectOptions, classes: Sequence[int]
    ) -> list[Findings]:
        """Errors: torch.OutOfMemoryError."""
        with self._lock:
            args = self._predictor.args
            args.conf, args.iou = options.min_score, options.max_overlap
            args.max_det, args.agnostic_nms = options.max_objects, options.across_classes
            args.augment = options.augment
            every = len(classes) == len(self.spec.labels)
            args.classes = None if every else list(classes)
            args.imgsz = list(inputs[0].shape[:2])
            if self.spec.task is DetectorTask.CLASSIFY:
                args.imgsz = list(self.spec.size_px[::-1])
            args.batch = len(inputs)
            # Copied to numpy under the lock: an export's outputs are overwritten by its next call.
            return [_findings(result) for result in self._predictor(source=list(inputs))]


def load_network(path: Path, *, task: DetectorTask | None, device: str) -> UltralyticsNetwork:
    """Load any file that ultralytics loads. Errors: `CheckpointError`, torch.OutOfMemoryError."""
    import torch

    suffix = path.suffix.lower()
    if suffix not in FILES and not path.name.endswith(OPENVINO):
        raise CheckpointError(
            f"{path.name} is no YOLO file; a name ends in {', '.join(FILES)} or {OPENVINO}"
        )
    if not opens_as_named(path.absolute()):
        raise CheckpointError(
            f"{path.name} has a name (or lies in a folder with one) that ultralytics cannot open; "
            'rename it: no quotes, no blanks at the end, and no YOLOv5 names such as "yolov5n.pt"'
        )
    try:
        return UltralyticsNetwork(path.absolute(), task=task, device=device)
    except (CheckpointError, torch.OutOfMemoryError):
        raise
    except ImportError as error:
        package = _RUNTIMES.get(suffix, error.name)
        raise CheckpointError(
            f"{path.name} needs {package}, which is not installed: pip install {package}"
        ) from error
    except Exception as error:  # every runtime has errors of its own
        log.info("ultralytics could not load %s: %r", path.name, error)
        raise CheckpointError(
            f"{path.name} cannot be read: it is damaged, cut off, holds code, which is refused, or "
            "is no YOLO that this ultralytics knows; delete it and get or export it again"
        ) from error


def version_of(path: Path, *, cache_dir: Path) -> str:
    """Hex digits that change with any of the model's files, and with ultralytics.

    Errors: `CheckpointError` where nothing is there.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        named = [f"{file.relative_to(path)} {digest(file, cache_dir=cache_dir)}" for file in files]
    else:
        named = [digest(path, cache_dir=cache_dir)]
    named.append(str(module().__version__))
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:12]


def _spec(path: Path, model: Any, task: str, trained_px: int | list[int]) -> YoloSpec:
    exported = model.format != "pt"
    if exported and not model.metadata:
        raise CheckpointError(
            f"{path.name} does not tell its classes and size, as exports of ultralytics do; make "
            f"it with: yolo export model=your.pt format={path.suffix[1:] or 'openvino'}"
        )
    try:
        known = DetectorTask(task)
    except ValueError as error:
        raise CheckpointError(
            f"{path.name} is a model for {task!r}; only {', '.join(DetectorTask)} are served"
        ) from error
    if model.channels != 3:
        raise CheckpointError(f"{path.name} takes {model.channels} channels, not RGB; use another")
    stride = int(model.stride)
    size = model.metadata.get("imgsz", trained_px) if exported else trained_px
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    fixed = exported and not model.metadata.get("dynamic", False)
    return YoloSpec(
        task=known,
        labels=tuple(model.names[index] for index in sorted(model.names)),
        size_px=(int(width), int(height)),
        stride_px=stride,
        fixed=fixed,
        batch=int(model.batch) if fixed else None,
    )


def _findings(result: Any) -> Findings:
    masks = getattr(result, "log_odds", None)
    result = result.cpu().numpy()
    if result.probs is not None:
        scores = result.probs.data.astype(np.float32)
        return Findings(np.arange(len(scores)), scores)
    if result.obb is not None:
        data = result.obb.data.astype(np.float32)
        return Findings(
            data[:, 6].astype(np.intp),
            data[:, 5],
            boxes=result.obb.xyxy.astype(np.float32),
            rotated=data[:, :5],
        )
    data = result.boxes.data.astype(np.float32)
    points = None if result.keypoints is None else result.keypoints.data.astype(np.float32)
    return Findings(
        data[:, 5].astype(np.intp),
        data[:, 4],
        boxes=data[:, :4],
        points=points,
        masks=masks,
    )


def _with_masks(kind: Any) -> Any:
    """The predictor for segments, but with masks as small as the network made them, and soft."""

    class Predictor(kind):  # type: ignore[misc]
        def construct_result(
            self, pred: Any, img: Any, orig_img: Any, img_path: Any, proto: Any
        ) -> Any:
            odds = (pred[:, 6:].float() @ proto.float().flatten(1)).unflatten(1, proto.shape[1:])
            found = super(kind, self).construct_result(pred, img, orig_img, img_path)
            found.log_odds = odds.cpu().numpy()
            return found

    return Predictor


def _runtime(name: str) -> str:
    return {"pt": "torch", "engine": "tensorrt", "onnx": "onnxruntime"}.get(name, name)


def _file_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
