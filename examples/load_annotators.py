"""What annotators and Label Studio ask of a server of labelpilot: the requests of `load_test.py`.

Nothing here waits for a server's answer longer than Label Studio does, and nobody asks faster than
people do: they look at a picture, click, look at the mask, click again, submit.
"""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import httpx
import numpy as np

from backends.demo.project import find_photos

Json = dict[str, Any]
LABEL = "Thing"
# Pointing makes masks; boxes are what a YOLO or a micro-model fills.
CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="{LABEL}"/></KeyPointLabels>
  <BrushLabels name="brush" toName="image" smart="false"><Label value="{LABEL}"/></BrushLabels>
  <RectangleLabels name="box" toName="image" smart="false">
    <Label value="{LABEL}" predicted_values="disc,square,triangle,person,car"/>
  </RectangleLabels>
</View>"""
SIZE = (1280, 720)
PROJECT, PROJECT_KEY = 1, "1.1795168884"
# As long as Label Studio waits for predictions by default.
PATIENCE_S = 100.0
BULK_TASKS = 50


class Photos:
    """As many different pictures as are asked for: a few photos, each time with other bytes."""

    def __init__(self, size: tuple[int, int] = SIZE) -> None:
        self._jpegs = []
        for path in find_photos():
            photo = cv2.imread(str(path))
            assert photo is not None
            for flip in (1, -1):
                _, jpeg = cv2.imencode(".jpg", cv2.resize(photo, size)[:, ::flip])
                self._jpegs.append(jpeg.tobytes())

    def jpeg(self, number: int) -> bytes:
        """Decoders ignore what stands behind a picture; caches do not."""
        return self._jpegs[number % len(self._jpegs)] + f"{number:012}".encode()

    def data_uri(self, number: int) -> str:
        """The same for servers that cannot be told from where to fetch it."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg(number)).decode()


