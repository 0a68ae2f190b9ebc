"""How fast is a click, through HTTP, with each engine, and how many clicks does a mask take?

    python examples/click_benchmark.py

One run on one machine: a real `labelpilot serve` per engine, photos of 1280x720 from a server of
this script that stands in for Label Studio's uploads. MobileSAM gets random weights unless
`--checkpoint` names a file: speed does not depend on them. "clicks to IoU" needs photos with
masks (`--data`), and for SAM a real checkpoint.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from backends.demo.project import find_photos
from backends.label_studio.brush import encode_rle
from micro_models.clicks import clicks_to_iou
from micro_models.engines.grabcut import GrabCut
from micro_models.engines.sam import load_sam
from micro_models.interface import Segmenter
from micro_models.regions import Image

SIZE = (1280, 720)
CONFIG = (Path(__file__).parent / "label_configs" / "to_brush.xml").read_text()
LABEL = "Cat"
COMPUTED = 'embeddings_total{source="computed"}'
Json = dict[str, object]


class Uploads(http.server.SimpleHTTPRequestHandler):
    """Serves a folder as Label Studio serves uploads, and an empty list of further tasks."""

    def do_GET(self) -> None:
        """Answer a file, or no tasks."""
        if self.path.startswith("/api/"):
            body = b'{"tasks": [], "total": 0, "total_annotations": 0, "total_predictions": 0}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def uploads(folder: Path) -> Iterator[str]:
    """The URL of a server of `folder`."""
    handler = functools.partial(Uploads, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def labelpilot(folder: Path, studio: str, **settings: str) -> Iterator[httpx.Client]:
    """A client of a running `labelpilot serve`, its model loaded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "LABEL_STUDIO_URL": studio, "LABELPILOT_DATA_DIR": str(folder)}
    environment |= {f"LABELPILOT_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "backends.cli", "serve", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                until(lambda: metric(client, "model_loaded") == 1.0)
                yield client
        finally:
            process.terminate()


def until(done: Callable[[], bool], limit_s: float = 180.0) -> None:
    """Wait for something; TimeoutError after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if done():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError("the server did not get there in time")


def metric(client: httpx.Client, name: str) -> float:
    """One gauge of /metrics."""
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"labelpilot_{name} "))


def body(task: int, *points: tuple[float, float], regions: list[Json] | None = None) -> Json:
    """A /predict body as Label Studio sends it; points in percent."""
    shape = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
    prompts = [
        {
            **shape,
            "id": f"p{task}-{x}-{y}",
            "type": "keypointlabels",
            "from_name": "point",
            "to_name": "image",
            "is_positive": True,
            "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": [LABEL]},
        }
        for x, y in points
    ]
    drafts = [{"id": 1, "user": "a@b.example", "result": regions}] if regions else []
    return {
        "tasks": [{"id": task, "data": {"image": f"/{task}.jpg"}, "drafts": drafts}],
        "project": "1.1795168884",
        "label_config": CONFIG,
        "params": {"context": {"result": prompts} if prompts else None},
    }


def hundred_regions() -> list[Json]:
    """A hundred brush regions, as the draft of a busy image holds them."""
    rng = np.random.default_rng(0)
    regions: list[Json] = []
    for number in range(100):
        mask = np.zeros(SIZE[::-1], np.uint8)
        x, y = (int(value) for value in rng.integers(100, 600, 2))
        cv2.circle(mask, (x, y), 60, 1, -1)
        value = {"format": "rle", "rle": encode_rle(mask.astype(bool)), "brushlabels": [LABEL]}
        regions.append({"id": f"r{number}", "type": "brushlabels", "value": value})
    return regions


def click_s(client: httpx.Client, request: Json) -> float:
    """Seconds from sending a click to having its answer."""
    content = json.dumps(request)
    started = time.perf_counter()
    answer = client.post("/predict", content=content)
    took = time.perf_counter() - started
    answer.raise_for_status()
    return took


def measure(client: httpx.Client, photos: int) -> dict[str, float]:
    """Median seconds of each kind of click; the server must be fresh."""
    rng = np.random.default_rng(1)
    places = [(round(float(x), 2), round(float(y), 2)) for x, y in rng.uniform(20, 80, (40, 2))]
    median = statistics.median
    cold = [click_s(client, body(task, (50, 50))) for task in range(photos // 2)]
    prefetched = []
    for task in range(photos // 2, photos):
        before = metric(client, COMPUTED)
        client.post("/predict", json=body(task))
        until(lambda before=before: metric(client, COMPUTED) > before)
        prefetched.append(click_s(client, body(task, (50, 50))))
    warm = [click_s(client, body(0, place)) for place in places[:20]]
    in_turn = [click_s(client, body(turn % 2, place)) for turn, place in enumerate(places[:20])]
    regions = hundred_regions()
    others = while_encoding(client, photos)
    return {
        "cold click": median(cold),
        "warm click": median(warm),
        "two images in turn": median(in_turn),
        "first click after prefetch": median(prefetched),
        "tenth click": median(
            click_s(client, body(0, *places[start : start + 10])) for start in range(15)
        ),
        "click with 100 regions": median(
            click_s(client, body(0, place, regions=regions)) for place in places[20:30]
        ),
        **others,
    }


def while_encoding(client: httpx.Client, photo: int) -> dict[str, float]:
    """The slowest /health, /setup and /webhook while a new image is being encoded."""
    setup = {"project": "1.1795168884", "schema": CONFIG, "hostname": "", "access_token": ""}
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 1}, "annotation": {"id": 1}}
    calls: dict[str, Callable[[], httpx.Response]] = {
        "health": lambda: client.get("/health"),
        "setup": lambda: client.post("/setup", json=setup),
        "webhook": lambda: client.post("/webhook", json=event),
    }
    slowest = dict.fromkeys(calls, 0.0)
    click = threading.Thread(target=click_s, args=(client, body(photo, (50, 50))))
    click.start()
    for _ in range(100):
        for name, call in calls.items():
            started = time.perf_counter()
            call().raise_for_status()
            slowest[name] = max(slowest[name], time.perf_counter() - started)
        if not click.is_alive():
            break
    click.join()
    return {f"slowest {name} while encoding": took for name, took in slowest.items()}


def clicks_needed(engine: Segmenter, data: Path, progress: Progress) -> str:
    """Mean clicks to IoU 0.85 and 0.90 over photos with masks; next click: largest mistake."""
    masks = sorted((data / "masks").iterdir())
    bar = progress.add_task(f"clicks to IoU: {engine.name}", total=len(masks))
    needed: dict[float, list[int]] = {0.85: [], 0.90: []}
    for path in masks:
        truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        photo = cv2.imread(str(next((data / "images").glob(f"{path.stem}.*"))))
        assert truth is not None
        assert photo is not None
        image = Image(np.ascontiguousarray(photo[:, :, ::-1]))
        segment = functools.partial(engine.segment, engine.embed(image))
        curve = clicks_to_iou(segment, truth == 255, ignore=truth == 128)
        for threshold, found in needed.items():
            found.append(curve.clicks[threshold])
        progress.advance(bar)
    means = ", ".join(f"{statistics.mean(found):.1f} to {iou}" for iou, found in needed.items())
    return f"clicks to IoU, {engine.name}, {len(masks)} photos: {means} (20 where never)"


def random_mobile_sam(path: Path) -> Path:
    """A MobileSAM checkpoint with random weights."""
    import torch

    os.environ["YOLO_AUTOINSTALL"] = "false"
    from ultralytics.models.sam.build import build_mobile_sam

    torch.save(build_mobile_sam().state_dict(), path)
    return path


def write_photos(folder: Path, count: int) -> None:
    """The demo's photos as `0.jpg`, `1.jpg`, ... of 1280x720."""
    photos = find_photos()
    for number in range(count):
        photo = cv2.imread(str(photos[number % len(photos)]))
        assert photo is not None
        photo = cv2.resize(photo, SIZE)
        if number >= len(photos):
            photo = photo[:, ::-1]
        cv2.imwrite(str(folder / f"{number}.jpg"), photo)


def encoders(checkpoint: Path, folder: Path, photo: Path) -> dict[str, float]:
    """Median seconds of the image encoder: torch and OpenVINO, same weights, same process."""
    pixels = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
    image = Image(np.ascontiguousarray(pixels))
    times = {}
    for name, device in [("torch", "cpu-torch"), ("openvino", "cpu")]:
        engine = load_sam(checkpoint, device=device, cache_dir=folder)
        engine.embed(image)
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            engine.embed(image)
            taken.append(time.perf_counter() - started)
        times[name] = statistics.median(taken)
    return times


def show(console: Console, rows: dict[str, dict[str, float]]) -> None:
    """Print milliseconds per kind of click and engine."""
    table = Table("click, ms (median)", *rows)
    for kind in next(iter(rows.values())):
        table.add_row(kind, *(f"{times[kind] * 1000:.0f}" for times in rows.values()))
    console.print(table)


ENGINES = {
    "grabcut": {"sam_model": "grabcut"},
    "sam, openvino": {"device": "cpu"},
    "sam, torch": {"device": "cpu-torch"},
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="MobileSAM or another SAM file")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data/segmentation/grabcut"),
        help="a folder with images/ and masks/ (0 background, 128 ignored, 255 object)",
    )
    parser.add_argument("--photos", type=int, default=10, help="how many; half cold, half warm")
    parser.add_argument("--engine", choices=ENGINES, action="append", help="default: all")
    return parser.parse_args()


