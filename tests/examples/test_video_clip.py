from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from micro_models.regions import Box, Region
from micro_models.tracks import KeyFrame

ROOT = Path(__file__).parents[2]
WAYS = ["interpolated", "by frame", "tracked"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "examples/video_clip.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)


def test_json_and_nothing_else(clip: Path) -> None:
    done = run(clip, "--labels", 3, "--steps", 4, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (played,) = json.loads(done.stdout)["clips"]
    assert (played["clip"], played["frames"]) == (clip.name, 12)
    # The middles of three parts; and it is absent in frames 5 and 6.
    assert (played["key_frames"], played["per_hundred"]) == (4, 33.33)
    assert list(played["ways"]) == WAYS
    # The first key frame is 2: before that interpolation shows nothing.
    interpolated = played["ways"]["interpolated"]
    assert (interpolated["precision"], interpolated["recall"]) == (1.0, 0.6667)


def test_no_clip_is_told_in_a_line(tmp_path: Path) -> None:
    done = run(tmp_path, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().endswith("boxes.csv is no file")


def test_what_the_annotator_draws(example_module, clip: Path) -> None:
    module = example_module("video_clip")
    frames = module.read_clip(clip / "frames", clip / "boxes.csv")
    track = module.key_frames(frames, "object", 3)
    assert [(key.frame, key.enabled) for key in track.key_frames] == [
        (2, True), (4, False), (7, True), (10, True),
    ]  # fmt: skip
    assert track.key_frames[0] == KeyFrame(2, frames[2].regions[0].shape)
    with pytest.raises(module.NoData):
        module.key_frames(frames[5:7], "object", 3)


def test_the_figures(example_module) -> None:
    module = example_module("video_clip")
    here, far = (Region("car", Box(x, 0, x + 10, 10)) for x in (0, 50))
    figures = module.measured([[here], [far], []], [[here], [here], [here]])
    assert (figures.precision, figures.recall, figures.f1) == (1.0, 0.6667, 0.8)
    assert (figures.mean_iou, figures.placed) == (0.5, 0.4)
