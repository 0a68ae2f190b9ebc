"""How fast is a project pre-labelled, against a plain loop, in one run on one machine?

    LABEL_STUDIO_URL=... LABEL_STUDIO_API_KEY=... python examples/prelabel_benchmark.py MODEL

MODEL is a YOLO checkpoint or an export that ultralytics loads. Uploads photos to that Label Studio
and makes projects of tasks that show them, each task at an address of its own, so that each is
fetched. The plain loop does what a script of 20 lines does: for each task in turn download, decode,
predict with ultralytics, create the prediction through the SDK; its model is loaded beforehand.
`labelpilot prelabel` is timed from the start of the process to its end, model and all. With
`LABELPILOT_DATABASE_URL` the workers share that database, as those of several machines do.

    ... MODEL --tasks 20000 --workers 1 2 3 --size 160 120 --plain 200
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psutil
from label_studio_sdk import LabelStudio
from rich.console import Console
from rich.table import Table

from backends.demo.project import find_photos
from backends.label_studio.client import LabelStudios
from backends.label_studio.projects import ProjectBook
from backends.settings import Settings

LABELS = ("person", "car", "bicycle", "dog", "chair", "bottle", "cup", "cat", "bus", "laptop")
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + "</RectangleLabels></View>"
)
MIN_SCORE = 0.5
_PAGE = 1_000
console = Console()


@dataclass(frozen=True)
class Run:
    """One measured way; `peak_mb` is the largest memory of the process that did the most."""

    name: str
    tasks: int
    took_s: float
    peak_mb: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.tasks / self.took_s


class Studio:
    """The Label Studio of the environment, through the SDK and plain HTTP."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_dir=folder)
        studios = LabelStudios(settings, ProjectBook(settings))
        self.reach = studios.reach(None)
        self.sdk: LabelStudio = studios.sdk()
        self.http = httpx.Client(
            base_url=self.reach.base, auth=studios.auth(self.reach), timeout=120
        )
        self._made: list[int] = []

    def upload(self, files: list[Path]) -> list[str]:
        """Photos; their addresses."""
        project = self._add_project()
        for file in files:
            with file.open("rb") as body:
                answer = self.http.post(f"/api/projects/{project}/import", files={"file": body})
            answer.raise_for_status()
        tasks = self.http.get("/api/tasks/", params={"project": project, "page_size": 10_000})
        return [task["data"]["image"] for task in tasks.json()["tasks"]]

    def add(self, photos: list[str], count: int) -> int:
        """A project of `count` tasks, each with its own address of a photo; its id."""
        project = self._add_project()
        tasks = [{"data": {"image": f"{photos[i % len(photos)]}?n={i}"}} for i in range(count)]
        for start in range(0, count, 1_000):
            some = tasks[start : start + 1_000]
            self.http.post(f"/api/projects/{project}/import", json=some).raise_for_status()
        return project

    def predictions(self, project: int) -> list[int]:
        """How many predictions each task has."""
        found: list[int] = []
        while True:
            page = {"project": project, "page_size": _PAGE, "page": len(found) // _PAGE + 1}
            answer = self.http.get("/api/tasks/", params=page).raise_for_status().json()
            found += [task["total_predictions"] for task in answer["tasks"]]
            if len(found) >= answer["total"]:
                return found

    def close(self) -> None:
        """Delete what was made."""
        for project in self._made:
            self.http.delete(f"/api/projects/{project}/")

    def _add_project(self) -> int:
        body = {"title": "prelabel benchmark", "label_config": CONFIG}
        self._made.append(self.http.post("/api/projects/", json=body).json()["id"])
        return self._made[-1]


def plain_loop(studio: Studio, project: int, model: Path) -> Run:
    """One image after the other, as a script does it."""
    from ultralytics import YOLO

    yolo = YOLO(str(model))
    yolo.predict(np.zeros((64, 64, 3), np.uint8), verbose=False)  # loads it
    tasks = list(studio.sdk.tasks.list(project=project, page_size=1_000))
    started = time.perf_counter()
    for task in tasks:
        body = studio.http.get(task.data["image"]).content
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        (found,) = yolo.predict(image, conf=MIN_SCORE, verbose=False)
        results = [
            _rectangle(box, found.names[int(kind)], float(score), image.shape)
            for box, kind, score in zip(
                found.boxes.xyxy.tolist(), found.boxes.cls, found.boxes.conf, strict=True
            )
            if found.names[int(kind)] in LABELS
        ]
        studio.sdk.predictions.create(task=task.id, result=results, model_version="plain")
    took_s = time.perf_counter() - started
    return Run("plain loop", len(tasks), took_s, psutil.Process().memory_info().rss / 1e6)


def _rectangle(box: list[float], label: str, score: float, shape: tuple[int, ...]) -> Any:
    height, width = shape[:2]
    x0, y0, x1, y1 = box
    value = {"x": x0 * 100 / width, "y": y0 * 100 / height, "rotation": 0}
    value |= {"width": (x1 - x0) * 100 / width, "height": (y1 - y0) * 100 / height}
    return {
        "from_name": "box",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": width,
        "original_height": height,
        "score": score,
        "value": {**value, "rectanglelabels": [label]},
    }


class Labelpilot:
    """A running `labelpilot` command; killed at the end of the block if it still runs."""

    def __init__(self, *command: str, **settings: str) -> None:
        variables = {f"LABELPILOT_{name.upper()}": value for name, value in settings.items()}
        self._log = Path(settings["data_dir"]) / f"{command[0]}.log"
        with self._log.open("wb") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "backends.cli", *command],
                env=os.environ | variables,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Labelpilot:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """What it printed."""
        return self._log.read_text()


