"""Key frames drawn on a clip train a model of that clip, whose answer is tracks over all of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import pytest

from backends.interface import Clip
from backends.label_studio.tracks import Timeline, decode_track, encode_track
from backends.micro.store import MicroStore
from backends.settings import Settings
from micro_models.evaluation.presence import presence
from micro_models.regions import Region
from micro_models.tracks import KeyFrame, Track, interpolate
from tests.clips import write_clip
from tests.e2e.conftest import connect, labelpilot
from tests.e2e.labelled_clip import Frame, camera_clip, wait_until
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

FPS, FRAMES, SIZE_PX = 24.0, 150, (320, 240)
LABEL = "Spitze"
CONFIG = f"""<View><Video name="video" value="$video" framerate="24"/>
<Labels name="label" toName="video"><Label value="{LABEL}"/></Labels>
<VideoRectangle name="way" toName="video"/></View>"""


def drawn(clip: list[Frame], count: int) -> Track:
    """What an annotator draws: some frames, and where the object comes and goes."""
    seen = [number for number, frame in enumerate(clip) if frame.regions]
    chosen = {seen[int((n + 0.5) * len(seen) / count)] for n in range(count)}
    goes = {n for n in seen if n + 1 < len(clip) and not clip[n + 1].regions}
    comes = {n for n in seen if n and not clip[n - 1].regions}
    keys = [
        KeyFrame(number, clip[number].regions[0].shape, enabled=number not in goes)
        for number in sorted(chosen | goes | comes | {seen[0]})
    ]
    return Track(LABEL, tuple(keys))


def test_key_frames_become_tracks_over_the_whole_clip(
    label_studio: LabelStudioServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip = camera_clip(tmp_path / "clip", FRAMES)
    pixels = [cv2.cvtColor(cv2.imread(str(one.path)), cv2.COLOR_BGR2RGB) for one in clip]
    video = write_clip(tmp_path / "clip.webm", pixels, fps=FPS)
    project = label_studio.add_project(CONFIG)
    label_studio.api("POST", "/api/dm/views/", json={"project": project, "data": {}})
    (task,) = label_studio.upload(project, video)
    timeline = Timeline(Clip(FRAMES, FPS), FPS)
    settings = {"LABELPILOT_SAM_MODEL": "grabcut", "LABELPILOT_TRAIN_BUDGET_S": "20"}
    with labelpilot(label_studio, tmp_path / "pilot", **settings) as url:
        connect(label_studio, project, url)
        track = drawn(clip, 5)
        value = encode_track(track, timeline, SIZE_PX)
        result = {
            "id": "drawn",
            "from_name": "way",
            "to_name": "video",
            "type": "videorectangle",
            "original_width": SIZE_PX[0],
            "original_height": SIZE_PX[1],
            "value": {**value, "labels": [LABEL]},
        }
        body = {"result": [result], "lead_time": 60}
        label_studio.api("POST", f"/api/tasks/{task['id']}/annotations/", json=body)
        submitted_at = time.monotonic()
        log = tmp_path / "pilot" / "labelpilot.log"

        def predictions() -> list[dict[str, Any]]:
            return list(label_studio.api("GET", f"/api/predictions/?task={task['id']}"))

        wait_until(predictions, log.read_text)
        took_s = time.monotonic() - submitted_at
        store = MicroStore(Settings(data_dir=tmp_path / "pilot", database_url=None))
        key = label_studio.project_key(project)
        wait_until(lambda: not store.waiting() and not store.unannounced(), log.read_text)
        version = store.standing(key).announced
        (prediction,) = wait_until(
            lambda: [version] == [one["model_version"] for one in predictions()] and predictions(),
            log.read_text,
        )
        found = [decode_track(item, timeline, SIZE_PX) for item in prediction["result"]]
        assert {one.label for one in found} == {LABEL}
        asked = [n for n in range(FRAMES) if n not in {key.frame for key in track.key_frames}]
        truth = [[Region(LABEL, one.shape) for one in clip[n].regions] for n in asked]

        def at(tracks: list[Track]) -> list[list[Region]]:
            boxes = [[interpolate(one, n) for one in tracks] for n in asked]
            return [[Region(LABEL, box) for box in some if box is not None] for some in boxes]

        ours, linear = presence(at(found), truth), presence(at([track]), truth)
        with capsys.disabled():
            print(
                f"\n{len(track.key_frames)} key frames, first tracks {took_s:.1f} s after the "
                f"submit; presence F1 {ours.f1:.3f}, mean IoU {ours.mean_iou:.3f} (the key frames "
                f"alone: {linear.f1:.3f}, {linear.mean_iou:.3f})"
            )
        assert ours.f1 > 0.95
        assert ours.mean_iou > linear.mean_iou
        # What the page of the task asks for.
        opened = label_studio.api("GET", f"/api/tasks/{task['id']}/?project={project}")
        assert [one["id"] for one in opened["predictions"]] == [prediction["id"]]
