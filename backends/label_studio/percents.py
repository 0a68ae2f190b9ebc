"""Shapes in Label Studio's unit, percent of the image's sides, and back to pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from backends.errors import BadRegion
from backends.label_studio.brush import decode_png, decode_rle, encode_png, encode_rle
from backends.label_studio.requests import rotated_about_corner
from micro_models.regions import Box, Ellipse, Mask, Point, Polygon, RotatedBox, Shape

Json = dict[str, Any]

# The editor cannot open a key point without a size.
POINT_WIDTH_PERCENT = 0.5
# A hundredth of a pixel in ten thousand: what rounding adds, no more.
_ROUNDING_PERCENT = 1e-4


def encode_shape(shape: Shape, tool: str, size_px: tuple[int, int]) -> Json:
    """The value of a result for `tool`: "brush", "bitmask", "polygon", "rectangle", "keypoint"...

    `size_px` is the image's (width, height). Every number but an angle is 0..100: what leaves the
    image is cut off. Only an ellipse is kept as it is. Errors: `BadRegion` for a shape that the
    tool does not draw, or a mask of another size than the image's.
    """
    match tool, shape:
        case "brush", Mask():
            return {"format": "rle", "rle": encode_rle(_pixels(shape, size_px))}
        case "bitmask", Mask():
            return {"imageDataURL": encode_png(_pixels(shape, size_px))}
        case "polygon", Polygon():
            percent = shape.points.astype(np.float64) * (100 / size_px[0], 100 / size_px[1])
            return {"points": np.clip(percent, 0, 100).tolist(), "closed": True}
        case "ellipse", Ellipse():
            return _ellipse(shape, size_px)
        case "rectangle", Box() | RotatedBox():
            return encode_boxes([shape], size_px)[0]
        case "keypoint", Point():
            width, height = size_px
            x, y = _percent(shape.x, width), _percent(shape.y, height)
            return {"x": x, "y": y, "width": POINT_WIDTH_PERCENT}
    raise BadRegion(f"a {tool} control holds no {type(shape).__name__}: convert it before")


def decode_shape(value: Mapping[str, Any], size_px: tuple[int, int]) -> Shape:
    """The shape that a result's value holds. Errors: KeyError, TypeError, ValueError."""
    width, height = size_px
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
    if "radiusX" in value:
        radius_x, radius_y = float(value["radiusX"]) * across, float(value["radiusY"]) * down
        return Ellipse(x, y, radius_x, radius_y, float(value.get("rotation") or 0.0))
    if "height" not in value:
        return Point(x, y)
    return decode_box(value, size_px)


def encode_boxes(boxes: Sequence[Box | RotatedBox], size_px: tuple[int, int]) -> list[Json]:
    """Boxes that belong together, such as the key frames of a track: x, y, width, height, rotation.

    The editor keeps the corner about which a box turns. Of a turned box's four corners the first
    is taken that lies on the image for all boxes, since between key frames a box must not swap its
    corners; where there is none, all become upright.
    """
    if all(isinstance(box, Box) for box in boxes):
        return [_upright(box, size_px) for box in boxes]
    visible = [visible_part(box, size_px) for box in boxes]
    turned = [box for box in visible if isinstance(box, RotatedBox)]
    for quarter_turns in range(4) if len(turned) == len(visible) else ():
        values = [_rotated(box, quarter_turns, size_px) for box in turned]
        if all(_is_on_image(value) for value in values):
            return [_rounded_to_image(value) for value in values]
    return [_upright(box, size_px) for box in visible]


def decode_box(value: Mapping[str, Any], size_px: tuple[int, int]) -> Box | RotatedBox:
    """The inverse of `encode_boxes` for one box. Errors: KeyError, TypeError, ValueError."""
    across, down = size_px[0] / 100, size_px[1] / 100
    x, y = float(value["x"]) * across, float(value["y"]) * down
    width, height = float(value["width"]) * across, float(value["height"]) * down
    angle_deg = float(value.get("rotation") or 0.0)
    if angle_deg % 360:
        return rotated_about_corner(x, y, width, height, angle_deg)
    return Box(min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height))


def visible_part(box: Box | RotatedBox, size_px: tuple[int, int]) -> Box | RotatedBox:
    """The box cut to what the image shows of it, with its angle; itself if nothing leaves.

    Upright around all of it if the image shows nothing.
    """
    width, height = size_px
    if isinstance(box, Box):
        box = RotatedBox((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2,
                         box.x1 - box.x0, box.y1 - box.y0, 0.0)  # fmt: skip
    corners = box.corners()
    if (corners >= 0).all() and (corners <= size_px).all():
        return box
    image = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float32)
    area, shown = cv2.intersectConvexConvex(corners, image)
    if area <= 0 or shown is None:
        x0, y0 = corners.min(axis=0).astype(float)
        x1, y1 = corners.max(axis=0).astype(float)
        return Box(x0, y0, x1, y1)
    angle = math.radians(box.angle_deg)
    axes = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    along = shown.reshape(-1, 2).astype(np.float64) @ axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    center = (low + high) / 2 @ axes
    sides = high - low
    return RotatedBox(
        float(center[0]), float(center[1]), float(sides[0]), float(sides[1]), box.angle_deg
    )


def _pixels(mask: Mask, size_px: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    width, height = size_px
    if mask.pixels.shape != (height, width):
        raise BadRegion(f"a mask of {mask.pixels.shape} on an image of {(height, width)}")
    return mask.pixels


def _percent(pixels: float, side_px: int) -> float:
    return min(max(pixels, 0.0), side_px) * 100 / side_px


def _ellipse(ellipse: Ellipse, size_px: tuple[int, int]) -> Json:
    width, height = size_px
    return {
        "x": ellipse.center_x * 100 / width,
        "y": ellipse.center_y * 100 / height,
        "radiusX": ellipse.radius_x * 100 / width,
        "radiusY": ellipse.radius_y * 100 / height,
        "rotation": ellipse.angle_deg % 360,
    }


def _upright(box: Box | RotatedBox, size_px: tuple[int, int]) -> Json:
    if isinstance(box, RotatedBox):
        (x0, y0), (x1, y1) = box.corners().min(axis=0), box.corners().max(axis=0)
        box = Box(float(x0), float(y0), float(x1), float(y1))
    width, height = size_px
    x0, x1 = _percent(box.x0, width), _percent(box.x1, width)
    y0, y1 = _percent(box.y0, height), _percent(box.y1, height)
    return {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}


def _rotated(box: RotatedBox, quarter_turns: int, size_px: tuple[int, int]) -> Json:
    """The box seen from the corner that comes `quarter_turns` after its top-left one."""
    along, across = box.width_px, box.height_px
    if quarter_turns % 2:
        along, across = across, along
    angle = math.radians(box.angle_deg + 90 * quarter_turns)
    cos, sin = math.cos(angle) / 2, math.sin(angle) / 2
    width, height = size_px
    return {
        "x": (box.center_x - along * cos + across * sin) * 100 / width,
        "y": (box.center_y - along * sin - across * cos) * 100 / height,
        "width": along * 100 / width,
        "height": across * 100 / height,
        "rotation": (box.angle_deg + 90 * quarter_turns) % 360,
    }


def _is_on_image(value: Json) -> bool:
    sides = (value[key] for key in ("x", "y", "width", "height"))
    return all(-_ROUNDING_PERCENT <= side <= 100 + _ROUNDING_PERCENT for side in sides)


def _rounded_to_image(value: Json) -> Json:
    sides = {key: min(max(value[key], 0.0), 100.0) for key in ("x", "y", "width", "height")}
    return {**sides, "rotation": value["rotation"]}
