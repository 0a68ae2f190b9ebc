"""Pictures of uncertain tasks: what is on them, and that nobody can ask for others."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from PIL import Image as Picture
from starlette.exceptions import HTTPException

from backends.errors import LabelpilotError, LabelStudioError, MediaError
from backends.interface import ImageFile, Task
from backends.label_studio.projects import ProjectBook
from backends.micro.nouns import Shown
from backends.micro.store import MicroStore
from backends.serving import pictures as module
from backends.serving.drawing import LONGEST_PX, color_of, drawn
from backends.serving.pictures import Pictures, pictures_router
from backends.settings import Settings
from micro_models.regions import (
    Box,
    Ellipse,
    Image,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)

KEY = "7.1795168884"
CONFIG = """<View><Text name="t" value="$text"/><Image name="image" value="$picture"/>
<RectangleLabels name="r" toName="image"><Label value="Cat"/></RectangleLabels></View>"""


def gray(width: int, height: int) -> Image:
    return Image(np.full((height, width, 3), 128, np.uint8))


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(jpeg))).astype(int)


def changed(regions: list[Region], image: Image | None = None) -> np.ndarray:
    """(height, width) bool: where the picture differs from one without regions."""
    image = image or gray(640, 480)
    labels = [region.label for region in regions]
    plain = pixels(drawn(image, [], labels))
    return (abs(pixels(drawn(image, regions, labels)) - plain) > 25).any(axis=2)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 480), (320, 240)), ((100, 50), (100, 50)), ((20, 4000), (2, 320)), ((1, 1), (1, 1))],
)
def test_the_longest_side_is_bounded(size: tuple[int, int], expected: tuple[int, int]) -> None:
    region = Region("Cat", Box(0, 0, *size), 0.5)
    jpeg = drawn(gray(*size), [region], ["Cat"])
    assert Picture.open(io.BytesIO(jpeg)).size == expected
    assert max(expected) <= LONGEST_PX


def whole_mask() -> Mask:
    covered = np.zeros((480, 640), np.bool_)
    covered[200:400, 200:400] = True
    return Mask(covered)


@pytest.mark.parametrize(
    "shape",
    [
        Box(200, 200, 400, 400),
        RotatedBox(300, 300, 200, 200, 90),
        Ellipse(300, 300, 100, 100),
        Polygon(np.array([[200, 200], [400, 200], [400, 400], [200, 400]], np.float32)),
        whole_mask(),
    ],
    ids=lambda shape: type(shape).__name__,
)
def test_an_outline_is_where_the_region_is(shape: Shape) -> None:
    found = changed([Region("é", shape, 0.5)])
    assert found[100:200, 99:102].any()  # its left edge, at half the size
    assert found[100:200, 198:202].any()
    assert found[198:202, 100:200].any()
    assert not found[210:, :].any()
    assert not found[:, 210:].any()


@pytest.mark.parametrize(
    "shape",
    [
        Point(300, 300),
        Keypoints(np.array([[300, 300], [600, 60]], np.float32), np.array([1, 0], np.float32)),
    ],
    ids=["point", "key points"],
)
def test_points_are_dots_and_unseen_ones_are_not_drawn(shape: Shape) -> None:
    found = changed([Region("Cat", shape, 0.5)])
    assert found[150, 150]
    assert not found[20:40, 290:310].any()


@pytest.mark.parametrize(
    "shape",
    [
        Box(-5000, -5000, -10, -10),
        Box(9000, 9000, 9001, 9001),
        Box(5, 5, 5, 5),
        Polygon(np.zeros((3, 2), np.float32)),
        Mask(np.zeros((480, 640), np.bool_)),
        Mask(np.ones((48, 64), np.bool_)),
        Keypoints(np.zeros((0, 2), np.float32), np.zeros(0, np.float32)),
        WholeImage(),
    ],
    ids=lambda shape: f"{type(shape).__name__}",
)
def test_odd_regions_are_drawn_without_a_fault(shape: Shape) -> None:
    label = "\0\n<b>" + "long" * 500
    assert pixels(drawn(gray(640, 480), [Region(label, shape, 0.5)], [label])).shape[2] == 3


def test_classes_of_the_whole_image_stand_below_each_other() -> None:
    one = changed([Region("Rain", WholeImage(), 0.9)])
    two = changed([Region("Rain", WholeImage(), 0.9), Region("Snow", WholeImage(), 0.4)])
    assert not one[17:].any()
    assert two[17:28].any()


def test_labels_have_the_same_colour_wherever_they_are_drawn() -> None:
    labels = [f"label {number}" for number in range(20)]
    assert color_of("label 3", labels) == color_of("label 3", reversed(labels))
    assert len({color_of(label, labels[:5]) for label in labels[:5]}) == 5


class Images:
    """An image source that knows one address."""

    fault: LabelpilotError | None = None

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int | None]] = []

    def locate(self, url: str, project_key: str, task_id: int | None = None) -> ImageFile:
        self.asked.append((url, project_key, task_id))
        if self.fault is not None:
            raise self.fault
        return ImageFile(Path("nowhere"), "digest", 640, 480)

    def read(self, file: ImageFile) -> Image:
        return gray(file.width_px, file.height_px)


class Fixture:
    """The route alone, in front of a store and of tasks that a dictionary holds."""

    def __init__(self, settings: Settings) -> None:
        self.store, self.images = MicroStore(settings), Images()
        self.tasks: dict[int, dict[str, object]] = {31: {"picture": "http://host/a.png"}}
        self.asked: list[int] = []
        book = ProjectBook(settings)
        book.remember(KEY, host="http://ls", access_token=None, label_config=CONFIG)
        studios = SimpleNamespace(sdk=lambda key: None)
        self.pictures = Pictures(self.store, self.images, studios, book)  # type: ignore[arg-type]
        app = FastAPI()
        app.include_router(pictures_router())
        app.add_exception_handler(LabelpilotError, _told)
        app.add_exception_handler(HTTPException, _http_error)
        app.state.services = SimpleNamespace(pictures=self.pictures)
        self.client = TestClient(app, raise_server_exceptions=False)

    def read_tasks(self, _client: object, project_id: int, ids: list[int]) -> list[Task]:
        assert project_id == 7
        self.asked += ids
        return [Task(one, self.tasks[one]) for one in ids if one in self.tasks]


async def _told(_request: object, error: LabelpilotError) -> JSONResponse:
    return JSONResponse({"error": error.message}, error.status)


async def _http_error(_request: object, error: HTTPException) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code)


@pytest.fixture
def shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixture]:
    fixture = Fixture(settings)
    monkeypatch.setattr(module, "read_tasks", fixture.read_tasks)
    region = Region("Cat", Box(200, 200, 400, 400), 0.5)
    fixture.store.put_shown(KEY, "micro-1", [Shown(31, 0.1, (region,)), Shown(32, 0.2, ())])
    with fixture.client:
        yield fixture
    fixture.pictures.close()
    fixture.store.close()


def test_a_shown_task_is_a_jpeg_that_only_this_browser_keeps(shown: Fixture) -> None:
    answer = shown.client.get(f"/pictures/{KEY}/31.jpg?by=abc")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"].startswith("private")
    assert pixels(answer.content).shape == (240, 320, 3)
    assert shown.images.asked == [("http://host/a.png", KEY, 31)]


@pytest.mark.parametrize(
    "path",
    [
        f"{KEY}/33.jpg",
        f"{KEY}/31.png",
        f"{KEY}/-1.jpg",
        f"{KEY}/٣١.jpg",
        f"{KEY}/{'9' * 5000}.jpg",
        "8.1/31.jpg",
        "7.1%00/31.jpg",
        f"{'7' * 5000}/31.jpg",
        "..%2F..%2Fetc/31.jpg",
    ],
)
def test_nothing_else_can_be_asked_for(shown: Fixture, path: str) -> None:
    assert shown.client.get(f"/pictures/{path}").status_code == 404
    assert shown.asked == []


@pytest.mark.parametrize("data", [None, {}, {"picture": None}, {"picture": ["a", "b"]}])
def test_a_task_without_an_image_is_told(shown: Fixture, data: dict[str, object] | None) -> None:
    shown.tasks = {} if data is None else {31: data}
    answer = shown.client.get(f"/pictures/{KEY}/31.jpg")
    assert answer.status_code == 404
    assert "task 31 is gone, or has no image" in answer.json()["error"]


@pytest.mark.parametrize("error", [MediaError("no such file"), LabelStudioError("is away")])
def test_what_keeps_an_image_away_is_told(shown: Fixture, error: LabelpilotError) -> None:
    shown.images.fault = error
    answer = shown.client.get(f"/pictures/{KEY}/31.jpg")
    assert answer.status_code == error.status
    assert answer.json()["error"] == error.message
    assert "private" not in answer.headers.get("cache-control", "")
