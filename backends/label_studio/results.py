"""Encode predictions as Label Studio's results, and decode results into regions.

The two are inverse in pixels. Percent exists only here and in `requests`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from backends.errors import BadRequest
from backends.interface import LabelConfig, PlacedRegion, Prediction
from backends.label_studio.brush import decode_png, decode_rle, encode_png, encode_rle
from backends.label_studio.config import Output, OutputKind, find_output
from backends.label_studio.requests import rotated_about_corner
from micro_models.regions import Box, Ellipse, Mask, Polygon, Region, RotatedBox, Shape

Json = dict[str, Any]

_SHAPES: dict[OutputKind, tuple[type, ...]] = {
    OutputKind.BRUSH: (Mask,),
    OutputKind.BITMASK: (Mask,),
    OutputKind.POLYGON: (Polygon,),
    OutputKind.ELLIPSE: (Ellipse,),
    OutputKind.RECTANGLE: (Box, RotatedBox),
}


def encode_prediction(
    prediction: Prediction, config: LabelConfig, *, to_name: str | None = None
) -> Json:
    """An item of a /predict answer's `results`; see `encode_region`."""
    size = (prediction.width_px, prediction.height_px)
    return {
        "result": [
            item
            for placed in prediction.regions
            if isinstance(placed, PlacedRegion)
            for item in encode_region(placed, config, size_px=size, to_name=to_name)
        ],
        "score": float(prediction.score),
        "model_version": prediction.version,
    }


def encode_region(
    placed: PlacedRegion,
    config: LabelConfig,
    *,
    size_px: tuple[int, int],
    to_name: str | None = None,
) -> list[Json]:
    """A region as results of the control that it names; `size_px` is (width, height).

    Usually one result; two with the same id where a `<Labels>` tag holds the label. Boxes and
    polygons are clipped to the image. `to_name` matters only if the control has several targets.
    Errors: `BadLabelConfig` for a control that holds no regions, ValueError for a shape that the
    control cannot hold or a mask of another size.
    """
    output = find_output(config, placed.control, to_name)
    if not isinstance(placed.region.shape, _SHAPES[output.kind]):
        shape = type(placed.region.shape).__name__
        raise ValueError(f"<{output.control.tag}> holds no {shape}: convert it before")
    common = {
        "id": placed.id,
        "to_name": output.control.to_name,
        "original_width": size_px[0],
        "original_height": size_px[1],
        "image_rotation": 0,
        "score": float(placed.region.score),
        "origin": "prediction",
        "readonly": False,
    }
    value = _value(placed.region.shape, output.kind, size_px)
    return [
        {**common, "from_name": from_name, "type": kind, "value": {**value, **labels}}
        for from_name, kind, labels in _named(output, placed.region.label)
    ]


def decode_region(item: Any) -> Region:
    """A result of an annotation, prediction or export as a region in pixels.

    The label is the first one, "" where there is none (the half of a pair that holds only the
    shape). Errors: `BadRequest` for what is no region with an area, or lacks the image's size.
    """
    value = item.get("value") if isinstance(item, Mapping) else None
    if not isinstance(value, Mapping):
        raise BadRequest("a result is an object with a value")
    width, height = _size_px(item)
    try:
        shape = _shape(value, width, height)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        kind = str(item.get("type"))[:40]
        raise BadRequest(f"a result of type {kind} is malformed: {str(error)[:100]}") from None
    return Region(_label(item, value), shape, _score(item))


def _named(output: Output, label: str) -> list[tuple[str, str, Json]]:
    """Control, type and label of each result for a region."""
    control, kind = output.control, output.control.tag.lower()
    if kind.endswith("labels"):
        return [(control.name, kind, {kind: [label]} if label else {})]
    named: list[tuple[str, str, Json]] = [(control.name, kind, {})]
    if output.labels_control is not None and label:
        named.append((output.labels_control.name, "labels", {"labels": [label]}))
    return named


