"""Small YOLO11s, trained on drawn shapes: real enough to prove where boxes and points land.

`python -m tests.small_yolo FOLDER [TASK ...]` trains them, some minutes each on two cores. The
results are kept in `tests/small_yolo/`, so that tests need not wait for them. A class always has
its own colour, so that a detector that takes red for blue would be found out.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from micro_models.detections import Detection, DetectorTask, Outline
from micro_models.regions import Bools, Box, Image, Keypoints, RotatedBox

SIZE = 128
SHAPES = ("disc", "square", "triangle")
CLASSES = {
    DetectorTask.DETECT: SHAPES,
    DetectorTask.SEGMENT: SHAPES,
    DetectorTask.POSE: ("kite",),
    DetectorTask.OBB: ("bar", "leaf"),
    DetectorTask.CLASSIFY: SHAPES,
}
# Red, green, blue: strong, and never close to another class's.
_COLOURS = {
    "disc": (225, 35, 35),
    "square": (35, 200, 45),
    "triangle": (40, 60, 230),
    "kite": (230, 200, 30),
    "bar": (230, 40, 200),
    "leaf": (30, 200, 210),
}


# Drawing ------------------------------------------------------------------------------------


def draw(task: DetectorTask, seed: int, *, scale: float = 1.0) -> tuple[Image, list[Detection]]:
    """A scene of one to four shapes for a task's model, about 128 px, and the truth about it.

    `scale` draws the same scene larger. Outlines are as large as the image; a classifier's truth
    is one class without a box.
    """
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in np.round(scale * rng.integers(100, 150, 2)))
    canvas = _ground(rng, width, height)
    count = 1 if task is DetectorTask.CLASSIFY else int(rng.integers(1, 5))
    truth = []
    for center, radius in _places(rng, width, height, count):
        label = str(rng.choice(CLASSES[task]))
        truth.append(_shape(rng, canvas, task, label, center, radius))
    return Image(_grain(rng, canvas)), truth


def iou(a: Box | None, b: Box | None) -> float:
    """0..1, how much two boxes overlap."""
    if a is None or b is None:
        return 0.0
    shared = max(min(a.x1, b.x1) - max(a.x0, b.x0), 0) * max(min(a.y1, b.y1) - max(a.y0, b.y0), 0)
    areas = (a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0)
    return shared / (areas - shared)


def _ground(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    coarse = rng.uniform(60, 190) + rng.uniform(-30, 30, (6, 6, 3))
    return cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def _grain(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    grain = rng.integers(-15, 16, canvas.shape)
    return np.clip(canvas + grain, 0, 255).astype(np.uint8)


def _places(
    rng: np.random.Generator, width: int, height: int, count: int
) -> list[tuple[np.ndarray, float]]:
    short = min(width, height)
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(60):
        radius = rng.uniform(0.12, 0.45 if count == 1 else 0.28) * short
        center = rng.uniform([radius, radius], [width - radius, height - radius])
        if all(np.hypot(*(center - other)) > radius + r + 2 for other, r in placed):
            placed.append((center, radius))
        if len(placed) == count:
            break
    return placed


def _shape(
    rng: np.random.Generator,
    canvas: np.ndarray,
    task: DetectorTask,
    label: str,
    center: np.ndarray,
    radius: float,
) -> Detection:
    height, width = canvas.shape[:2]
    angle = rng.uniform(-180, 180)
    rotated = keypoints = None
    if label == "disc":
        corners = _circle(center, radius, radius, 0.0)
    elif label == "square":
        corners = RotatedBox(*center, radius * 2**0.5, radius * 2**0.5, angle).corners()
    elif label == "triangle":
        corners = center + radius * _directions(angle + np.array([-90.0, 30.0, 150.0]))
    elif label == "kite":
        # A tip, then the left and the right end; it never turns so far that left is right.
        turned = rng.uniform(-40, 40) + np.array([-90.0, 122.0, 58.0])
        corners = center + radius * _directions(turned)
        keypoints = Keypoints(corners.astype(np.float32), np.ones(3, np.float32))
    else:
        rotated = RotatedBox(*center, 1.9 * radius, rng.uniform(0.4, 0.9) * radius, angle)
        halves = rotated.width_px / 2, rotated.height_px / 2
        corners = rotated.corners() if label == "bar" else _circle(center, *halves, angle)
    mask = _fill(corners, (height, width))
    canvas[mask] = np.clip(np.array(_COLOURS[label]) + rng.uniform(-25, 25, 3), 0, 255)
    (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
    if task is DetectorTask.CLASSIFY:
        return Detection(label, 1.0)
    return Detection(
        label,
        1.0,
        Box(max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)),
        rotated=rotated,
        outline=Outline(mask.astype(np.float32), width, height)
        if task is DetectorTask.SEGMENT
        else None,
        keypoints=keypoints,
    )


def _directions(degrees: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def _circle(center: np.ndarray, half_x: float, half_y: float, angle: float) -> np.ndarray:
    points = _directions(np.linspace(0, 360, 48, endpoint=False)) * [half_x, half_y]
    (cos, sin), *_ = _directions(np.array([angle]))
    return center + points @ np.array([[cos, sin], [-sin, cos]])


def _fill(corners: np.ndarray, shape: tuple[int, int]) -> Bools:
    mask = np.zeros(shape, np.uint8)
    # Pixel (column, row) covers [column, column + 1): its middle is half a pixel further.
    fixed = np.round((corners - 0.5) * 256).astype(np.int32)
    return cv2.fillPoly(mask, [fixed], 1, shift=8).astype(bool)


# Training -----------------------------------------------------------------------------------

TRAIN_IMAGES, EPOCHS, FIRST_TRAIN_SEED = 640, 32, 1_000_000


def network(task: DetectorTask) -> dict[str, Any]:
    """YOLO11 as ultralytics describes its models, a quarter as wide as YOLO11n."""
    backbone = [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 1, "C3k2", [256, False, 0.25]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 1, "C3k2", [512, False, 0.25]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 1, "C3k2", [512, False]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 1, "SPPF", [512, 5]],
    ]
    neck = [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 6], 1, "Concat", [1]],
        [-1, 1, "C3k2", [512, False]],
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 1, "C3k2", [256, False]],
        [-1, 1, "Conv", [256, 3, 2]],
        [[-1, 11], 1, "Concat", [1]],
        [-1, 1, "C3k2", [512, False]],
        [-1, 1, "Conv", [512, 3, 2]],
        [[-1, 8], 1, "Concat", [1]],
        [-1, 1, "C3k2", [512, False]],
    ]
    outputs: dict[DetectorTask, list[Any]] = {
        DetectorTask.DETECT: ["Detect", ["nc"]],
        DetectorTask.SEGMENT: ["Segment", ["nc", 8, 128]],
        DetectorTask.POSE: ["Pose", ["nc", "kpt_shape"]],
        DetectorTask.OBB: ["OBB", ["nc", 1]],
    }
    described: dict[str, Any] = {
        "nc": len(CLASSES[task]),
        "scales": {"n": [1.0, 0.125, 320]},
        "reg_max": 8,
        "backbone": backbone,
    }
    if task is DetectorTask.CLASSIFY:
        described["head"] = [[-1, 1, "Classify", ["nc"]]]
    else:
        described["head"] = [*neck, [[14, 17, 20], 1, *outputs[task]]]
    if task is DetectorTask.POSE:
        described["kpt_shape"] = [3, 3]
    return described


def train(task: DetectorTask, target: Path) -> None:
    """Train a small model of `task` on freshly drawn scenes and save it as `target`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # Its settings stay here, and it finds the font that it would download.
        os.environ["YOLO_CONFIG_DIR"] = place
        (folder / "Ultralytics").mkdir()
        (folder / "Ultralytics" / "Arial.ttf").touch()
        import yaml

        from micro_models.engines import ultralytics_runtime

        described = folder / "yolo11n-small.yaml"
        described.write_text(yaml.safe_dump(network(task)))
        model = ultralytics_runtime.module("").YOLO(described, task=task.value)
        model.train(
            data=str(_write(task, folder / "data")),
            epochs=EPOCHS // 2 if task is DetectorTask.CLASSIFY else EPOCHS,
            imgsz=SIZE,
            batch=16,
            nbs=16,
            optimizer="AdamW",
            lr0=0.004,
            lrf=0.02,
            cos_lr=True,
            warmup_epochs=1,
            mosaic=0.0,
            translate=0.05,
            scale=0.2,
            erasing=0.0,
            auto_augment=None,
            overlap_mask=False,
            mask_ratio=2,
            amp=False,
            plots=False,
            val=False,
            device="cpu",
            workers=0,
            seed=0,
            project=str(folder / "run"),
        )
        _keep(Path(model.trainer.last), target)


