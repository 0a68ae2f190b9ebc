"""The gallery's routes: only cases are drawn, and only the page itself can answer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from PIL import Image as Picture
from starlette.exceptions import HTTPException

from backends.errors import LabelpilotError, MediaError
from backends.interface import ImageFile, Project, Task
from backends.label_studio.label_xml import parse_label_config
from backends.review.nouns import Case, Review
from backends.review.store import ReviewStore
from backends.serving import reviewing as module
from backends.serving.crops import GIVEN_COLOR, LONGEST_PX, SUGGESTED_COLOR, cropped
from backends.serving.reviewing import Reviewing, reviewing_router
from backends.settings import Settings
from micro_models.label_errors import ErrorKind
from micro_models.regions import Box, Image, Mask, Point, Region, Shape, WholeImage
from tests.backends.review.scenes import suspect

KEY = "7.1795168884"
CONFIG = """<View><Text name="t" value="$text"/><Image name="image" value="$picture"/>
<RectangleLabels name="r" toName="image"><Label value="Cat"/></RectangleLabels></View>"""
ONE, TWO = f"{1:016x}", f"{2:016x}"
ANSWERS = f"/reviews/{KEY}/answers"


def gray(width: int, height: int) -> Image:
    return Image(np.full((height, width, 3), 128, np.uint8))


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(jpeg))).astype(int)


def is_near(found: np.ndarray, color: str) -> bool:
    wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return bool((abs(found - wanted).max(axis=2) < 40).any())


@pytest.mark.parametrize(
    ("given", "suggested"),
    [
        (None, Box(300, 200, 340, 260)),
        (Box(300, 200, 340, 260), None),
        (Box(300, 200, 340, 260), Box(310, 220, 350, 270)),
        (Mask(np.pad(np.ones((60, 40), np.bool_), ((200, 220), (300, 300)))), Box(0, 0, 50, 50)),
    ],
)
def test_each_side_has_its_colour(given: Shape | None, suggested: Shape | None) -> None:
    regions = [one and Region("Cat", one) for one in (given, suggested)]
    found = pixels(cropped(gray(640, 480), *regions))
    assert max(found.shape[:2]) == LONGEST_PX
    assert is_near(found, GIVEN_COLOR) is (given is not None)
    assert is_near(found, SUGGESTED_COLOR) is (suggested is not None)


@pytest.mark.parametrize(
    "shape",
    [
        WholeImage(),
        Point(0, 0),
        Box(-50, -50, -10, -10),
        Box(5000, 5000, 5001, 5001),
        Box(0, 0, 640, 480),
        Box(5, 5, 5, 5),
        Mask(np.zeros((480, 640), np.bool_)),
        Mask(np.ones((4, 6), np.bool_)),
    ],
    ids=lambda shape: type(shape).__name__,
)
@pytest.mark.parametrize("size", [(640, 480), (1, 1), (3, 900)])
def test_odd_regions_are_drawn_without_a_fault(shape: Shape, size: tuple[int, int]) -> None:
    region = Region("\0<b>", shape)
    assert max(pixels(cropped(gray(*size), region, region)).shape[:2]) <= LONGEST_PX


class Images:
    fault: LabelpilotError | None = None

    def locate(self, url: str, project_key: str, task_id: int | None = None) -> ImageFile:
        assert (url, project_key) == ("http://host/a.png", KEY)
        if self.fault is not None:
            raise self.fault
        return ImageFile(Path("nowhere"), "digest", 200, 150)

    def read(self, file: ImageFile) -> Image:
        return gray(file.width_px, file.height_px)


class Gallery:
    """The routes alone; a task that a dictionary holds."""

    def __init__(self, settings: Settings) -> None:
        self.store, self.images = ReviewStore(settings), Images()
        self.tasks: dict[int, dict[str, object]] = {1: {"picture": "http://host/a.png"}}
        cases = (Case(suspect(1, ErrorKind.LOW_IOU)), Case(suspect(2), known=True))
        self.store.put(Review(KEY, "review-0123456789", 5.0, 9, cases))
        studios: Any = SimpleNamespace(sdk=lambda key: None)
        self.reviewing = Reviewing(self.store, self.images, studios)
        app = FastAPI()
        app.include_router(reviewing_router())
        app.add_exception_handler(LabelpilotError, _told)
        app.add_exception_handler(HTTPException, _http_error)
        app.state.services = SimpleNamespace(reviewing=self.reviewing)
        self.client = TestClient(app, raise_server_exceptions=False)

    def read_tasks(self, _client: object, project_id: int, ids: list[int]) -> list[Task]:
        assert project_id == 7
        return [Task(one, self.tasks[one]) for one in ids if one in self.tasks]

    def verdicts(self) -> list[bool | None]:
        review = self.store.review(KEY)
        assert review is not None
        return [case.verdict for case in review.cases]


async def _told(_request: object, error: Any) -> JSONResponse:
    return JSONResponse({"error": error.message}, error.status)


async def _http_error(_request: object, error: Any) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code)


@pytest.fixture
def gallery(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gallery]:
    gallery = Gallery(settings)
    project = Project(KEY, parse_label_config(CONFIG))
    monkeypatch.setattr(module, "read_tasks", gallery.read_tasks)
    monkeypatch.setattr(module, "read_project", lambda _client, _id: (project, 1))
    with gallery.client:
        yield gallery
    gallery.reviewing.close()
    gallery.store.close()


def test_a_case_is_a_jpeg_that_only_this_browser_keeps(gallery: Gallery) -> None:
    answer = gallery.client.get(f"/reviews/{KEY}/{ONE}.jpg")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"].startswith("private")
    assert is_near(pixels(answer.content), GIVEN_COLOR)


@pytest.mark.parametrize(
    "path",
    [
        f"{KEY}/{9:016x}.jpg",
        f"{KEY}/{ONE}.png",
        f"{KEY}/{ONE[1:]}.jpg",
        f"{KEY}/{'9' * 5000}.jpg",
        f"8.1/{ONE}.jpg",
        f"7.1%00/{ONE}.jpg",
        "..%2F..%2Fetc/passwd",
    ],
)
def test_nothing_else_can_be_asked_for(gallery: Gallery, path: str) -> None:
    assert gallery.client.get(f"/reviews/{path}").status_code == 404


def test_a_task_that_is_gone_and_an_image_that_is_away_are_told(gallery: Gallery) -> None:
    gallery.images.fault = MediaError("no such file")
    answer = gallery.client.get(f"/reviews/{KEY}/{ONE}.jpg")
    assert (answer.status_code, answer.json()) == (424, {"error": "no such file"})
    gallery.tasks.clear()
    answer = gallery.client.get(f"/reviews/{KEY}/{ONE}.jpg")
    assert answer.status_code == 404
    assert "task 1 is gone" in answer.json()["error"]


def test_an_answer_is_kept_and_tells_what_all_say(gallery: Gallery) -> None:
    answer = gallery.client.post(ANSWERS, json={"case": ONE, "answer": "wrong"})
    assert answer.status_code == 200
    assert answer.json()["told"][0] == "1 of 1 suspects answered were called wrong"
    gallery.client.post(ANSWERS, json={"case": TWO, "answer": "right"})
    assert gallery.verdicts() == [True, False]
    gallery.client.post(ANSWERS, json={"case": ONE, "answer": None})
    assert gallery.verdicts() == [None, False]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://testserver"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxied"}, 200),
        ({}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://testserver.evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Content-Type": "text/plain"}, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 403),
    ],
)
def test_pages_of_others_cannot_answer(
    gallery: Gallery, headers: dict[str, str], status: int
) -> None:
    sent = {"Content-Type": "application/json", **headers}
    body = f'{{"case": "{ONE}", "answer": "wrong"}}'
    answer = gallery.client.post(ANSWERS, content=body, headers=sent)
    assert answer.status_code == status
    assert gallery.verdicts() == [True if status == 200 else None, None]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("[]", 400),
        ("{}", 400),
        ("[" * 500, 400),
        ('{"case": 5, "answer": "wrong"}', 400),
        (f'{{"case": "{ONE}"}}', 400),
        (f'{{"case": "{ONE}", "answer": true}}', 400),
        (f'{{"case": "{ONE}", "answer": []}}', 400),
        (f'{{"case": "{9:016x}", "answer": "wrong"}}', 404),
        ('{"case": "../x", "answer": "wrong"}', 404),
        ('{"case": "\\ud800", "answer": "wrong"}', 404),
        ('"' + "x" * 2000, 413),
        (b"\xff\xfe", 400),
    ],
)
def test_what_is_no_answer_changes_nothing(
    gallery: Gallery, body: str | bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = gallery.client.post(ANSWERS, content=body, headers=headers)
    assert answer.status_code == status
    assert gallery.verdicts() == [None, None]


def test_nothing_is_answered_by_looking(gallery: Gallery) -> None:
    assert gallery.client.get(ANSWERS).status_code in (404, 405)
    assert gallery.client.get(f"{ANSWERS}?case={ONE}&answer=wrong").status_code in (404, 405)
    assert gallery.verdicts() == [None, None]
