"""Models that find bright balls, made in a moment, and pictures in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image

from backends.errors import MediaError
from backends.interface import Clip, ImageFile, VideoFile
from backends.micro.nouns import ModelVersion
from micro_models import Budget, MicroModel, fit
from micro_models.pictures import upright_size
from micro_models.regions import Image
from tests.micro_models.fitting.colour_trainer import ColourTrainer, scene

PLACES = ((8, 8), (40, 30), (70, 50), (20, 50), (60, 10))


def ball_model(label: str = "ball", *, level: int = 230, confidence: float = 0.9) -> MicroModel:
    """Finds squares of 16 x 16 pixels that are as bright as `level`."""
    examples = [scene(x, y, label=label, level=level, grain=n) for n, (x, y) in enumerate(PLACES)]
    trainers = [ColourTrainer(confidence=confidence)]
    return fit(examples, budget=Budget(steps=1), trainers=trainers, seed=0)


def version(name: str, scope: str = "project") -> ModelVersion:
    return ModelVersion(name, "1.5", scope, made_at=0.0, labels=5, data="", why="")


def picture(folder: Path, name: str, *places: tuple[int, int], level: int = 230) -> str:
    """Draws balls into a file; its address."""
    pixels = np.array(scene(0, 0, level=100).picture.pixels)  # type: ignore[union-attr]
    for x, y in places:
        pixels[y : y + 16, x : x + 16] = level
    PIL.Image.fromarray(pixels).save(folder / name)
    return name


@dataclass
class FolderImages:
    """An `ImageSource` of the files in a folder. `asked`: each file that was asked for."""

    folder: Path
    asked: list[str] = field(default_factory=list)

    def locate(self, url: str, project_key: str, task_id: int | None = None) -> ImageFile:
        self.asked.append(url)
        path = self.folder / url
        if not path.exists():
            raise MediaError(f"{url} is not there", advice="upload it again")
        width, height = upright_size(path)
        return ImageFile(path, hashlib.sha256(url.encode()).hexdigest(), width, height)

    def read(self, file: ImageFile) -> Image:
        try:
            with PIL.Image.open(file.path) as image:
                return Image(np.array(image.convert("RGB")))
        except OSError:
            raise MediaError("the image is damaged", advice="upload it again") from None


@dataclass
class DrawnVideos:
    """A `VideoSource` of one clip: a ball at each of `places`, or none."""

    places: Sequence[tuple[int, int] | None]
    folder: Path

    def locate_video(self, url: str, project_key: str, task_id: int | None = None) -> VideoFile:
        path = self.folder / "clip"
        path.touch()
        return VideoFile(path, "c1", 96, 72, Clip(len(self.places), 5.0))

    def frames(self, file: VideoFile) -> Iterator[Image]:
        for place in self.places:
            example = scene(*(place or (0, 0)), level=230 if place else 100)
            assert isinstance(example.picture, Image)
            yield example.picture
