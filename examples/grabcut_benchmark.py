"""How good and how fast the weight-free engine is, beside OpenCV's own GrabCut in the same run.

    python examples/grabcut_benchmark.py --data ../shared/data/segmentation/grabcut

The folder holds `images/NAME.jpg` and `masks/NAME.png` (0 background, 128 ignored, 255 object).
Boxes are the tight boxes of the masks. NoC@85 is the number of clicks until the IoU reaches 0.85.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from micro_models.clicks import clicks_to_iou, iou_within, next_click
from micro_models.engines.grabcut import GrabCut
from micro_models.regions import Box, Click, Image, Prompt

LARGE_PX = 12_000_000
DEFAULT_DATA = Path(__file__).parents[2] / "shared/data/segmentation/grabcut"


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo, its object and the pixels that nobody judged: (height, width) bool."""

    image: Image
    truth: NDArray[np.bool_]
    ignore: NDArray[np.bool_]

    @property
    def box(self) -> Box:
        """The tight box of the object."""
        rows, columns = np.nonzero(self.truth)
        x0, y0 = float(columns.min()), float(rows.min())
        return Box(x0, y0, float(columns.max() + 1), float(rows.max() + 1))


@dataclass
class Figures:
    """What is collected over the photos; times in seconds."""

    box_iou: list[float] = field(default_factory=list)
    opencv_iou: list[float] = field(default_factory=list)
    first_click_iou: list[float] = field(default_factory=list)
    clicks: dict[str, list[int]] = field(default_factory=dict)
    box_pairs: list[tuple[float, float]] = field(default_factory=list)
    click_pairs: list[tuple[float, float]] = field(default_factory=list)
    first_pairs: list[tuple[float, float]] = field(default_factory=list)
    times_s: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, name: str, started_s: float) -> None:
        """Note the time since `started_s` under a name."""
        self.times_s.setdefault(name, []).append(time.perf_counter() - started_s)


def photos(folder: Path) -> Iterator[Photo]:
    for path in sorted((folder / "masks").glob("*.png")):
        labels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        pixels = cv2.imread(str(folder / "images" / f"{path.stem}.jpg"), cv2.IMREAD_COLOR)
        if labels is None or pixels is None:
            raise SystemExit(f"{path}: the mask or its photo cannot be read")
        image = Image(np.ascontiguousarray(pixels[:, :, ::-1], np.uint8))
        yield Photo(image, labels == 255, labels == 128)


def opencv_from_box(photo: Photo) -> NDArray[np.bool_]:
    """Plain OpenCV GrabCut from the tight box, five iterations."""
    box = photo.box
    mask = np.zeros(photo.truth.shape, np.uint8)
    rect = (int(box.x0), int(box.y0), int(box.x1 - box.x0), int(box.y1 - box.y0))
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(photo.image.pixels[:, :, ::-1])
    cv2.setRNGSeed(0)
    cv2.grabCut(bgr, mask, rect, *models, 5, cv2.GC_INIT_WITH_RECT)
    return (mask & 1) > 0


def measure(photo: Photo, engine: GrabCut, figures: Figures) -> None:
    judge = partial(iou_within, photo.truth, ignore=photo.ignore)
    started = time.perf_counter()
    figures.opencv_iou.append(judge(opencv_from_box(photo)))
    figures.timed("OpenCV, box, native size", started)
    embedding = engine.embed(photo.image)
    for name, box in (("clicks", None), ("box, then clicks", photo.box)):
        segment = partial(engine.segment, embedding)
        curve = clicks_to_iou(segment, photo.truth, ignore=photo.ignore, box=box)
        for threshold, count in curve.clicks.items():
            figures.clicks.setdefault(f"{name}, IoU {threshold}", []).append(count)
        pairs = zip(curve.scores, curve.ious, strict=True)
        if box is None:
            figures.first_click_iou.append(curve.ious[0])
            figures.click_pairs += pairs
            figures.first_pairs.append((curve.scores[0], curve.ious[0]))
        else:
            figures.box_iou.append(curve.ious[0])
            figures.box_pairs.append(next(pairs))
    clock(photo.image, photo, engine, figures, "native size")
    clock(enlarged(photo.image), photo, engine, figures, "12 megapixels")


def enlarged(image: Image) -> Image:
    scale = (LARGE_PX / (image.width_px * image.height_px)) ** 0.5
    size = (round(image.width_px * scale), round(image.height_px * scale))
    return Image(np.asarray(cv2.resize(image.pixels, size, interpolation=cv2.INTER_CUBIC)))


def clock(image: Image, photo: Photo, engine: GrabCut, figures: Figures, size: str) -> None:
    """Time embedding, a first click, a second one with the hint, and a box."""
    scale = image.width_px / photo.image.width_px
    started = time.perf_counter()
    embedding = engine.embed(image)
    figures.timed(f"embed, {size}", started)
    middle = next_click(photo.truth, np.zeros_like(photo.truth))
    first = Click(middle.x * scale, middle.y * scale)
    started = time.perf_counter()
    answer = engine.segment(embedding, Prompt((first,)))
    figures.timed(f"first click, {size}", started)
    started = time.perf_counter()
    engine.segment(embedding, Prompt((first, Click(1, 1, positive=False)), hint=answer.hint))
    figures.timed(f"further click, {size}", started)
    box = photo.box
    started = time.perf_counter()
    large = Box(box.x0 * scale, box.y0 * scale, box.x1 * scale, box.y1 * scale)
    engine.segment(embedding, Prompt(box=large))
    figures.timed(f"box, {size}", started)


def correlation(pairs: list[tuple[float, float]]) -> str:
    """Pearson's r of score and IoU; "-" where one of them never varies."""
    values = np.array(pairs)
    if len(values) < 2 or 0 in values.std(axis=0):
        return "-"
    return f"{np.corrcoef(values.T)[0, 1]:.2f}"


def report(figures: Figures, console: Console) -> None:
    quality = Table("IoU", "mean", "median", title=f"{len(figures.box_iou)} photos")
    for name, values in (
        ("tight box, grabcut engine", figures.box_iou),
        ("tight box, plain OpenCV", figures.opencv_iou),
        ("first click, grabcut engine", figures.first_click_iou),
    ):
        quality.add_row(name, f"{np.mean(values):.3f}", f"{np.median(values):.3f}")
    console.print(quality)
    clicks = Table("clicks needed (20 where never)", "mean", "median")
    for name, counts in figures.clicks.items():
        clicks.add_row(name, f"{np.mean(counts):.2f}", f"{np.median(counts):.0f}")
    console.print(clicks)
    times = Table("time in ms", "p50", "max")
    for name, values in figures.times_s.items():
        times.add_row(name, f"{np.median(values) * 1e3:.0f}", f"{max(values) * 1e3:.0f}")
    console.print(times)
    console.print(
        f"correlation of score and IoU: box {correlation(figures.box_pairs)}, "
        f"first click {correlation(figures.first_pairs)}, "
        f"all clicks {correlation(figures.click_pairs)}"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="default: %(default)s")
    folder = parser.parse_args(arguments).data
    console = Console()
    if not (folder / "masks").is_dir():
        console.print("skipped: no ../shared" if folder == DEFAULT_DATA else f"no {folder}/masks")
        return
    engine, figures = GrabCut(), Figures()
    for photo in track(list(photos(folder)), "photos", console=console):
        measure(photo, engine, figures)
    report(figures, console)


if __name__ == "__main__":
    main()
