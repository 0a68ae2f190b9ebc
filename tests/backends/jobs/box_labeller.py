"""A pre-labeller that boxes every task, and a worker process with it for tests to kill.

Run as a program, it works on the jobs of the settings in its environment until it is ended;
LABELPILOT_TEST_TASK_S says how long it takes over a task, LABELPILOT_TEST_LEARN_S over a training,
without which it does none. It begins when as many workers as
LABELPILOT_TEST_WORKERS have a task in hand, which meet in a folder of its data.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from backends.errors import LabelpilotError, MediaError, ModelMissing
from backends.interface import (
    Labelled,
    Learner,
    PlacedRegion,
    Prediction,
    Prelabeller,
    Project,
    Task,
    TaskProgress,
)
from backends.jobs import uploads
from backends.jobs.jobs import Jobs
from backends.label_studio.client import LabelStudios
from backends.label_studio.projects import ProjectBook
from backends.settings import Settings
from micro_models.regions import Box, Region

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="rect" toName="image"><Label value="Cat"/></RectangleLabels></View>"""


@dataclass
class BoxLabeller:
    """One box a task. `data["image"]` says what happens: "bad" fails, "nothing" finds nothing to
    store, "dog" is of a class that the label config does not have, "clip" takes 15 frames of 0.1 s.
    """

    present_version: str = "box-1"
    comes: str | None = None  # the version when `wait` is over
    missing: bool = False  # the model
    task_s: float = 0.0
    before: Callable[[Task], None] = lambda task: None
    labelled: list[int] = field(default_factory=list)
    closed: int = 0

    def version(self, project: Project) -> str:
        return self.present_version

    def wait(self, project: Project) -> str:
        if self.missing:
            raise ModelMissing("the model is not here", advice="get it")
        self.present_version = self.comes or self.present_version
        return self.present_version

    def label(
        self, project: Project, tasks: Iterable[Task], *, progress: TaskProgress | None = None
    ) -> Iterator[Labelled]:
        version = self.version(project)
        try:
            for task in tasks:
                self.before(task)
                yield self._one(task, version, progress)
        finally:
            self.closed += 1

    def _one(self, task: Task, version: str, progress: TaskProgress | None) -> Labelled:
        assert task.id is not None
        what = str(task.data["image"])
        time.sleep(self.task_s)
        if what == "clip" and progress is not None:
            for frame in range(15):
                progress(task, frame, 15)
                time.sleep(0.1)
        self.labelled.append(task.id)
        if what == "bad":
            error: LabelpilotError = MediaError("the image is gone", advice="upload it again")
            return Labelled(task, error=error)
        if what == "nothing":
            return Labelled(task)
        region = Region("Dog" if what == "dog" else "Cat", Box(10, 20, 60, 80), 0.9)
        placed = PlacedRegion(f"box{task.id}", region, "rect")
        return Labelled(task, Prediction((placed,), 0.9, version, 100, 100))


@dataclass
class Diarist:
    """A learner that writes "begun" and "done" into a file of the folder, which it keeps."""

    folder: Path
    takes_s: float = 0.0

    def learn(
        self, project_key: str, *, go_on: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        self._write("begun")
        until = time.monotonic() + self.takes_s
        while time.monotonic() < until:
            go_on()
            time.sleep(0.02)
        self._write("done")

    def give_up(self, project_key: str, reason: str) -> None:
        self._write(f"given up: {reason}")

    def diary(self) -> list[str]:
        """What was written so far, by all processes."""
        path = self.folder / "diary"
        return path.read_text().split() if path.exists() else []

    def _write(self, word: str) -> None:
        with (self.folder / "diary").open("a") as file:
            file.write(word + "\n")


@contextmanager
def jobs_of(
    settings: Settings,
    labeller: BoxLabeller,
    *,
    learner: Learner | None = None,
    **others: Prelabeller,
) -> Iterator[Jobs]:
    """`Jobs` as the server has it, not started. `others`: by the families of their versions."""
    book = ProjectBook(settings)
    with (
        closing(LabelStudios(settings, book)) as studios,
        closing(Jobs(settings, studios, book, {"box": labeller, **others})) as jobs,
    ):
        jobs.learner = learner
        yield jobs
    book.close()


def meet(folder: Path, many: int) -> Callable[[Task], None]:
    """Before a task: wait until `many` processes have come this far."""
    folder.mkdir(parents=True, exist_ok=True)

    def wait(task: Task) -> None:
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 60
        while len(list(folder.iterdir())) < many and time.monotonic() < deadline:
            time.sleep(0.05)

    return wait


def main() -> None:
    """Work until SIGTERM, then tell over how many tasks."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    settings = Settings()
    labeller = BoxLabeller(
        task_s=float(os.environ.get("LABELPILOT_TEST_TASK_S", "0")),
        before=meet(
            settings.data_path / "meeting", int(os.environ.get("LABELPILOT_TEST_WORKERS", "1"))
        ),
    )
    lands_s = os.environ.get("LABELPILOT_TEST_LANDS_S")
    uploads.LANDS_WITHIN_S = float(lands_s or uploads.LANDS_WITHIN_S)
    learn_s = os.environ.get("LABELPILOT_TEST_LEARN_S")
    learner = None if learn_s is None else Diarist(settings.data_path, takes_s=float(learn_s))
    with jobs_of(settings, labeller, learner=learner) as jobs:
        jobs.start()
        ended.wait()
    print(len(labeller.labelled))


if __name__ == "__main__":
    main()
