"""What the backend works with, without a model, a network or a Label Studio."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backends.errors import MediaError
from backends.interface import Clip, ImageFile, Project, Task, VideoFile
from backends.label_studio.label_xml import parse_label_config
from backends.settings import Settings
from micro_models.detections import Detection, DetectOptions, DetectorTask
from micro_models.regions import Box, Image

PIXELS = np.zeros((60, 100, 3), dtype=np.uint8)


@dataclass
class FakeDetector:
    """Sees in every image what it is told to see, as the options ask; remembers its calls."""

    seen: Sequence[Detection]
    task: DetectorTask = DetectorTask.DETECT
    labels: Sequence[str] = ("person", "car", "traffic light")
    name: str = "fake.pt"
    version: str = "v1"
    device: str = "cpu"
    nbytes: int = 1_000
    calls: list[tuple[int, DetectOptions]] = field(default_factory=list)
    fails_on: int | None = None  # an image whose first pixel has this value

    def detect(self, images: Sequence[Image], *, options: DetectOptions) -> list[list[Detection]]:
        self.calls.append((len(images), options))
        if any(image.pixels[0, 0, 0] == self.fails_on for image in images):
            raise RuntimeError("a tensor of a strange size")
        passed = [
            one
            for one in self.seen
            if one.score >= options.min_score
            and (options.classes is None or one.label in options.classes)
        ]
        return [sorted(passed, key=lambda one: -one.score) for _ in images]


@dataclass
class FakeImages:
    """Images by URL; `None` cannot be fetched. Counts what is read."""

    pixels: Mapping[str, np.ndarray | None] = field(default_factory=lambda: {"a.jpg": PIXELS})
    reads: list[str] = field(default_factory=list)

    def locate(self, url: str, project_key: str, task_id: int | None = None) -> ImageFile:
        pixels = self.pixels.get(url)
        if pixels is None:
            raise MediaError(f"{url} is not there", advice="upload it again")
        height, width = pixels.shape[:2]
        return ImageFile(Path(url), hashlib.sha256(url.encode()).hexdigest(), width, height)

    def read(self, file: ImageFile) -> Image:
        self.reads.append(str(file.path))
        pixels = self.pixels[str(file.path)]
        assert pixels is not None
        if pixels[0, 0, 0] == 99:
            raise MediaError("the image is damaged", advice="upload it again")
        return Image(pixels)


class FakeVideos:
    """One clip of ten frames under every URL."""

    def locate_video(self, url: str, project_key: str, task_id: int | None = None) -> VideoFile:
        return VideoFile(Path(url), "d1", 100, 60, Clip(10, 5.0))

    def frames(self, file: VideoFile) -> Iterator[Image]:
        return (Image(PIXELS) for _ in range(file.clip.frames))


@dataclass
class FakeBackground:
    """Remembers what was left to it."""

    left: list[tuple[str, list[int]]] = field(default_factory=list)
    waiting: Collection[int] = ()
    asked: Collection[int] = ()

    def prelabel(self, project: Project, version: str, task_ids: Sequence[int]) -> None:
        self.left.append((version, list(task_ids)))

    def pending(self, project: Project, version: str, task_ids: Collection[int]) -> Collection[int]:
        self.asked = task_ids
        return set(self.waiting) & set(task_ids)


class FakeTracker:
    """Takes every detection for the next appearance of the object of that number."""

    def update(self, detections: Sequence[Detection], frame: Image) -> list[tuple[int, Detection]]:
        return list(enumerate(detections))


class Loader:
    """Loads `detector` for every file, and counts; waits until it may."""

    def __init__(self, detector: FakeDetector) -> None:
        self.detector = detector
        self.loads: list[str] = []
        self.may_load = threading.Event()
        self.may_load.set()

    def __call__(self, path: Path) -> FakeDetector:
        assert self.may_load.wait(20)
        self.loads.append(path.name)
        return self.detector


def box(label: str, score: float, *edges: float) -> Detection:
    return Detection(label, score, Box(*(edges or (10.0, 10.0, 40.0, 50.0))))


def project(xml: str) -> Project:
    return Project("7.1700000000", parse_label_config(f"<View>{xml}</View>"))


def settings(folder: Path, **changed: object) -> Settings:
    """Settings with `yolo11n.pt` in the model folder."""
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "yolo11n.pt").write_bytes(b"weights")
    given = {"data_dir": folder, "model_dir": folder / "models", "download_weights": False}
    return Settings(_env_file=None, **{**given, **changed})


def tasks(*urls: str, key: str = "image") -> list[Task]:
    return [Task(number, {key: url}) for number, url in enumerate(urls, start=1)]


def until(done: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait for another thread's work; fails if it does not come."""
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