def _value(shape: Shape, kind: OutputKind, size_px: tuple[int, int]) -> Json:
    width, height = size_px
    if isinstance(shape, Mask):
        if shape.pixels.shape != (height, width):
            raise ValueError(f"a mask of {shape.pixels.shape} on an image of {(height, width)}")
        if kind == OutputKind.BRUSH:
            return {"format": "rle", "rle": encode_rle(shape.pixels)}
        return {"imageDataURL": encode_png(shape.pixels)}
    if isinstance(shape, Polygon):
        percent = shape.points.astype(np.float64) * (100 / width, 100 / height)
        return {"points": np.clip(percent, 0, 100).tolist(), "closed": True}
    if isinstance(shape, Ellipse):
        return {
            "x": shape.center_x * 100 / width,
            "y": shape.center_y * 100 / height,
            "radiusX": shape.radius_x * 100 / width,
            "radiusY": shape.radius_y * 100 / height,
            "rotation": shape.angle_deg % 360,
        }
    if isinstance(shape, RotatedBox):
        return _rotated_value(shape, width, height)
    if not isinstance(shape, Box):
        raise ValueError(f"<{kind}> holds no {type(shape).__name__}")
    x0, x1 = (min(max(x, 0.0), width) * 100 / width for x in (shape.x0, shape.x1))
    y0, y1 = (min(max(y, 0.0), height) * 100 / height for y in (shape.y0, shape.y1))
    return {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}


def _rotated_value(box: RotatedBox, width: int, height: int) -> Json:
    """The editor keeps the top-left corner, about which it turns; that may lie off the image."""
    angle = math.radians(box.angle_deg)
    cos, sin = math.cos(angle) / 2, math.sin(angle) / 2
    return {
        "x": (box.center_x - box.width_px * cos + box.height_px * sin) * 100 / width,
        "y": (box.center_y - box.width_px * sin - box.height_px * cos) * 100 / height,
        "width": box.width_px * 100 / width,
        "height": box.height_px * 100 / height,
        "rotation": box.angle_deg % 360,
    }


def _shape(value: Mapping[str, Any], width: int, height: int) -> Shape:
    if "rle" in value:
        return Mask(decode_rle(value["rle"], width_px=width, height_px=height))
    if "imageDataURL" in value:
        return Mask(decode_png(value["imageDataURL"], width_px=width, height_px=height))
    across, down = width / 100, height / 100
    if "points" in value:
        with np.errstate(over="ignore"):  # what overflows is refused as not finite
            points = np.asarray(value["points"], dtype=np.float64) * (across, down)
            return Polygon(points.astype(np.float32))
    x, y = float(value["x"]) * across, float(value["y"]) * down
    angle_deg = float(value.get("rotation") or 0.0)
    if "radiusX" in value:
        radius_x, radius_y = float(value["radiusX"]) * across, float(value["radiusY"]) * down
        return Ellipse(x, y, radius_x, radius_y, angle_deg)
    wide, high = float(value["width"]) * across, float(value["height"]) * down
    if angle_deg % 360:
        return rotated_about_corner(x, y, wide, high, angle_deg)
    return Box(min(x, x + wide), min(y, y + high), max(x, x + wide), max(y, y + high))


def _label(item: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    for key in (item.get("type"), "labels"):
        labels = value.get(key) if isinstance(key, str) else None
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return labels[0]
    return ""


def _score(item: Mapping[str, Any]) -> float:
    """The score of a prediction; 1 for what a person drew or what is no score."""
    score = item.get("score")
    if isinstance(score, bool) or not isinstance(score, float | int) or not 0 <= score <= 1:
        return 1.0
    return float(score)


def _size_px(item: Mapping[str, Any]) -> tuple[int, int]:
    size = item.get("original_width"), item.get("original_height")
    if not all(isinstance(side, int | float) and 1 <= side <= 1e6 for side in size):
        raise BadRequest(
            f"a result has original_width and original_height {size}, no image size",
            advice="give both in pixels: percents and brush strokes mean nothing without them",
        )
    return int(size[0]), int(size[1])  # type: ignore[arg-type]
