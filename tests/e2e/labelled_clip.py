"""A clip as image tasks in a real Label Studio, and the annotator who knows where the object is."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from backends.interface import PlacedRegion
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import decode_region, encode_region
from micro_models.evaluation.counting import Counts, count
from micro_models.regions import Box, Region
from tests.label_studio_server import ROOT, LabelStudioServer

Json = dict[str, Any]

LABEL = "Objekt ü"
CONFIG = f"""<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="{LABEL}"/></RectangleLabels></View>"""
WAIT_S = 150.0


@dataclass(frozen=True)
class Frame:
    """A frame's file and what is in it, in pixels."""

    path: Path
    regions: tuple[Region, ...]


def camera_clip(folder: Path, frames: int) -> list[Frame]:
    """A clip that the example makes of a real photo."""
    command = [sys.executable, "examples/camera_clip.py", str(folder), f"--frames={frames}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return read_clip(folder, step=1)


def read_clip(folder: Path, *, step: int) -> list[Frame]:
    """Every `step`th frame of `frames/` and `boxes.csv`; the box ends where the frame does."""
    with (folder / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))[::step]
    return [_frame(folder / "frames" / row["file"], row) for row in rows]


def _frame(path: Path, row: Json) -> Frame:
    if not row["x"].strip():
        return Frame(path, ())
    x, y, w, h = (float(row[name]) for name in "xywh")
    with Image.open(path) as image:
        width, height = image.size
    box = Box(max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height))
    return Frame(path, (Region(LABEL, box),))


class ClipProject:
    """A project with a task for each frame."""

    def __init__(self, studio: LabelStudioServer, name: str, frames: Sequence[Frame]) -> None:
        self.studio = studio
        folder = studio.files / name
        folder.mkdir()
        for frame in frames:
            (folder / frame.path.name).write_bytes(frame.path.read_bytes())
        self.id = studio.add_project(CONFIG, title=name)
        studio.api("POST", "/api/dm/views/", json={"project": self.id, "data": {}})
        studio.serve_folder(self.id, folder)
        urls = [f"/data/local-files/?d={name}/{frame.path.name}" for frame in frames]
        studio.api("POST", f"/api/projects/{self.id}/import", json=[{"image": u} for u in urls])
        self.tasks = [int(task["id"]) for task in studio.tasks(self.id)]
        self.frames = dict(zip(self.tasks, frames, strict=True))

    def drawn(self, task: int) -> list[Json]:
        """What an annotator draws."""
        frame = self.frames[task]
        with Image.open(frame.path) as image:
            size_px = image.size
        config = parse_label_config(CONFIG)
        return [
            item
            for number, region in enumerate(frame.regions)
            for item in encode_region(
                PlacedRegion(f"drawn{number}", region, "box"), config, size_px=size_px
            )
        ]

    def submit(self, task: int, result: list[Json] | None = None, **more: Any) -> int:
        """Submit an annotation; its id."""
        body = {"result": self.drawn(task) if result is None else result, "lead_time": 4.0, **more}
        return int(self.studio.api("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])

    def spread(self, number: int) -> list[int]:
        """Tasks in the middle of equal parts of the clip."""
        return [self.tasks[int((n + 0.5) * len(self.tasks) / number)] for n in range(number)]

    def predictions(self) -> dict[int, list[Json]]:
        """All predictions by task, the oldest first."""
        found: dict[int, list[Json]] = {}
        every = self.studio.api("GET", f"/api/predictions/?project={self.id}")
        for one in sorted(every, key=lambda each: int(each["id"])):
            found.setdefault(int(one["task"]), []).append(one)
        return found

    def versions(self) -> set[str]:
        """Of all predictions."""
        return {one["model_version"] for some in self.predictions().values() for one in some}

    def labelled(self) -> set[int]:
        """Tasks with an annotation."""
        tasks = self.studio.tasks(self.id)
        return {int(task["id"]) for task in tasks if task["total_annotations"]}

    def next(self) -> int:
        """What the label stream brings."""
        return int(self.studio.api("GET", f"/api/projects/{self.id}/next")["id"])

    def quality(self, version: str) -> Counts:
        """How good a version's predictions are on tasks that nobody labelled."""
        found = self._shown(version)
        return count(list(found.values()), [self.frames[task].regions for task in found])

    def flawless(self, version: str) -> set[int]:
        """Tasks that nobody labelled and that open with what is there, each once: nothing is to be
        drawn, moved or deleted.
        """
        counts = {
            task: count([found], [self.frames[task].regions])
            for task, found in self._shown(version).items()
        }
        return {task for task, one in counts.items() if not one.extra and not one.missed}

    def _shown(self, version: str) -> dict[int, list[Region]]:
        labelled = self.labelled()
        newest = {
            task: one
            for task, some in self.predictions().items()
            for one in some
            if one["model_version"] == version and task not in labelled
        }
        return {
            task: [decode_region(item) for item in one["result"]] for task, one in newest.items()
        }


def wait_until(
    true: Callable[[], Any], what: Callable[[], str], *, within_s: float = WAIT_S
) -> Any:
    """The first true value."""
    deadline = time.monotonic() + within_s
    while not (value := true()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)
    return value
