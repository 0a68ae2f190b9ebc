"""Real photos and real weights through /predict."""

from __future__ import annotations

import base64
import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backends.label_studio.results import decode_region
from backends.serving.app import create_app
from backends.settings import Settings
from micro_models.geometry import box_iou
from micro_models.regions import Box
from tests.backends.serving.conftest import SquareEngine

BOXES = "yolo11n_256_quant_detect_coco80-st.tflite"
MASKS = "yolov8n_320_quant_pc_ii_seg_coco-st.tflite"


@pytest.fixture(scope="module")
def client(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("models")
    for name in (BOXES, MASKS):
        shutil.copy(shared / "weights" / name, models)
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        model_dir=models,
        label_studio_url="http://127.0.0.1:9",
    )
    with TestClient(create_app(settings, lambda _: SquareEngine())) as client:
        yield client


def predicted(client: TestClient, control: str, photos: list[Path]) -> list[dict[str, Any]]:
    """The answers for photos, one control asked."""
    labels = '<Label value="person"/><Label value="Car"/>'
    config = f'<View><Image name="image" value="$image"/>{control.format(labels)}</View>'
    tasks = [
        {
            "id": number,
            "data": {
                "image": "data:image/jpeg;base64," + base64.b64encode(photo.read_bytes()).decode()
            },
        }
        for number, photo in enumerate(photos, 1)
    ]
    body = {"tasks": tasks, "project": f"{abs(hash(control)) % 1000}.1", "label_config": config}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


@pytest.mark.parametrize(
    ("tag", "model"),
    [
        ("RectangleLabels", BOXES),
        ("RectangleLabels", MASKS),
        ("PolygonLabels", MASKS),
        ("BrushLabels", MASKS),
        ("BitmaskLabels", MASKS),
    ],
)
def test_person_and_car(client: TestClient, shared: Path, tag: str, model: str) -> None:
    photo = shared / "data/label-studio/ml-backend-yolo-tests/car.jpg"
    control = (
        f'<{tag} name="it" toName="image" model_path="{model}" model_score_threshold="0.25">'
        f"{{}}</{tag}>"
    )
    (answer,) = predicted(client, control, [photo])
    kind = tag.lower()
    assert {item["value"][kind][0] for item in answer["result"]} == {"person", "Car"}
    assert {item["type"] for item in answer["result"]} == {kind}
    assert all(
        (item["original_width"], item["original_height"]) == (768, 576) for item in answer["result"]
    )
    assert 0 <= answer["score"] <= 1
    assert answer["model_version"].startswith("yolo-")


def test_the_car_in_the_frames_of_a_video(client: TestClient, shared: Path) -> None:
    folder = shared / "data/video/tld-car"
    with (folder / "boxes.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["x"]][300:800:50]
    photos = [next(folder.rglob(Path(row["file"]).name)) for row in rows]
    control = (
        f'<RectangleLabels name="box" toName="image" model_path="{BOXES}" '
        'model_score_threshold="0.25"><Label value="Car" predicted_values="car,truck,bus"/>'
        "</RectangleLabels>"
    )
    found = 0
    for row, answer in zip(rows, predicted(client, control, photos), strict=True):
        x, y, wide, high = (float(row[key]) for key in ("x", "y", "w", "h"))
        truth = Box(x, y, x + wide, y + high)
        shapes = [decode_region(item).shape for item in answer["result"]]
        found += any(isinstance(one, Box) and box_iou(one, truth) >= 0.5 for one in shapes)
    assert found >= 8, f"in {found} of {len(rows)} frames"
