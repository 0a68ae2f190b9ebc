"""Make a clip to try things on: a hand-held camera wanders over a real photo.

    python examples/camera_clip.py FOLDER
    python examples/label_clip.py FOLDER/frames FOLDER/boxes.csv --picture FOLDER/labelled.png

The photo is of a rocket (scikit-image's, SpaceX, public domain), the object its payload fairing.
The camera moves, turns, zooms, blurs and loses it from view now and then. It is easier than a real
clip: nothing in the scene moves. Real ones are in docs/explanation/benchmarks.md.
"""

from __future__ import annotations

import argparse
import csv
import math
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Box

FAIRING = Box(309, 126, 335, 180)
WIDTH_PX, HEIGHT_PX = 320, 240
# An object is in view if at least this part of it is.
LEAST_IN_VIEW = 0.5

Matrix = NDArray[np.float64]


def camera(moment: float, rng: np.random.Generator) -> Matrix:
    """(2, 3): where the photo's pixels are in the frame at a moment 0..1."""
    turn = 0.14 * math.sin(9 * moment + 1)
    zoom = 1.25 * math.exp(0.35 * math.sin(5 * moment))
    looks_at = np.array(
        [322 + 125 * math.sin(7 * moment), 165 + 50 * math.sin(11 * moment + 2)]
    ) + rng.normal(0, 1.5, 2)
    cos, sin = zoom * math.cos(turn), zoom * math.sin(turn)
    turning = np.array([[cos, -sin], [sin, cos]])
    shift = np.array([WIDTH_PX / 2, HEIGHT_PX / 2]) - turning @ looks_at
    return np.concatenate([turning, shift[:, None]], axis=1)


def seen(matrix: Matrix) -> Box | None:
    """The box of the fairing in the frame; None if it is out of view."""
    corners = np.array(
        [(x, y, 1) for x in (FAIRING.x0, FAIRING.x1) for y in (FAIRING.y0, FAIRING.y1)]
    )
    placed = corners @ matrix.T
    low, high = placed.min(axis=0), placed.max(axis=0)
    inside_low = np.clip(low, 0, (WIDTH_PX, HEIGHT_PX))
    inside_high = np.clip(high, 0, (WIDTH_PX, HEIGHT_PX))
    if np.prod(inside_high - inside_low) < LEAST_IN_VIEW * np.prod(high - low):
        return None
    return Box(*inside_low.tolist(), *inside_high.tolist())


def frame(photo: NDArray[np.uint8], matrix: Matrix, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(240, 320, 3): what the camera sees, now darker, now lighter, blurred and noisy."""
    view = cv2.warpAffine(photo, matrix, (WIDTH_PX, HEIGHT_PX), borderMode=cv2.BORDER_REFLECT)
    if rng.random() < 0.3:
        view = cv2.blur(view, (int(rng.integers(2, 8)), 1))
    grain = rng.normal(0, 4, view.shape)
    return np.clip(view * rng.uniform(0.8, 1.25) + grain, 0, 255).astype(np.uint8)


def main() -> None:
    """Write frames/*.png and boxes.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    package = find_spec("skimage")
    if package is None or package.origin is None:
        parser.error("scikit-image has the photo: pip install scikit-image")
    photo = cv2.imread(str(Path(package.origin).parent / "data" / "rocket.jpg"))
    rng = np.random.default_rng(options.seed)
    (options.folder / "frames").mkdir(parents=True, exist_ok=True)
    with (options.folder / "boxes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "x", "y", "w", "h", "label"])
        for number in range(options.frames):
            matrix = camera(number / options.frames, rng)
            name, box = f"{number:05}.png", seen(matrix)
            cv2.imwrite(str(options.folder / "frames" / name), frame(photo, matrix, rng))
            at = [""] * 4 if box is None else [box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0]
            rows.writerow([name, *at, "" if box is None else "fairing"])


if __name__ == "__main__":
    main()
