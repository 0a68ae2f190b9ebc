"""Many tasks at once: "Retrieve predictions", and `labelpilot prelabel`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import pytest

from micro_models.detections import DetectorTask
from tests.e2e.browser import Editor
from tests.e2e.conftest import Work, connect, labelpilot
from tests.e2e.test_yolo import KINDS, submit
from tests.label_studio_server import ROOT, LabelStudioServer
from tests.small_yolo import draw

pytestmark = pytest.mark.e2e

TASKS = 60
BOXES = KINDS[0].config


def new_project(studio: LabelStudioServer, name: str, count: int) -> int:
    """A project of boxes with scenes in a folder that Label Studio serves."""
    folder = studio.files / name
    folder.mkdir()
    for number in range(count):
        image, _ = draw(DetectorTask.DETECT, number)
        cv2.imwrite(str(folder / f"{number}.png"), image.pixels[..., ::-1])
    project = studio.add_project(BOXES)
    studio.api("POST", "/api/dm/views/", json={"project": project, "data": {}})
    studio.serve_folder(project, folder)
    urls = [f"/data/local-files/?d={name}/{number}.png" for number in range(count)]
    studio.api("POST", f"/api/projects/{project}/import", json=[{"image": url} for url in urls])
    return project


def predictions(studio: LabelStudioServer, project: int) -> list[dict[str, Any]]:
    """All predictions of a project."""
    return list(studio.api("GET", f"/api/predictions/?project={project}"))


def wait_for(studio: LabelStudioServer, project: int, count: int, log: Path) -> None:
    """Wait until so many predictions are stored."""
    deadline = time.monotonic() + 90
    while len(predictions(studio, project)) < count:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def retrieve(studio: LabelStudioServer, project: int) -> None:
    """What the page of Label Studio does for "Retrieve predictions" of all tasks."""
    studio.api(
        "POST",
        f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}",
        json={"selectedItems": {"all": True, "excluded": []}, "project": str(project)},
    )


def test_retrieved_predictions_follow_in_the_background(
    label_studio: LabelStudioServer, yolo_models: Path, tmp_path: Path
) -> None:
    settings = {
        "LABELPILOT_MODEL_DIR": str(yolo_models),
        "LABELPILOT_SAM_MODEL": "grabcut",
        # Less than loading the model takes.
        "LABELPILOT_ANSWER_WITHIN_S": "0.01",
    }
    project = new_project(label_studio, "retrieved", TASKS)
    with labelpilot(label_studio, tmp_path, **settings) as url:
        connect(label_studio, project, url)
        retrieve(label_studio, project)
        at_once = len(predictions(label_studio, project))
        assert at_once < TASKS
        wait_for(label_studio, project, TASKS, tmp_path / "labelpilot.log")
        (backend,) = label_studio.api("GET", f"/api/ml?project={project}")
        stored = predictions(label_studio, project)
        assert {one["model_version"] for one in stored} == {backend["model_version"]}
        per_task = Counter(one["task"] for one in stored)
        assert sorted(per_task) == [task["id"] for task in label_studio.tasks(project)]
        assert set(per_task.values()) == {1}
        retrieve(label_studio, project)
        assert {one["id"] for one in predictions(label_studio, project)} == {
            one["id"] for one in stored
        }


def run(
    studio: LabelStudioServer, folder: Path, models: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """`labelpilot` with these arguments."""
    environment = os.environ | {
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": studio.personal_token,
        "LABELPILOT_DATA_DIR": str(folder),
        "LABELPILOT_MODEL_DIR": str(models),
        "LABELPILOT_SAM_MODEL": "grabcut",
        "COLUMNS": "200",
    }
    return subprocess.run(
        [sys.executable, "-m", "backends.cli", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_project_is_labelled_by_a_command(
    yolo_server: str,
    yolo_models: Path,
    label_studio: LabelStudioServer,
    editor: Editor,
    tmp_path: Path,
) -> None:
    count = 8
    project = new_project(label_studio, "commanded", count)
    command = ("prelabel", f"--project={project}")
    done = run(label_studio, tmp_path, yolo_models, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"done: {count} stored, 0 skipped, 0 failed" in done.stdout
    stored = predictions(label_studio, project)
    tasks = [task["id"] for task in label_studio.tasks(project)]
    assert sorted(one["task"] for one in stored) == tasks
    (version,) = {one["model_version"] for one in stored}
    assert f"version {version}" in done.stdout
    again = run(label_studio, tmp_path, yolo_models, *command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "done: 0 stored" in again.stdout
    # The server has the same models, and so the same version: it adds nothing.
    connect(label_studio, project, yolo_server)
    editor.show(project, tasks[0])
    assert submit(editor, Work(label_studio, project, tasks[0]))
    assert len(predictions(label_studio, project)) == count
    told = run(
        label_studio,
        tmp_path,
        yolo_models,
        "doctor",
        f"--project={project}",
        f"--url={yolo_server}",
    )
    assert told.returncode == 0, told.stdout + told.stderr
    for mapped in ("disc → DISC", "square → Vehicle", "triangle → Vehicle"):
        assert mapped in told.stdout, told.stdout
