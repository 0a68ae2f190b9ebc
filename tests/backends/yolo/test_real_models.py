"""The backend over real detectors: the project's small checkpoints, and int8 models of COCO."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backends.interface import Prediction
from backends.label_studio.results import encode_prediction
from backends.yolo.model import YoloBackend
from micro_models.detections import DetectorTask
from tests.backends.yolo.fakes import FakeImages, FakeVideos, project, settings, tasks
from tests.small_yolo import CLASSES, draw

IMAGE = '<Image name="image" value="$image"/>'
SEG = "yolov8n_320_quant_pc_ii_seg_coco-st.tflite"
DETECT = "yolo11n_256_quant_detect_coco80-st.tflite"
PEOPLE_AND_CARS = '<Label value="Person"/><Label value="Car"/>'

Results = list[dict[str, Any]]


def predict(folder: Path, pixels: np.ndarray, xml: str) -> tuple[Prediction, Results]:
    """What is predicted for an image, and its results as Label Studio gets them."""
    given = settings(folder, yolo_score_threshold=0.35)
    (folder / "models" / "yolo11n.pt").unlink()
    yolo = YoloBackend(settings=given, images=FakeImages({"a.jpg": pixels}), videos=FakeVideos())
    asked = project(IMAGE + xml)
    (found,) = yolo.predict(asked, tasks("a.jpg"), None)
    assert found is not None
    assert found.version == yolo.version(asked)
    assert 0 <= found.score <= 1
    return found, encode_prediction(found, asked.config)["result"]


def drawn(folder: Path, small_yolo: Path, task: DetectorTask, tag: str, attributes: str = ""):
    """A drawn scene, and what the small model of its task makes of it."""
    (folder / "models").mkdir()
    shutil.copy(small_yolo / f"{task}.pt", folder / "models")
    image, truth = draw(task, seed=1)
    label = "Choice" if tag == "Choices" else "Label"
    labels = "".join(
        f'<{label} value="{name.title()}" model_index="0,1,2"/>' for name in CLASSES[task]
    )
    xml = f'<{tag} name="c" toName="image" model_path="{task}.pt" {attributes}>{labels}</{tag}>'
    return (image, truth, *predict(folder, image.pixels, xml))


@pytest.mark.parametrize(
    ("task", "tag", "attributes"),
    [
        (DetectorTask.DETECT, "RectangleLabels", ""),
        (DetectorTask.SEGMENT, "RectangleLabels", ""),
        (DetectorTask.SEGMENT, "PolygonLabels", ""),
        (DetectorTask.SEGMENT, "BrushLabels", ""),
        (DetectorTask.SEGMENT, "BitmaskLabels", ""),
        (DetectorTask.OBB, "RectangleLabels", 'model_obb="true"'),
        (DetectorTask.CLASSIFY, "Choices", ""),
    ],
)
def test_what_was_drawn_is_found(
    tmp_path: Path, small_yolo: Path, task: DetectorTask, tag: str, attributes: str
) -> None:
    _, truth, prediction, results = drawn(tmp_path, small_yolo, task, tag, attributes)
    wanted = Counter(one.label.title() for one in truth)
    assert Counter(one.region.label for one in prediction.regions) == wanted
    assert {item["type"] for item in results} == {tag.lower()}
    assert {item["from_name"] for item in results} == {"c"}
    if task == DetectorTask.OBB:
        assert any(item["value"]["rotation"] for item in results)


def test_points_of_what_was_drawn(tmp_path: Path, small_yolo: Path) -> None:
    image, truth, prediction, results = drawn(
        tmp_path, small_yolo, DetectorTask.POSE, "KeyPointLabels", 'model_point_threshold="0.5"'
    )
    points = np.array([[one.region.shape.x, one.region.shape.y] for one in prediction.regions])
    for one in truth:
        for x, y in one.keypoints.points[:3]:
            assert np.hypot(*(points - (x, y)).T).min() < 0.08 * image.width_px
    assert {item["type"] for item in results} == {"keypointlabels"}


@pytest.fixture(scope="module")
def car(shared: Path) -> np.ndarray:
    photo = cv2.imread(str(shared / "data/label-studio/ml-backend-yolo-tests/car.jpg"))
    return cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)


@pytest.fixture
def coco(tmp_path: Path, shared: Path) -> Path:
    """A data folder with the two int8 models."""
    (tmp_path / "models").mkdir()
    for name in (SEG, DETECT):
        shutil.copy(shared / "weights" / name, tmp_path / "models")
    return tmp_path


def test_person_and_car_in_a_photo_for_every_control(coco: Path, car: np.ndarray) -> None:
    tags = ("RectangleLabels", "PolygonLabels", "BrushLabels", "BitmaskLabels")
    xml = "".join(
        f'<{tag} name="{tag}" toName="image" model_path="{SEG}">{PEOPLE_AND_CARS}</{tag}>'
        for tag in tags
    )
    xml += f"""<RectangleLabels name="other" toName="image" model_path="{DETECT}">
    {PEOPLE_AND_CARS}</RectangleLabels><Rectangle name="pair" toName="image"
    model_path="{DETECT}" model_classes="car"/><Labels name="l" toName="image"><Label value="car"/>
    </Labels>"""
    prediction, results = predict(coco, car, xml)
    for tag in (*tags, "other"):
        labels = {one.region.label for one in prediction.regions if one.control == tag}
        assert labels == {"Person", "Car"}, tag
    assert len({one.id for one in prediction.regions}) == len(prediction.regions)
    pair = [item for item in results if item["from_name"] in ("pair", "l")]
    assert [item["type"] for item in pair] == ["rectangle", "labels"]
    for item in results:
        assert (item["original_width"], item["original_height"]) == (768, 576)
        value = item["value"]
        for low, size in (("x", "width"), ("y", "height")):
            if size in value:
                assert 0 <= value[low] <= value[low] + value[size] <= 100 + 1e-6
        for point in value.get("points", ()):
            assert 0 <= min(point) <= max(point) <= 100


def test_a_score_that_tells_the_hard_photo_from_the_easy_one(coco: Path, car: np.ndarray) -> None:
    xml = f'<RectangleLabels name="r" toName="image" model_path="{DETECT}">{PEOPLE_AND_CARS}'
    hard, _ = predict(coco, car, xml + "</RectangleLabels>")
    easy, _ = predict(coco, np.full_like(car, 128), xml + "</RectangleLabels>")
    assert hard.score < 0.5 < easy.score == 1.0
    assert easy.regions == ()


@pytest.mark.parametrize(("name", "tag"), [("brush", "BrushLabels"), ("polygon", "PolygonLabels")])
def test_the_peers_answers_have_our_shape(
    coco: Path, car: np.ndarray, shared: Path, name: str, tag: str
) -> None:
    folder = shared / "data/label-studio/ml-backend-yolo-tests"
    (peer,) = json.loads((folder / f"test_{name}_labels.json").read_text())
    xml = f'<{tag} name="label" toName="image" model_path="{SEG}">{PEOPLE_AND_CARS}</{tag}>'
    _, results = predict(coco, car, xml)
    theirs, ours = peer["result"][0], results[0]
    assert set(theirs) <= set(ours)
    assert set(theirs["value"]) == set(ours["value"])
    for key in ("from_name", "to_name", "type"):
        assert ours[key] == theirs[key]
    kind = theirs["type"]
    assert ours["value"][kind] == theirs["value"][kind] == ["Person"]
    assert abs(ours["score"] - theirs["score"]) < 0.2  # the same person, by another network
