"""A label under suspicion, drawn: what people say in one colour, what a model says in another."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from backends.review.shifting import shifted
from backends.serving.drawing import outline
from micro_models.evaluation.overlap import bounds
from micro_models.regions import Image, Mask, Region, Shape, WholeImage

# Okabe and Ito's orange and blue, which the colour-blind can tell apart too.
GIVEN_COLOR, SUGGESTED_COLOR = "#e69f00", "#56b4e9"
LONGEST_PX = 320
_LEAST_PX = 48.0  # of the picture are shown at least
_AROUND = 0.6  # of the object's longer side on each side of it
_ENLARGED = 4.0


def cropped(image: Image, given: Region | None, suggested: Region | None) -> bytes:
    """A JPEG, its longest side 320 px at most: the surroundings with both regions' outlines.

    Regions are in pixels of the image; of a class of the whole image all is shown.
    """
    shapes = [one.shape for one in (given, suggested) if one is not None]
    left, top, right, bottom = _window(shapes, image.width_px, image.height_px)
    width, height = right - left, bottom - top
    factor = min(LONGEST_PX / max(width, height), _ENLARGED)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    crop = np.ascontiguousarray(image.pixels[top:bottom, left:right])
    picture = Picture.fromarray(cv2.resize(crop, size, interpolation=how))
    pen = ImageDraw.Draw(picture, "RGBA")
    for one, color in ((given, GIVEN_COLOR), (suggested, SUGGESTED_COLOR)):
        if one is not None:
            outline(pen, _within(one.shape, (left, top, right, bottom)), factor, color)
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=88)
    return written.getvalue()


def _window(shapes: list[Shape], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is shown: never empty, never beyond the image."""
    if not shapes or any(isinstance(shape, WholeImage) for shape in shapes):
        return 0, 0, width, height
    around = [bounds(shape) for shape in shapes]
    x0, y0 = min(box.x0 for box in around), min(box.y0 for box in around)
    x1, y1 = max(box.x1 for box in around), max(box.y1 for box in around)
    longer = max(x1 - x0, y1 - y0)
    margin = max(_AROUND * longer, (_LEAST_PX - longer) / 2)
    left, right = _side(x0 - margin, x1 + margin, width)
    top, bottom = _side(y0 - margin, y1 + margin, height)
    return left, top, right, bottom


def _side(low: float, high: float, most: int) -> tuple[int, int]:
    start = min(max(int(low), 0), most - 1)
    return start, min(max(int(np.ceil(min(high, most))), start + 1), most)


def _within(shape: Shape, window: tuple[int, int, int, int]) -> Shape:
    left, top, right, bottom = window
    if isinstance(shape, Mask):
        inside = shape.pixels[top:bottom, left:right]
        return Mask(inside) if inside.size else Mask(np.zeros((1, 1), np.bool_))
    return shifted(shape, -left, -top)