def prelabel(studio: Studio, project: int, *, workers: int, **settings: str) -> Run:
    """`labelpilot prelabel`, with `workers - 1` further `labelpilot worker` beside it."""
    count = len(studio.predictions(project))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as others:
        settings = {**settings, "data_dir": folder}
        started = time.perf_counter()
        with Labelpilot("prelabel", f"--project={project}", **settings) as main:
            for _ in range(workers - 1):
                others.enter_context(Labelpilot("worker", **settings))
            peak_mb = _watch(main.process)
            took_s = time.perf_counter() - started
            assert studio.predictions(project) == [1] * count, main.said
    return Run(f"labelpilot, {workers} worker(s)", count, took_s, peak_mb)


def killed(studio: Studio, project: int, **settings: str) -> str:
    """Kill -9 once anything is stored, then the same command again."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {**settings, "data_dir": folder}
        with Labelpilot("prelabel", f"--project={project}", **settings) as first:
            while not any(studio.predictions(project)):
                assert first.process.poll() is None, first.said
                time.sleep(0.2)
            first.process.send_signal(signal.SIGKILL)
        before = studio.predictions(project)
        with Labelpilot("prelabel", f"--project={project}", **settings) as again:
            again.process.wait()
            said = again.said
    after = studio.predictions(project)
    assert sum(before) < len(before), "it was over before it was killed: take more --tasks"
    return (
        f"kill -9 after {sum(before)} of {len(before)}; then the same command: "
        f"{after.count(0)} lost, {sum(n > 1 for n in after)} doubled\n{said.strip()}"
    )


def _watch(process: psutil.Popen) -> float:
    """The largest memory until the process ends, in MB."""
    peak = 0.0
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss / 1e6)
        except psutil.Error:
            break
        time.sleep(0.1)
    return peak


def make_photos(
    source: Path | None, folder: Path, count: int, size_px: tuple[int, int]
) -> list[Path]:
    """Different photos: parts of real ones, turned a little in their colours; 1060 x 600 px are
    about 100 KB.
    """
    files = sorted(source.glob("*.jpg")) if source else find_photos()
    photos = [cv2.imread(str(file)) for file in files]
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        photo = cv2.resize(photos[number % len(photos)], (1280, 720))
        x, y = rng.integers(0, 200), rng.integers(0, 100)
        part = cv2.convertScaleAbs(photo[y : y + 600, x : x + 1060], alpha=rng.uniform(0.9, 1.1))
        made.append(folder / f"{number}.jpg")
        cv2.imwrite(str(made[-1]), cv2.resize(part, size_px, interpolation=cv2.INTER_AREA))
    return made


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; default: sample photos")
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--plain", type=int, default=100, help="tasks of the plain loop")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="one run for each")
    parser.add_argument("--size", type=int, nargs=2, default=[1060, 600], help="of photos, px")
    parser.add_argument("--memory", type=int, nargs="*", default=[], help="also with this many")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        shutil.copy(options.model, folder / "models")
        settings = {
            "model_dir": str(folder / "models"),
            "yolo_model": options.model.name,
            "yolo_score_threshold": str(MIN_SCORE),
            "sam_model": "grabcut",
            "blind_share": "0",
        }
        studio = Studio(folder / "state")
        try:
            files = make_photos(options.photos, folder, 100, tuple(options.size))
            photos = studio.upload(files)
            runs = [plain_loop(studio, studio.add(photos, options.plain), options.model)]
            for workers in options.workers:
                project = studio.add(photos, options.tasks)
                runs.append(prelabel(studio, project, workers=workers, **settings))
            end = killed(studio, studio.add(photos, min(options.tasks, 300)), **settings)
            for count in options.memory:
                project = studio.add(photos, count)
                runs.append(prelabel(studio, project, workers=1, **settings))
        finally:
            studio.close()
    table = Table("", "tasks", "seconds", "images/s", "x plain", "peak MB", box=None)
    for run in runs:
        factor = run.rate / runs[0].rate
        cells = (f"{run.took_s:.1f}", f"{run.rate:.1f}", f"{factor:.1f}", f"{run.peak_mb:.0f}")
        table.add_row(run.name, str(run.tasks), *cells)
    console.print(table)
    console.print(end, highlight=False)
    if options.json:
        options.json.write_text(json.dumps([run.__dict__ for run in runs] + [end], indent=1))


if __name__ == "__main__":
    main()