def _keep(trained: Path, target: Path) -> None:
    """The checkpoint, folded to half, without what it tells of the machine it was made on."""
    import torch

    stored = torch.load(trained, weights_only=False)
    # Normalization folded into the convolutions: fewer tensors, a smaller file.
    model = stored["model"].float().fuse(verbose=False).half()
    for name in ("yaml_file", "pt_path"):
        model.__dict__.pop(name, None)
    model.yaml.pop("yaml_file", None)
    model.args = {"imgsz": SIZE, "task": stored["train_args"]["task"]}
    unfinished = target.with_suffix(f".{os.getpid()}.part")
    torch.save({"model": model, "train_args": model.args}, unfinished)
    unfinished.replace(target)


def _write(task: DetectorTask, folder: Path) -> Path:
    """The scenes as files in the form that ultralytics reads."""
    for index in range(TRAIN_IMAGES):
        image, truth = draw(task, FIRST_TRAIN_SEED + index)
        # ultralytics insists on a second set, though nothing is chosen by it.
        part = "val" if index < 16 else "train"
        pixels = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR)
        if task is DetectorTask.CLASSIFY:
            _image(folder / part / truth[0].label / f"{index}.png", pixels)
            continue
        _image(folder / "images" / part / f"{index}.png", pixels)
        lines = [_line(task, detection, image) for detection in truth]
        labels = folder / "labels" / part / f"{index}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join(lines))
    if task is DetectorTask.CLASSIFY:
        return folder
    about = folder / "data.yaml"
    names = "".join(f"  {index}: {label}\n" for index, label in enumerate(CLASSES[task]))
    points = "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\n" if task is DetectorTask.POSE else ""
    about.write_text(
        f"path: {folder}\ntrain: images/train\nval: images/val\n{points}names:\n{names}"
    )
    return about


def _image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def _line(task: DetectorTask, truth: Detection, image: Image) -> str:
    size = np.array([image.width_px, image.height_px])
    box = truth.box
    assert box is not None
    corners = np.array([[box.x0, box.y0], [box.x1, box.y1]]) / size
    numbers = [*corners.mean(0), *(corners[1] - corners[0])]
    if truth.outline is not None:
        filled = (truth.outline.values > 0.5).astype(np.uint8)
        contours, _ = cv2.findContours(filled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        numbers = list(((max(contours, key=len)[:, 0] + 0.5) / size).ravel())
    if truth.rotated is not None:
        numbers = list((truth.rotated.corners() / size).clip(0, 1).ravel())
    if truth.keypoints is not None:
        points = truth.keypoints.points / size
        numbers += [value for x, y in points for value in (x, y, 2)]
    return " ".join([str(CLASSES[task].index(truth.label)), *(f"{n:.6f}" for n in numbers)])


if __name__ == "__main__":
    place, *wanted = sys.argv[1:]
    Path(place).mkdir(parents=True, exist_ok=True)
    job: Callable[[DetectorTask, Path], None] = train
    for one in [DetectorTask(name) for name in wanted] or list(DetectorTask):
        job(one, Path(place) / f"{one.value}.pt")
