"""What Label Studio stored, as masks: read with the SDK and OpenCV, not with the tested code."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
from label_studio_sdk.converter.brush import decode_rle
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def mask_of(result: dict[str, Any]) -> Bools:
    """The (h, w) mask of one stored region of any kind."""
    value, width, height = result["value"], result["original_width"], result["original_height"]
    canvas = np.zeros((height, width), np.uint8)
    if "rle" in value:
        return decode_rle(value["rle"]).reshape(height, width, 4)[..., 3] > 127
    if "imageDataURL" in value:
        picture = np.frombuffer(base64.b64decode(value["imageDataURL"].split(",")[1]), np.uint8)
        return cv2.imdecode(picture, cv2.IMREAD_UNCHANGED)[..., 3] > 127
    if "points" in value:
        points = np.array(value["points"]) * [width / 100, height / 100] - 0.5
        cv2.fillPoly(canvas, [points.round().astype(np.int32)], 1)
    elif "radiusX" in value:
        x, y = value["x"] / 100 * width, value["y"] / 100 * height
        axes = 2 * value["radiusX"] / 100 * width, 2 * value["radiusY"] / 100 * height
        cv2.ellipse(canvas, ((x, y), axes, value["rotation"]), 1, -1)
    else:
        left, top = value["x"] / 100 * width, value["y"] / 100 * height
        right, bottom = left + value["width"] / 100 * width, top + value["height"] / 100 * height
        if value.get("rotation"):
            turn = np.radians(value["rotation"])  # about the left upper corner
            cos, sin = np.cos(turn), np.sin(turn)
            sides = np.array(
                [[0, 0], [right - left, 0], [right - left, bottom - top], [0, bottom - top]]
            )
            corners = sides @ [[cos, sin], [-sin, cos]] + [left, top] - 0.5
            cv2.fillPoly(canvas, [corners.round().astype(np.int32)], 1)
        else:
            canvas[round(top) : round(bottom), round(left) : round(right)] = 1
    return canvas > 0


def iou(a: Bools, b: Bools) -> float:
    """Intersection over union, 0..1."""
    return float((a & b).sum() / max((a | b).sum(), 1))
