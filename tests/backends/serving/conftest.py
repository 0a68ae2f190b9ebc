"""A server in this process, with an engine that a test can slow down or break."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from backends.serving.app import create_app
from backends.settings import Settings
from micro_models.regions import Box, Embedding, Image, Mask, Prompt, Segmentation

CONFIG = """<View><Image name="image" value="$image"/>
<KeyPointLabels name="kp" toName="image" smart="true"><Label value="Cat"/></KeyPointLabels>
<RectangleLabels name="rect" toName="image" smart="true"><Label value="Cat"/></RectangleLabels>
<BrushLabels name="brush" toName="image" smart="false"><Label value="Cat"/></BrushLabels></View>"""


class SquareEngine:
    """A Segmenter whose answer is the box, or a square of 10 pixels around the last click.

    The square has the colour of the image written into it, so that a mask tells its image.
    """

    name = "square"
    version = "square-1"
    device = "paper"

    def __init__(self) -> None:
        self.may_embed = threading.Event()
        self.may_embed.set()
        self.embedded: list[tuple[int, int]] = []

    def embed(self, image: Image) -> Embedding:
        assert self.may_embed.wait(30)
        self.embedded.append((image.width_px, image.height_px))
        return Embedding({"pixels": image.pixels}, image.width_px, image.height_px)

    def segment(self, embedding: Embedding, prompt: Prompt) -> Segmentation:
        pixels = np.zeros((embedding.height_px, embedding.width_px), np.bool_)
        if isinstance(prompt.box, Box):
            box = prompt.box
            pixels[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
        elif prompt.clicks:
            x, y = int(prompt.clicks[-1].x), int(prompt.clicks[-1].y)
            pixels[max(0, y - 5) : y + 5, max(0, x - 5) : x + 5] = prompt.clicks[-1].positive
        return Segmentation(Mask(pixels), 0.75, np.zeros((2, 2), np.float32))


def data_uri(width: int, height: int, color: tuple[int, int, int] = (10, 200, 30)) -> str:
    ok, png = cv2.imencode(".png", np.full((height, width, 3), color, np.uint8))
    assert ok
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()


def task(task_id: int = 1, image: str | None = None) -> dict[str, object]:
    return {"id": task_id, "data": {"image": image or data_uri(64, 48)}, "annotations": []}


def point(x: float, y: float, *, name: str = "p1", positive: bool = True) -> dict[str, object]:
    return {
        "id": name,
        "type": "keypointlabels",
        "from_name": "kp",
        "to_name": "image",
        "original_width": 64,
        "original_height": 48,
        "image_rotation": 0,
        "is_positive": positive,
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["Cat"]},
    }


def predict_body(*tasks: dict[str, object], prompts: tuple[object, ...] = ()) -> dict[str, object]:
    context = {"result": list(prompts)} if prompts else None
    return {
        "tasks": list(tasks) or [task()],
        "project": "7.1795168884",
        "label_config": CONFIG,
        "params": {"login": None, "password": None, "context": context},
    }


@pytest.fixture
def engine() -> SquareEngine:
    return SquareEngine()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, label_studio_url="http://127.0.0.1:9", workers=2)


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(settings: Settings, engine: SquareEngine) -> Iterator[Serve]:
    """Start servers; keyword arguments change settings."""
    running = []

    def start(load: Callable[[Settings], object] = lambda _: engine, **changes: object):  # type: ignore[no-untyped-def]
        changed = settings.model_copy(update=changes)
        client = TestClient(create_app(changed, load), raise_server_exceptions=False)  # type: ignore[arg-type]
        client.__enter__()
        running.append(client)
        return client

    yield start
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()
