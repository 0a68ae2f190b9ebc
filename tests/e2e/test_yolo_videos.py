"""Videos are tracked in the background, and open with their tracks on them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.clips import write_clip
from tests.e2e.browser import Editor
from tests.e2e.conftest import Work, connect
from tests.e2e.test_prelabelled import comparable
from tests.e2e.test_yolo import SHAPES, example
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.e2e

SIDE_PX, RADIUS_PX, FPS, FRAMES = 128, 20, 24, 240


def middle_px(frame: int) -> int:
    """Where the drawn disc's middle is, from the left."""
    return 30 + round(68 * frame / FRAMES)


def disc_clip(file: Path) -> Path:
    """A red disc that goes from the left to the right."""
    grain = np.random.default_rng(0).integers(-10, 11, (SIDE_PX, SIDE_PX, 3))
    frames = []
    for frame in range(FRAMES):
        pixels = np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8)
        cv2.circle(pixels, (middle_px(frame), 64), RADIUS_PX, (225, 35, 35), -1)
        frames.append(np.clip(pixels + grain, 0, 255).astype(np.uint8))
    return write_clip(file, frames, fps=FPS)


def new_work(studio: LabelStudioServer, url: str, xml: str, clip: Path) -> Work:
    project = studio.add_project(xml)
    studio.api("POST", "/api/dm/views/", json={"project": project, "data": {}})
    (task,) = studio.upload(project, clip)
    connect(studio, project, url)
    return Work(studio, project, task["id"])


def tracked(work: Work, url: str) -> list[dict[str, Any]]:
    """Open the task, which starts its tracking; the results, once they are stored.

    Looks whether the status page showed how far it is.
    """
    opened = work.studio.api("GET", f"/api/tasks/{work.task}/?project={work.project}")
    assert opened["predictions"] == []
    deadline, seen = time.monotonic() + 150, False
    while not (found := work.predictions()):
        page = httpx.get(url, timeout=30).text
        seen = seen or f"task {work.task}: frame " in page
        assert time.monotonic() < deadline, page
        time.sleep(0.05)
    assert seen
    (prediction,) = found
    return list(prediction["result"])


def submit(editor: Editor, work: Work, predicted: list[dict[str, Any]]) -> None:
    """Submit the open task; what is stored must be what was predicted."""
    editor.submit()
    stored = work.stored()
    for result in stored + predicted:
        # The browser measures a clip's length for itself.
        result["value"]["duration"] = round(result["value"]["duration"], 1)
    assert comparable(stored) == comparable(predicted)
    assert editor.errors == []


def test_a_drawn_disc_is_tracked(
    yolo_server: str, label_studio: LabelStudioServer, editor: Editor, tmp_path: Path
) -> None:
    clip = disc_clip(tmp_path / "disc.webm")
    work = new_work(label_studio, yolo_server, example("yolo_video", SHAPES), clip)
    predicted = tracked(work, yolo_server)
    editor.show(work.project, work.task)
    (region,) = editor.regions()
    assert (region["type"], region["labels"]) == ("videorectangleregion", ["Disc"])
    for frame in (10, FRAMES // 2, FRAMES - 10):
        (box,) = editor.frame(frame)[1].values()
        percent_of_px = 100 / SIDE_PX
        assert abs(box["x"] + box["width"] / 2 - middle_px(frame) * percent_of_px) <= 4
        assert abs(box["width"] - 2 * RADIUS_PX * percent_of_px) <= 6
    submit(editor, work, predicted)


def test_a_real_clip_is_tracked(
    shared: Path, yolo_server: str, label_studio: LabelStudioServer, editor: Editor
) -> None:
    model = 'model_path="yolo11n_256_quant_detect_coco80-st.tflite"'
    animals = 'predicted_values="bird,cat,dog,horse,sheep,cow,elephant,bear,zebra"'
    xml = example(
        "yolo_video",
        {
            'toName="video" model_tracker': f'toName="video" {model} model_tracker',
            '<Label value="Car"/>': f'<Label value="Animal" {animals}/>',
        },
    )
    clip = shared / "data" / "label-studio" / "frontend-media" / "opossum_snow.mp4"
    work = new_work(label_studio, yolo_server, xml, clip)
    predicted = tracked(work, yolo_server)
    editor.show(work.project, work.task)
    assert {tuple(region["labels"]) for region in editor.regions()} >= {("Animal",)}
    submit(editor, work, predicted)
