"""A small picture of an image with a model's regions on it."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

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

LONGEST_PX = 320
# Okabe and Ito's, which the colour-blind can tell apart too, without black.
_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_MOST_REGIONS = 100
_MOST_LETTERS = 24
_TEXT_PX = 12
_TAG_PX = 15
_DOT_PX = 4

Points = NDArray[np.float64]  # (n, 2) x, y in pixels of the picture


def color_of(label: str, labels: Collection[str]) -> str:
    """The colour of one of `labels`, the same wherever those are the same: "#e69f00".

    >>> color_of("cat", ["dog", "cat"])
    '#e69f00'
    """
    return _COLORS[sorted({*labels, label}).index(label) % len(_COLORS)]


def drawn(image: Image, regions: Sequence[Region], labels: Collection[str]) -> bytes:
    """A JPEG, its longest side 320 px: the image with outlines, labels and scores.

    Regions are in pixels of the image; the least sure are drawn over the others.
    """
    factor = min(1.0, LONGEST_PX / max(image.width_px, image.height_px))
    size = (max(1, round(image.width_px * factor)), max(1, round(image.height_px * factor)))
    small = cv2.resize(image.pixels, size, interpolation=cv2.INTER_AREA)
    picture = Picture.fromarray(small)
    pen = ImageDraw.Draw(picture, "RGBA")
    shown = sorted(regions, key=lambda region: -region.score)[:_MOST_REGIONS]
    for region in shown:
        outline(pen, region.shape, factor, color_of(region.label, labels))
    line = 0
    for region in shown:
        at = _corner(region.shape, factor)
        if at is None:  # classes of the whole image stand below each other
            line += 1
            at = (0.0, line * float(_TAG_PX))
        _write(pen, _tag(region), at, size, color_of(region.label, labels))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=85)
    return written.getvalue()


def outline(pen: ImageDraw.ImageDraw, shape: Shape, factor: float, color: str) -> None:
    """Draw a shape, in pixels of the image, on a picture that is `factor` times as large.

    A whole image has no outline.
    """
    match shape:
        case Point(x, y):
            _dot(pen, x * factor, y * factor, color)
        case Keypoints(points, scores):
            for (x, y), score in zip(points, scores, strict=True):
                if score > 0:
                    _dot(pen, float(x) * factor, float(y) * factor, color)
        case _:
            for ring in _rings(shape, factor):
                corners = [(float(x), float(y)) for x, y in ring]
                if len(corners) > 2:
                    pen.polygon(corners, fill=f"{color}30")
                pen.line([*corners, corners[0]], fill=color, width=2, joint="curve")


def _rings(shape: Shape, factor: float) -> list[Points]:
    match shape:
        case Box(x0, y0, x1, y1):
            rings = [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)]
        case RotatedBox():
            rings = [shape.corners().astype(np.float64)]
        case Ellipse():
            rings = [_around(shape)]
        case Polygon(points):
            rings = [points.astype(np.float64)]
        case Mask(pixels):
            return _outlines(pixels, factor)
        case _:
            return []
    return [ring * factor for ring in rings]


def _around(ellipse: Ellipse) -> Points:
    turn = math.radians(ellipse.angle_deg)
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    along, across = ellipse.radius_x * np.cos(angles), ellipse.radius_y * np.sin(angles)
    x = ellipse.center_x + along * math.cos(turn) - across * math.sin(turn)
    y = ellipse.center_y + along * math.sin(turn) + across * math.cos(turn)
    return np.stack([x, y], axis=1)


def _outlines(pixels: NDArray[np.bool_], factor: float) -> list[Points]:
    height, width = pixels.shape
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    covered = cv2.resize(pixels.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    found, _ = cv2.findContours(
        (covered > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return [ring.reshape(-1, 2).astype(np.float64) for ring in found]


def _dot(pen: ImageDraw.ImageDraw, x: float, y: float, color: str) -> None:
    pen.ellipse((x - _DOT_PX, y - _DOT_PX, x + _DOT_PX, y + _DOT_PX), fill=color, outline="white")


def _corner(shape: Shape, factor: float) -> tuple[float, float] | None:
    """Where its label goes: at its top left; None for the whole image."""
    match shape:
        case WholeImage():
            return None
        case Point(x, y):
            return x * factor, y * factor
        case Keypoints(points, scores):
            seen = [points[scores > 0].astype(np.float64) * factor] if (scores > 0).any() else []
        case _:
            seen = _rings(shape, factor)
    if not seen:
        return None
    left, top = np.concatenate(seen).min(axis=0)
    return float(left), float(top)


def _tag(region: Region) -> str:
    # The built-in font knows only ASCII; the caption beside the picture names the rest by colour.
    label = region.label if region.label.isascii() and region.label.isprintable() else ""
    short = label if len(label) <= _MOST_LETTERS else label[: _MOST_LETTERS - 3] + "..."
    return f"{short} {region.score:.2f}".strip()


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    at: tuple[float, float],
    size: tuple[int, int],
    color: str,
) -> None:
    font = ImageFont.load_default(_TEXT_PX)
    width = pen.textlength(text, font=font) + 4
    x = max(0.0, min(at[0], size[0] - width))
    y = max(0.0, min(at[1], size[1]) - _TAG_PX)
    pen.rectangle((x, y, x + width, y + _TAG_PX), fill=color)
    pen.text((x + 2, y), text, font=font, fill=_ink(color))


def _ink(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
