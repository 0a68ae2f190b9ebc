"""kill -9 of the server, of a worker or of a training, at any moment: nothing lost, none doubled.

Ten times; `LABELPILOT_TEST_KILLS=50` for more.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from backends.jobs.store import JobStore
from backends.micro.registry import Registry
from backends.micro.store import MicroStore
from backends.settings import Settings
from micro_models import load
from tests.e2e.conftest import connect
from tests.e2e.labelled_clip import ClipProject, camera_clip, wait_until
from tests.label_studio_server import ROOT, LabelStudioServer, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("LABELPILOT_TEST_KILLS", "10"))
TASKS = 40
LONGEST_S = 9.0  # a start, a training of two seconds and what follows it


class Program:
    """`labelpilot serve` or `labelpilot worker`, started again after each kill."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "backends.cli", *arguments]
        self._environment = environment
        self.log = Path(environment["LABELPILOT_DATA_DIR"]) / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs."""
        if self._process is None:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, env=self._environment, cwd=ROOT, stdout=log, stderr=log
                )

    def end(self, how: signal.Signals) -> None:
        """Send it a signal, and wait for its end."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None


def trainings(folder: Path) -> list[int]:
    """Processes that train in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if b"backends.micro.child" in words and str(folder).encode() in b" ".join(words):
                found.append(int(entry.name))
    return found


@contextmanager
def programs(studio: LabelStudioServer, folder: Path) -> Iterator[dict[str, Program]]:
    port = free_port()
    environment = os.environ | {
        "LABELPILOT_DATA_DIR": str(folder),
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": studio.legacy_token,
        "LABELPILOT_SAM_MODEL": "grabcut",
        "LABELPILOT_TRAIN_BUDGET_S": "2",
        "LABELPILOT_TRAIN_QUIET_S": "0.3",
        "TEST_URL": f"http://127.0.0.1:{port}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    both = {
        "serve": Program("serve", ["serve", f"--port={port}"], environment),
        "worker": Program("worker", ["worker"], environment),
    }
    try:
        yield both | {}
    finally:
        for program in both.values():
            program.end(signal.SIGKILL)


class Annotator:
    """Draws, draws again, puts off and deletes, never leaving fewer than six labels."""

    def __init__(self, project: ClipProject, rng: random.Random) -> None:
        self._project, self._rng = project, rng
        self.kept = {task: project.submit(task) for task in project.spread(8)}

    def work(self) -> None:
        """One change."""
        studio, project, rng = self._project.studio, self._project, self._rng
        free = [task for task in project.tasks if task not in self.kept]
        what = rng.choice(["submit", "submit", "delete", "update", "skip"])
        if what == "delete" and len(self.kept) > 6:
            task = rng.choice(list(self.kept))
            studio.api("DELETE", f"/api/annotations/{self.kept.pop(task)}/")
        elif what == "update":
            annotation = rng.choice(list(self.kept.values()))
            studio.api("PATCH", f"/api/annotations/{annotation}/", json={"lead_time": rng.random()})
        elif what == "skip" and len(free) > 10:
            project.submit(rng.choice(free), [], was_cancelled=True)
        elif len(free) > 10:
            self.draw()

    def draw(self) -> None:
        """Label one more task."""
        free = [task for task in self._project.tasks if task not in self.kept]
        task = self._rng.choice(free)
        self.kept[task] = self._project.submit(task)


def test_whatever_is_killed_labels_versions_and_predictions_are_consistent(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    rng = random.Random(5)
    project = ClipProject(label_studio, "kills", camera_clip(tmp_path / "clip", TASKS))
    folder = tmp_path / "pilot"
    killed = dict.fromkeys(("serve", "worker", "training"), 0)
    with programs(label_studio, folder) as both:
        url = both["serve"]._environment["TEST_URL"]
        both["serve"].start()
        wait_until(lambda: _answers(url), both["serve"].log.read_text)
        connect(label_studio, project.id, url)
        annotator = Annotator(project, rng)
        while sum(killed.values()) < KILLS:
            for program in both.values():
                program.start()
            annotator.work()
            time.sleep(rng.uniform(0.0, LONGEST_S))
            victim = rng.choice(list(killed))
            if victim == "training":
                if not (found := trainings(folder)):
                    continue
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(found), signal.SIGKILL)
            else:
                both[victim].end(signal.SIGKILL)
            killed[victim] += 1
        for program in both.values():
            program.start()
        # Who kills the training process itself is told so, and the next event begins anew.
        wait_until(lambda: _answers(url), both["serve"].log.read_text)
        annotator.draw()
        settings = Settings(data_dir=folder, database_url=None)
        store, key = MicroStore(settings), label_studio.project_key(project.id)
        jobs = JobStore(settings)

        def is_quiet() -> bool:
            labels = [one.labels for one in store.versions(key)][:1]
            is_new = labels == [len(annotator.kept)]
            return is_new and not (store.waiting() or store.unannounced() or jobs.any_open())

        def logs() -> str:
            return both["serve"].log.read_text() + both["worker"].log.read_text()

        wait_until(is_quiet, logs, within_s=300)  # a vanished worker is given up after 180 s
        print(killed)
        (model,) = store.current(key).values()
        latest = store.versions(key)[0]
        assert latest.id == model.id or latest.promoted_at is None, latest.why
        assert load(Registry(settings, store).folder(model)).version == model.id
        # What is kept of labels is what Label Studio has.
        annotated = {
            task["id"]: task["updated_at"]
            for task in label_studio.tasks(project.id)
            if task["total_annotations"] or task["cancelled_annotations"]
        }
        assert set(annotator.kept) <= set(store.known(key)) <= set(annotated)
        # Each task without a label has one prediction, of the present version.
        version = store.standing(key).announced
        predictions, labelled = project.predictions(), project.labelled()
        for task in set(project.tasks) - labelled:
            assert [one["model_version"] for one in predictions[task]] == [version], task
        assert trainings(folder) == []
    assert trainings(folder) == []


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=2).is_success
    return False