@contextmanager
def serving(photos: Photos, *, studio: bool) -> Iterator[str]:
    """The URL of a server of `/NUMBER.jpg`; as `studio`, also of the tasks that come next.

    Of Label Studio's API it knows no more: whoever asks is told that it is away.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if picture := re.fullmatch(r"/(\d+)\.jpg", self.path):
                self._answer(200, photos.jpeg(int(picture[1])), "image/jpeg")
            elif studio and self.path.startswith("/api/tasks"):
                self._answer(200, json.dumps(_following(self.path)).encode(), "application/json")
            else:
                self._answer(503, b"{}", "application/json")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _following(url: str) -> Json:
    """The tasks that a filter "id greater than" asks for."""
    query = httpx.URL(url).params
    items = json.loads(query.get("query", "{}")).get("filters", {}).get("items", [])
    after = max((int(one["value"]) for one in items if one["operator"] == "greater"), default=0)
    numbers = range(after + 1, after + 1 + int(query.get("page_size", 1)))
    tasks = [{"id": number, "data": {"image": f"/{number}.jpg"}} for number in numbers]
    return {"tasks": tasks, "total": 10**6, "total_annotations": 0, "total_predictions": 0}


class Book:
    """Times and statuses of requests, by kind; status 0 is no answer at all."""

    def __init__(self) -> None:
        self.taken_s: dict[str, list[float]] = defaultdict(list)
        self.statuses: dict[str, Counter[int]] = defaultdict(Counter)
        self.refused_without_advice = 0

    def note(self, kind: str, took_s: float, answer: httpx.Response | None) -> None:
        """One request; only what was answered as it should be has a time."""
        status = answer.status_code if answer is not None else 0
        self.statuses[kind][status] += 1
        if status == 200:
            self.taken_s[kind].append(took_s)
        if answer is not None and status == 503 and "Retry-After" not in answer.headers:
            self.refused_without_advice += 1

    def figures(self) -> dict[str, Json]:
        """By kind: count, errors, refused (503), and percentiles in milliseconds."""
        return {kind: self._figures(kind) for kind in sorted(self.statuses)}

    def _figures(self, kind: str) -> Json:
        statuses, taken = self.statuses[kind], self.taken_s[kind]
        ms = np.percentile(taken, [50, 95, 99, 100]) * 1000 if taken else [None] * 4
        return {
            "count": statuses.total(),
            "errors": statuses.total() - statuses[200] - statuses[503],
            "refused": statuses[503],
            **{
                name: None if value is None else round(float(value), 1)
                for name, value in zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), ms, strict=True)
            },
        }


class Caller:
    """Asks as Label Studio does, a new connection each time, and notes how long it took."""

    def __init__(self, url: str, book: Book) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self.client = httpx.AsyncClient(
            base_url=url, timeout=PATIENCE_S, limits=limits, trust_env=False
        )
        self._book = book

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def post(self, kind: str, path: str, body: Json) -> httpx.Response | None:
        """The answer, None where there was none."""
        content = json.dumps(body).encode()
        return await self._ask(kind, self.client.build_request("POST", path, content=content))

    async def get(self, kind: str, path: str) -> httpx.Response | None:
        """The same of what is only read."""
        return await self._ask(kind, self.client.build_request("GET", path))

    async def _ask(self, kind: str, request: httpx.Request) -> httpx.Response | None:
        began = time.perf_counter()
        try:
            answer = await self.client.send(request)
        except httpx.TransportError:
            answer = None
        self._book.note(kind, time.perf_counter() - began, answer)
        return answer


class Place:
    """A project as a stand-in for Label Studio has it: task n shows picture n."""

    def __init__(self, image: Callable[[int], str], key: str = PROJECT_KEY) -> None:
        self._image, self.key = image, key

    def task(self, number: int) -> Json:
        """As Label Studio sends it along."""
        return {
            "id": number,
            "data": {"image": self._image(number)},
            "meta": {},
            "is_labeled": False,
            "project": PROJECT,
            "annotations": [],
            "predictions": [],
            "drafts": [],
        }

    def predict(self, *tasks: Json, context: Json | None = None) -> Json:
        """The body of /predict."""
        params = {"login": None, "password": None, "context": context}
        return {"tasks": tasks, "project": self.key, "label_config": CONFIG, "params": params}

    def click(self, number: int, points: list[tuple[float, float]]) -> Json:
        """All points drawn so far at one object, in percent, oldest first."""
        shape = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
        prompts = [
            {
                **shape,
                "id": f"p{number}-{place}-{x}-{y}",
                "type": "keypointlabels",
                "from_name": "point",
                "to_name": "image",
                "is_positive": True,
                "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [LABEL]},
            }
            for place, (x, y) in enumerate(points)
        ]
        return self.predict(self.task(number), context={"result": prompts})

    async def submit(self, caller: Caller, number: int, regions: list[Json]) -> None:
        """What Label Studio tells when somebody has submitted."""
        annotation = {
            "id": number,
            "result": regions,
            "was_cancelled": False,
            "ground_truth": False,
            "lead_time": 8.2,
            "completed_by": 1,
            "task": number,
            "project": PROJECT,
        }
        project = {"id": PROJECT, "title": "load", "label_config": CONFIG}
        body = {
            "action": "ANNOTATION_CREATED",
            "annotation": annotation,
            "project": project,
            "task": self.task(number),
        }
        await caller.post("webhook", "/webhook", body)

    async def set_up(self, caller: Caller) -> None:
        """What Label Studio asks whenever a page of the project is opened."""
        await caller.get("health", "/health")
        body = {"project": self.key, "schema": CONFIG, "hostname": "", "access_token": ""}
        await caller.post("setup", "/setup", body)


async def annotate(
    place: Place,
    caller: Caller,
    numbers: Iterator[int],
    *,
    rng: np.random.Generator,
    think_s: float,
) -> None:
    """One annotator: opens a task, clicks one to four times, submits, and so on until cancelled."""

    async def think() -> None:
        await asyncio.sleep(think_s * rng.uniform(0.5, 1.5))

    await asyncio.sleep(think_s * rng.uniform(0, 4))  # they do not all begin at once
    while True:
        number = next(numbers)
        await place.set_up(caller)
        await caller.post("open", "/predict", place.predict(place.task(number)))
        points: list[tuple[float, float]] = []
        regions: list[Json] = []
        for _ in range(int(rng.integers(1, 5))):
            await think()
            x, y = rng.uniform(20, 80, 2).round(2)
            points.append((float(x), float(y)))
            kind = "click" if len(points) > 1 else "first click"
            answer = await caller.post(kind, "/predict", place.click(number, points))
            if answer is not None and answer.status_code == 200:
                regions = answer.json()["results"][0]["result"]
        await think()
        await place.submit(caller, number, regions)


async def retrieve(place: Place, caller: Caller, numbers: Iterator[int]) -> None:
    """Somebody retrieves predictions, 50 tasks at a time, again and again until cancelled."""
    while True:
        tasks = [place.task(next(numbers)) for _ in range(BULK_TASKS)]
        await caller.post("bulk", "/predict", place.predict(*tasks))
        await asyncio.sleep(0.1)
