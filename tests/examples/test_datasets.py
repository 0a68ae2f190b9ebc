from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from micro_models.regions import Box, Keypoints, Mask, Region, WholeImage


@pytest.fixture
def datasets(example_module):
    return example_module("datasets")


def picture(path: Path, value: int = 128) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 30), value, np.uint8))


def test_a_clip(datasets, clip: Path) -> None:
    examples = datasets.read_clip(clip / "frames", clip / "boxes.csv")
    assert [len(example.regions) for example in examples] == [1] * 5 + [0, 0] + [1] * 5
    assert examples[0].regions == (Region("object", Box(4, 14, 16, 26)),)
    assert examples[0].picture == clip / "frames" / "00000.png"


def test_a_clip_with_several_objects_of_several_labels(datasets, tmp_path: Path) -> None:
    picture(tmp_path / "渡し.png")
    lines = ["file,x,y,w,h,label", "渡し.png,1,2,3,4,Fähre", "渡し.png,5,5,9,9,car"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines), "utf-8-sig")
    (example,) = datasets.read_clip(tmp_path, tmp_path / "boxes.csv")
    assert example.labels == ("Fähre", "car")


def test_boxes_end_where_their_frame_ends(datasets, tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    lines = ["file,x,y,w,h", "0.png,-5,10,15,40", "0.png,31,2,3,4"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    (example,) = datasets.read_clip(tmp_path, tmp_path / "boxes.csv")
    assert [region.shape for region in example.regions] == [Box(0, 10, 10, 20)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "boxes.csv is no file"),
        ("file,x,y\n0.png,1,2", "has no column w, h"),
        ("file,x,y,w,h", "names no frame"),
        ("file,x,y,w,h\n0.png,1,2,three,4", "line 2: could not convert"),
        ("file,x,y,w,h\n0.png,1,2,-3,4", "line 2: a box needs"),
        ("file,x,y,w,h\n7.png,1,2,3,4", "7.png is missing"),
    ],
)
def test_what_is_no_clip(datasets, tmp_path: Path, text: str | None, message: str) -> None:
    picture(tmp_path / "0.png")
    if text is not None:
        (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(datasets.NoData, match=message):
        datasets.read_clip(tmp_path, tmp_path / "boxes.csv")


def voc(folder: Path, name: str, *boxes: tuple[str, int, int, int, int]) -> None:
    picture(folder / "JPEGImages" / f"{name}.jpg")
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, x0, y0, x1, y1 in boxes
    )
    path = folder / "Annotations" / f"{name}.xml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"<annotation><filename>{name}.jpg</filename>{objects}</annotation>")


def test_voc(datasets, tmp_path: Path) -> None:
    voc(tmp_path, "a", ("RBC", 1, 1, 10, 20), ("WBC", 0, 5, 5, 9), ("RBC", 7, 7, 7, 7))
    voc(tmp_path, "b")
    voc(tmp_path, "c", ("RBC", 2, 2, 4, 4))
    data = datasets.read_voc(tmp_path)
    assert [len(example.regions) for example in data.pool] == [2, 0, 1]
    assert data.test is None
    # The first pixel is 1, the last belongs; a box without an area is none.
    shapes = [region.shape for region in data.pool[0].regions]
    assert shapes == [Box(0, 0, 10, 20), Box(0, 4, 5, 9)]
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "test.txt").write_text("c\n")
    parted = datasets.read_voc(tmp_path)
    assert (len(parted.pool), len(parted.test)) == (2, 1)


@pytest.mark.parametrize(
    "text",
    ["<annotation><object>", "", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'],
)
def test_broken_xml_is_told(datasets, tmp_path: Path, text: str) -> None:
    voc(tmp_path, "a")
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(datasets.NoData, match=r"a\.xml is no whole XML"):
        datasets.read_voc(tmp_path)


def test_instances(datasets, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    numbers = np.zeros((20, 30), np.uint16)
    numbers[2:5, 3:9], numbers[10:12, 3:9] = 1, 700
    (tmp_path / "labels").mkdir()
    cv2.imwrite(str(tmp_path / "labels" / "a.png"), numbers)
    (example,) = datasets.read_instances(tmp_path).pool
    masks = [region.shape for region in example.regions]
    assert all(isinstance(mask, Mask) for mask in masks)
    assert [mask.area_px for mask in masks] == [18, 12]


def test_keypoints(datasets, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    coco = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "mouse"}],
        "annotations": [{"image_id": 7, "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    (example,) = datasets.read_keypoints(tmp_path).pool
    shape = example.regions[0].shape
    assert isinstance(shape, Keypoints)
    assert (shape.points.tolist(), shape.scores.tolist()) == ([[1, 2], [0, 0]], [1, 0])
    (tmp_path / "coco.json").write_text('{"images": []}')
    with pytest.raises(datasets.NoData, match="no COCO key point file"):
        datasets.read_keypoints(tmp_path)


def test_classes(datasets, tmp_path: Path) -> None:
    for name in ("train/ants/1.png", "train/bees/2.PNG", "val/ants/3.png"):
        picture(tmp_path / name)
    (tmp_path / "train" / "bees" / "notes.txt").write_text("no picture")
    data = datasets.read_classes(tmp_path)
    assert [example.labels for example in data.pool] == [("ants",), ("bees",)]
    assert [example.regions[0].shape for example in data.test] == [WholeImage()]
    alone = datasets.read_classes(tmp_path / "train")
    assert (len(alone.pool), alone.test) == (2, None)


@pytest.mark.parametrize("reader", ["voc", "nuclei", "keypoints", "classes"])
def test_an_empty_folder_is_told(datasets, tmp_path: Path, reader: str) -> None:
    with pytest.raises(datasets.NoData, match=tmp_path.name):
        datasets.READERS[reader](tmp_path)


def test_drawing_takes_classes_evenly(datasets, tmp_path: Path) -> None:
    for number in range(30):
        picture(tmp_path / ("ants" if number < 27 else "bees") / f"{number}.png")
    pool = datasets.read_classes(tmp_path).pool
    for seed in range(5):
        drawn = datasets.draw(pool, 5, np.random.default_rng(seed))
        labels = [pool[index].labels[0] for index in drawn]
        assert len(set(drawn)) == 5
        assert 2 <= labels.count("bees") <= 3
