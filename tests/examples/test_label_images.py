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
from micro_models.regions import Box, Image, Keypoints, Mask, Region, Shape, WholeImage

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "examples/label_images.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)


def test_masks_as_json_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(5):
        pixels, cells = rng.integers(0, 40, (40, 40, 3), np.uint8), np.zeros((40, 40), np.uint16)
        for cell in (1, 2):
            middle = (int(rng.integers(8, 32)), 20 * cell - 10)
            cv2.circle(pixels, middle, 6, (230, 230, 230), -1)
            cv2.circle(cells, middle, 6, cell, -1)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), pixels)
        cv2.imwrite(str(folder / "labels" / f"{number}.png"), cells)
    done = run("nuclei", folder, "--labels", 3, "--draws", 1, "--steps", 4, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert (result["data"], result["labels"], len(result["draws"])) == ("cells", 3, 1)
    assert result["mean"].keys() >= {"map50", "f1", "mean_iou", "train_s", "infer_ms"}
    assert result["mean"] == result["draws"][0]["figures"]


def test_a_folder_of_something_else_is_told_in_a_line(tmp_path: Path) -> None:
    done = run("voc", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no .xml file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def label_images(example_module):
    return example_module("label_images")


class Model:
    """Answers the same of every image."""

    trainer = "fake"

    def __init__(self, *shapes: tuple[str, Shape, float]) -> None:
        self.found = [Region(*shape) for shape in shapes]

    def detect(self, images) -> list[list[Region]]:
        return [self.found for _ in images]


IMAGE = Image(np.zeros((20, 30, 3), np.uint8))
POINTS = np.array([[0, 0], [20, 0]], np.float32)
SEEN = np.ones(2, np.float32)
OUTLINE = np.zeros((20, 30), np.bool_)
OUTLINE[:10, :10] = True


@pytest.mark.parametrize(
    ("kind", "answer", "truth", "expected"),
    [
        ("voc", Box(0, 0, 10, 8), Box(0, 0, 10, 10), {"map50": 1, "f1": 1, "mean_iou": 0.8}),
        ("voc", Box(0, 0, 10, 4), Box(0, 0, 10, 10), {"map50": 0, "f1": 0, "mean_iou": 0}),
        ("nuclei", Mask(OUTLINE), Mask(OUTLINE), {"map50": 1, "f1": 1, "precision": 1}),
        (
            "keypoints",
            Keypoints(POINTS + 1, SEEN),
            Keypoints(POINTS, SEEN),
            {"map50": 1, "pck": 1, "error_px": 2**0.5},
        ),
        ("classes", WholeImage(), WholeImage(), {"accuracy": 1, "map": 1}),
    ],
)
def test_figures_of_each_kind(
    label_images, monkeypatch, kind: str, answer: Shape, truth: Shape, expected
) -> None:
    examples = tuple(Example(IMAGE, [Region("x", truth)]) for _ in range(4))
    monkeypatch.setattr(label_images, "fit", lambda *_, **__: Model(("x", answer, 0.9)))
    each = label_images.measured(
        label_images.Dataset("data", examples),
        kind,
        labels=2,
        budget=Budget(steps=1),
        seed=0,
        options=label_images.FitOptions(),
    )
    assert {name: each.figures[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def shown(label_images, monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    """The script's exit code and what it prints, run in this process."""
    monkeypatch.setattr(sys, "argv", ["label_images.py", *map(str, arguments)])
    code = label_images.main()
    told = capsys.readouterr()
    return code, told.out, told.err


def test_what_cannot_be_measured_is_null(label_images, monkeypatch, capsys, tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((20, 30, 3), np.uint8))
    skeletons = [
        {"image_id": number, "category_id": 1, "keypoints": [1, 2, 2, 9, 9, 2]}
        for number in range(3)
    ]
    coco = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(3)],
        "categories": [{"id": 1, "name": "mouse"}],
        "annotations": skeletons,
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    monkeypatch.setattr(label_images, "fit", lambda *_, **__: Model())
    some = ("keypoints", tmp_path, "--labels", 1, "--draws", 2)
    code, told, _ = shown(label_images, monkeypatch, capsys, *some, "--json")
    figures = json.loads(told, parse_constant=pytest.fail)["mean"]
    assert (code, figures["pck"], figures["error_px"]) == (0, 0.0, None)
    code, told, _ = shown(label_images, monkeypatch, capsys, *some)
    assert code == 0
    assert " - " in told


def test_an_unreadable_picture_is_told_in_a_line(
    label_images, monkeypatch, capsys, tmp_path: Path
) -> None:
    for name in ("ant/1.png", "bee/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"no picture")
    some = ("classes", tmp_path, "--labels", 1, "--json")
    code, told, errors = shown(label_images, monkeypatch, capsys, *some)
    assert (code, told) == (1, "")
    assert "png is not an image" in errors


def test_nothing_left_to_measure_on(label_images) -> None:
    examples = (Example(IMAGE, [Region("x", WholeImage())]),)
    with pytest.raises(label_images.NoData, match="label fewer than 5"):
        label_images.measured(
            label_images.Dataset("data", examples),
            "classes",
            labels=5,
            budget=Budget(steps=1),
            seed=0,
            options=label_images.FitOptions(),
        )