def main() -> None:
    """Run everything and print it."""
    options = arguments()
    console = Console()
    chosen = options.engine or list(ENGINES)
    rows, notes = {}, []
    with tempfile.TemporaryDirectory() as name, Progress(console=console) as progress:
        folder = Path(name)
        photos, models = folder / "uploads", folder / "models"
        photos.mkdir()
        models.mkdir()
        write_photos(photos, options.photos + 1)
        checkpoint = models / "mobile_sam.pt"
        if options.checkpoint:
            checkpoint = models / options.checkpoint.name
            checkpoint.symlink_to(options.checkpoint.resolve())
        elif chosen != ["grabcut"]:
            random_mobile_sam(checkpoint)
        bar = progress.add_task("clicks", total=len(chosen))
        with uploads(photos) as studio:
            for engine in chosen:
                progress.update(bar, description=f"clicks: {engine}")
                settings = {"model_dir": str(models), "sam_model": checkpoint.name}
                place = folder / engine.replace(", ", "-")
                with labelpilot(place, studio, **(settings | ENGINES[engine])) as client:
                    rows[engine] = measure(client, options.photos)
                progress.advance(bar)
        if checkpoint.exists():
            times = encoders(checkpoint, folder / "compiled", photos / "0.jpg")
            notes.append(
                f"image encoder: torch {times['torch'] * 1000:.0f} ms, openvino "
                f"{times['openvino'] * 1000:.0f} ms, "
                f"{times['torch'] / times['openvino']:.1f} times faster"
            )
        engines: list[Segmenter] = [GrabCut()]
        if options.checkpoint:
            engines.append(load_sam(checkpoint, device="cpu", cache_dir=folder / "compiled"))
        if options.data.is_dir():
            notes += [clicks_needed(engine, options.data, progress) for engine in engines]
        else:
            notes.append(f"clicks to IoU: skipped: no {options.data}")
    show(console, rows)
    for note in notes:
        console.print(note)


if __name__ == "__main__":
    main()
