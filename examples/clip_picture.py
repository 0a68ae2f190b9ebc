"""A picture of a clip: the labelled frames in a row, then frames that the model answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from micro_models.evaluation.overlap import bounds
from micro_models.examples import Example, image_of
from micro_models.regions import Region

WIDTH_PX = 180
GAP_PX = 4
ANSWER_ROWS = 3
GREEN, ORANGE, WHITE = (40, 200, 70), (255, 140, 0), (255, 255, 255)
MIN_SCORE = 0.5


def write_picture(
    path: Path,
    clip: Sequence[Example],
    *,
    labels: Mapping[int, Sequence[Region]],
    answers: Sequence[Sequence[Region]],
) -> None:
    """The labelled frames (green), below them three rows of others: answers (orange) and truth.

    The others are spread over the clip; the truth is a thin white line.
    """
    drawn = [_frame(clip[i], [(regions, GREEN, 2)]) for i, regions in sorted(labels.items())]
    left = [i for i in range(len(clip)) if i not in labels]
    count = min(ANSWER_ROWS * len(drawn), len(left))
    places = [left[int((part + 0.5) * len(left) / count)] for part in range(count)]
    shown = []
    for i in places:
        found = [region for region in answers[i] if region.score >= MIN_SCORE]
        shown.append(_frame(clip[i], [(found, ORANGE, 2), (clip[i].regions, WHITE, 1)]))
    columns = len(drawn)
    rows = [_row(drawn, columns)]
    rows += [_row(shown[at : at + columns], columns) for at in range(0, len(shown), columns)]
    width = max(row.shape[1] for row in rows)
    gap = np.full((3 * GAP_PX, width, 3), 255, np.uint8)
    sheet = np.concatenate([rows[0], gap, *rows[1:]])
    picture = PIL.Image.fromarray(sheet)
    # 128 colours are enough for a look, and a third of the size.
    picture = picture.quantize(128) if path.suffix.lower() == ".png" else picture
    picture.save(path, optimize=True)


def _frame(
    example: Example, layers: Sequence[tuple[Sequence[Region], tuple[int, int, int], int]]
) -> np.ndarray:
    image = image_of(example.picture)
    scale = WIDTH_PX / image.width_px
    size = (WIDTH_PX, max(round(image.height_px * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = np.ascontiguousarray(cv2.resize(image.pixels, size, interpolation=how))
    for regions, colour, thickness in layers:
        for region in regions:
            box = bounds(region.shape)
            start = math.floor(box.x0 * scale), math.floor(box.y0 * scale)
            end = math.ceil(box.x1 * scale) - 1, math.ceil(box.y1 * scale) - 1
            cv2.rectangle(pixels, start, end, colour, thickness, cv2.LINE_AA)
    return pixels


def _row(frames: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """(height, width, 3), white where there are fewer frames than columns."""
    height = max(frame.shape[0] for frame in frames)
    row = np.full((height + GAP_PX, columns * (WIDTH_PX + GAP_PX), 3), 255, np.uint8)
    for column, frame in enumerate(frames):
        x = column * (WIDTH_PX + GAP_PX)
        row[: frame.shape[0], x : x + WIDTH_PX] = frame
    return row
