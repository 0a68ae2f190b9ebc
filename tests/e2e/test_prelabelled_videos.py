"""Tracks in the real editor: on the right frames, and stored back unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backends.interface import Clip, PlacedTrack, Prediction
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_prediction
from micro_models.regions import Box, RotatedBox
from micro_models.tracks import KeyFrame, Track
from tests.e2e.browser import Editor
from tests.e2e.test_prelabelled import comparable, store
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.e2e

Json = dict[str, Any]

FRAMES, WIDTH_PX, HEIGHT_PX = 20, 160, 120
DARKEST, BRIGHTER = 20, 10  # grey of the first frame, and what each adds


def config(video: str) -> str:
    return f"""<View><Video name="video" value="$video" {video}/>
      <VideoRectangle name="box" toName="video"/>
      <Labels name="labels" toName="video"><Label value="Cat"/><Label value="Dog"/></Labels>
      </View>"""


def grey_clip(file: Path, fps: float) -> Path:
    """A clip whose frames tell their number by their grey."""
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"VP80"), fps, (WIDTH_PX, HEIGHT_PX))
    assert writer.isOpened()
    for frame in range(FRAMES):
        writer.write(np.full((HEIGHT_PX, WIDTH_PX, 3), DARKEST + BRIGHTER * frame, np.uint8))
    writer.release()
    return file


def walk() -> Track:
    """Goes right by 5 px a frame, is gone after frame 7, and is back in frames 12 to 17."""
    keys = [(0, True), (7, False), (12, True), (17, False)]
    return Track("Cat", tuple(KeyFrame(f, box_at(f), e, 0.5) for f, e in keys), 0.6)


def box_at(frame: float) -> Box:
    return Box(5 * frame, 12, 5 * frame + 40, 72)


def turn() -> Track:
    """Turns across the angle where degrees start anew."""
    keys = [
        KeyFrame(2, RotatedBox(80, 60, 40, 20, 350)),
        KeyFrame(18, RotatedBox(70, 60, 40, 20, 10)),
    ]
    return Track("Dog", tuple(keys), 0.7)


def encoded(tracks: list[Track], clip: Clip, xml: str, size_px: tuple[int, int]) -> Json:
    placed = tuple(PlacedTrack(f"t{i}", track, "box") for i, track in enumerate(tracks))
    made = Prediction(placed, 0.5, "v1", *size_px, clip)
    item = encode_prediction(made, parse_label_config(xml), data={"fps": 12})
    return dict(json.loads(json.dumps(item, allow_nan=False)))


def open_video(
    studio: LabelStudioServer, editor: Editor, xml: str, file: Path, sent: Json
) -> tuple[int, int]:
    """Store the prediction on a task with the video, and open it; the project and the task."""
    project = studio.add_project(xml)
    studio.api("POST", "/api/dm/views/", json={"project": project, "data": {}})
    (task,) = studio.upload(project, file)
    data = task["data"] | {"fps": 12}
    studio.api("PATCH", f"/api/tasks/{task['id']}/", json={"data": data})
    store(studio, project, task["id"], sent, by_import=True)
    editor.show(project, task["id"])
    return project, task["id"]


def submitted(studio: LabelStudioServer, editor: Editor, task: int) -> list[Json]:
    editor.submit()
    (annotation,) = studio.api("GET", f"/api/tasks/{task}/annotations/")
    return comparable(annotation["result"])


@pytest.mark.parametrize(
    ("fps", "video"),
    [
        (10, 'framerate="10"'),
        (10, ""),  # the editor then counts 24 frames a second
        (30, 'frameRate="$fps"'),
        (25, 'framerate="10"'),
    ],
)
def test_a_track_is_shown_where_its_object_is(
    fps: float, video: str, label_studio: LabelStudioServer, editor: Editor, tmp_path: Path
) -> None:
    file = grey_clip(tmp_path / "clip.webm", fps)
    xml = config(video)
    sent = encoded([walk(), turn()], Clip(FRAMES, fps), xml, (WIDTH_PX, HEIGHT_PX))
    _, task = open_video(label_studio, editor, xml, file, sent)
    assert [(each["type"], each["labels"]) for each in editor.regions()] == [
        ("videorectangleregion", ["Cat"]),
        ("videorectangleregion", ["Dog"]),
    ]
    for number in range(1, sent["result"][0]["value"]["framesCount"] + 1):
        grey, shown = editor.frame(number)
        frame = round((grey - DARKEST) / BRIGHTER)
        is_there = frame <= 7 or 12 <= frame <= 17
        assert ("t0" in shown) == is_there, (number, frame)
        if is_there:
            # Where the editor counts finer than the clip, its boxes move on within a frame.
            x_px = shown["t0"]["x"] * WIDTH_PX / 100
            assert abs(x_px - box_at(frame).x0) <= 5, (number, frame)
    back = submitted(label_studio, editor, task)
    for result in back + sent["result"]:
        result["value"]["duration"] = round(result["value"]["duration"], 2)  # WebM counts in ms
    assert back == comparable(sent["result"])
    assert editor.errors == []


def test_a_track_on_a_real_clip(
    shared: Path, label_studio: LabelStudioServer, editor: Editor
) -> None:
    file = shared / "data" / "label-studio" / "frontend-media" / "opossum_snow.mp4"
    capture = cv2.VideoCapture(str(file))
    clip = Clip(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS))
    size_px = (
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )
    capture.release()
    track = Track(
        "Cat",
        tuple(
            KeyFrame(frame, Box(frame / 2, 100, frame / 2 + 200, 400), enabled)
            for frame, enabled in [(0, True), (500, False), (700, True), (clip.frames - 1, True)]
        ),
    )
    xml = config("")
    sent = encoded([track], clip, xml, size_px)
    _, task = open_video(label_studio, editor, xml, file, sent)
    assert sorted(editor.frame(1)[1]) == ["t0"]
    assert editor.frame(500)[1] == {}  # 20.8 s: gone
    back = submitted(label_studio, editor, task)
    for result in back + sent["result"]:
        result["value"]["duration"] = round(result["value"]["duration"], 1)
    assert back == comparable(sent["result"])
    assert editor.errors == []
