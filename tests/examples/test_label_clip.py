from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from micro_models.budget import Budget
from micro_models.examples import Example
from micro_models.regions import Box, Image, Region

ROOT = Path(__file__).parents[2]
FIGURES = (
    "labels", "precision", "recall", "f1", "mean_iou", "false_alarms", "train_s", "infer_ms",
    "label_efficiency",
)  # fmt: skip
FITS = Region("object", Box(10, 10, 30, 30), 0.9)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "examples/label_clip.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)


def test_json_and_nothing_else(clip: Path, tmp_path: Path) -> None:
    done = run(
        clip / "frames", clip / "boxes.csv", "--labels", 3, "--rounds", 2, "--steps", 4,
        "--json", "--picture", tmp_path / "clip.png",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["clip"] == clip.name
    assert [tuple(figures) for figures in result["rounds"]] == [FIGURES] * 2
    assert [figures["labels"] for figures in result["rounds"]] == [3, 6]
    assert (tmp_path / "clip.png").stat().st_size < 300_000
    sheet = cv2.imread(str(tmp_path / "clip.png"))
    assert sheet.shape[1] == 3 * 184


def test_no_clip_is_told_in_a_line(clip: Path, tmp_path: Path) -> None:
    done = run(clip / "frames", tmp_path / "boxes.csv", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().endswith("boxes.csv is no file")


@pytest.mark.parametrize("name", ["clip.png", "clip.jpg", "clip.JPEG", "clip.webp"])
def test_a_picture_of_any_kind(example_module, tmp_path: Path, name: str) -> None:
    module = example_module("clip_picture")
    image = Image(np.full((40, 60, 3), 90, np.uint8))
    frames = [Example(image, [FITS]) for _ in range(4)]
    module.write_picture(tmp_path / name, frames, labels={0: [FITS]}, answers=[[FITS]] * 4)
    assert cv2.imread(str(tmp_path / name)).shape[1] == 184


@pytest.mark.parametrize("name", ["clip", "clip.docx", "nowhere/clip.png"])
def test_a_picture_that_cannot_be_written_is_told_before_the_training(
    label_clip, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frames, boxes = str(clip / "frames"), str(clip / "boxes.csv")
    monkeypatch.setattr(sys, "argv", ["", frames, boxes, "--picture", str(tmp_path / name)])
    with pytest.raises(SystemExit):
        label_clip.main()


@pytest.fixture
def label_clip(example_module):
    return example_module("label_clip")


class TrueModel:
    """Answers what is labelled in the clip, but for the frames in `wrong`."""

    def __init__(self, examples, wrong: tuple[int, ...]) -> None:
        self.answers = [[] if i in wrong else list(e.regions) for i, e in enumerate(examples)]

    def detect(self, images) -> list[list[Region]]:
        return [self.answers.pop(0) for _ in images]


@pytest.fixture
def played(label_clip, clip: Path, monkeypatch: pytest.MonkeyPatch):
    """Plays the clip with models that are wrong on two frames, then on one."""

    def play(rounds: int = 2):
        examples = label_clip.read_clip(clip / "frames", clip / "boxes.csv")
        wrong = [(0, 11), (11,), ()]
        fits: list[int] = []

        def fit(given, **_):
            fits.append(len(given))
            return TrueModel(examples, wrong[len(fits) - 1])

        monkeypatch.setattr(label_clip, "fit", fit)
        budget = Budget(steps=1)
        return list(label_clip.play(examples, labels=3, rounds=rounds, budget=budget, seed=0))

    return play


def test_figures_are_of_frames_that_were_not_labelled(played) -> None:
    first = played(1)[0]
    assert sorted(first.labels) == [2, 6, 10]  # in the middle of each third
    assert [label.drawn for label in first.labels.values()] == [True, False, True]
    # 8 frames with the object are left, 2 of them missed.
    assert first.figures.recall == pytest.approx(6 / 8)
    assert (first.figures.precision, first.figures.false_alarms) == (1.0, 0)
    assert first.figures.label_efficiency == pytest.approx(6 / 10)


def test_an_answer_that_fits_is_kept_and_counts_as_spared(played) -> None:
    first, second = played(2)
    assert len(second.labels) == 6
    new = {frame: label for frame, label in second.labels.items() if frame not in first.labels}
    assert 0 in new or 11 in new  # where something is missing
    assert all(label.drawn == (frame in (0, 11)) for frame, label in new.items())
    drawn = sum(label.drawn for label in second.labels.values())
    missed = 11 not in second.labels
    assert second.figures.label_efficiency == pytest.approx((10 - drawn - missed) / 10)


@pytest.mark.parametrize(
    ("answer", "drawn"),
    [
        ([FITS], False),
        ([Region("object", Box(10, 10, 30, 26), 0.9)], False),  # IoU 0.8
        ([Region("object", Box(10, 10, 30, 24), 0.9)], True),  # IoU 0.7
        ([Region("object", Box(10, 10, 30, 30), 0.4)], True),  # not shown
        ([], True),
        (
            [Region("object", Box(10, 10, 30, 30), 0.9), Region("object", Box(40, 0, 50, 9), 0.6)],
            True,
        ),
        (
            [Region("object", Box(10, 10, 30, 30), 0.9), Region("object", Box(40, 0, 50, 9), 0.4)],
            False,
        ),
    ],
)
def test_when_the_annotator_draws(label_clip, answer: list[Region], drawn: bool) -> None:
    truth = [Region("object", Box(10, 10, 30, 30))]
    label = label_clip.annotated(label_clip.Example("frame.png", truth), answer, by_lot=False)
    assert label.drawn == drawn
    assert [region.score for region in label.regions] == [1.0]


def test_the_annotator_looks_on_until_the_object_is_seen(label_clip) -> None:
    empty = label_clip.Example("frame.png")
    full = label_clip.Example("frame.png", [Region("object", Box(0, 0, 9, 9))])
    clip = [empty] * 100
    clip[97] = full
    frames = label_clip.first_frames(clip, 5)
    assert 97 in frames
    with pytest.raises(label_clip.NoData, match="no frame"):
        label_clip.first_frames([empty] * 9, 5)
    assert label_clip.first_frames([full], 5) == [0]


def test_a_clip_that_is_all_labelled_has_nothing_left(played) -> None:
    last = played(3)[-1]
    assert last.figures.labels == 9
    assert last.figures.f1 == 1.0
    assert np.isfinite(last.figures.infer_ms)
