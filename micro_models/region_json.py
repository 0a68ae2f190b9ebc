"""Regions as plain JSON and back, exact; what is read may come from anywhere."""

from __future__ import annotations

import math
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)

# Larger than any image that is decoded; a mask of a few bytes may claim to be of any size.
_MOST_PX = 250_000_000
# Shapes whose fields are all single numbers.
_OF_NUMBERS: dict[str, type[Box | RotatedBox | Ellipse | Point | WholeImage]] = {
    cls.__name__: cls for cls in (Box, RotatedBox, Ellipse, Point, WholeImage)
}


def to_json(region: Region) -> dict[str, Any]:
    """A region as JSON has it: numbers, strings, lists; masks packed, compressed, in base 64.

    >>> to_json(Region("car", Box(1, 2, 3, 4.5), 0.5))
    {'label': 'car', 'score': 0.5, 'shape': 'Box', 'x0': 1.0, 'y0': 2.0, 'x1': 3.0, 'y1': 4.5}
    """
    shape = region.shape
    return {
        "label": region.label,
        "score": float(region.score),
        "shape": type(shape).__name__,
        **_values(shape),
    }


def from_json(stored: Any) -> Region:
    """The way back: the same region. Errors: `ValueError` for what `to_json` does not write.

    >>> from_json(to_json(Region("car", Point(1, 2.5), 0.5)))
    Region(label='car', shape=Point(x=1.0, y=2.5), score=0.5)
    """
    if not isinstance(stored, Mapping) or not isinstance(stored.get("label"), str):
        raise ValueError("a region is an object with a label")
    return Region(stored["label"], _shape(stored), _number(stored, "score"))


def _values(shape: Shape) -> dict[str, Any]:
    match shape:
        case Mask(pixels):
            height, width = pixels.shape
            packed = zlib.compress(np.packbits(pixels).tobytes(), 1)
            return {"height": height, "width": width, "packed": b64encode(packed).decode()}
        case Polygon(points):
            return {"points": _flat(points)}
        case Keypoints(points, scores):
            return {"points": _flat(points), "scores": _flat(scores)}
        case _:
            return {one.name: float(getattr(shape, one.name)) for one in fields(shape)}


def _shape(stored: Mapping[str, Any]) -> Shape:
    name = stored.get("shape")
    match name:
        case "Mask":
            return _mask(stored)
        case "Polygon":
            return Polygon(_floats(stored, "points").reshape(-1, 2))
        case "Keypoints":
            points = _floats(stored, "points").reshape(-1, 2)
            return Keypoints(points, _floats(stored, "scores"))
        case str() if name in _OF_NUMBERS:
            cls = _OF_NUMBERS[name]
            return cls(**{one.name: _number(stored, one.name) for one in fields(cls)})
        case _:
            raise ValueError("a region's shape is not known here")


def _flat(values: NDArray[Any]) -> list[float]:
    flat: list[float] = values.astype(np.float64).ravel().tolist()
    return flat


def _number(stored: Mapping[str, Any], name: str) -> float:
    value = stored.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"a region needs a number {name!r}")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(f"a region's {name!r} is too large a number") from error
    if not math.isfinite(number):
        raise ValueError(f"a region's {name!r} is not finite")
    return number


def _floats(stored: Mapping[str, Any], name: str) -> NDArray[np.float32]:
    values = stored.get(name)
    if not isinstance(values, list) or not all(type(one) in (int, float) for one in values):
        raise ValueError(f"a region needs numbers {name!r}")
    try:
        with np.errstate(over="ignore"):  # infinity, which no shape takes
            return np.array(values, np.float64).astype(np.float32)
    except OverflowError as error:
        raise ValueError(f"a region's {name!r} are too large numbers") from error


def _mask(stored: Mapping[str, Any]) -> Mask:
    height, width, packed = stored.get("height"), stored.get("width"), stored.get("packed")
    if type(height) is not int or type(width) is not int or not isinstance(packed, str):
        raise ValueError("a mask needs a height, a width and its pixels")
    if height < 1 or width < 1 or height * width > _MOST_PX:
        raise ValueError(f"a mask of {width} x {height} pixels is not read")
    count = -(-height * width // 8)
    data = _inflated(b64decode(packed, validate=True), count)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=height * width)
    return Mask(bits.reshape(height, width).astype(np.bool_))


def _inflated(packed: bytes, count: int) -> bytes:
    """Exactly so many bytes; not more memory than that is used, whatever is packed."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, count + 1)
    except zlib.error as error:
        raise ValueError("a mask's pixels are damaged") from error
    if len(data) != count or not inflater.eof or inflater.unused_data:
        raise ValueError("a mask's pixels are not as many as it says")
    return data
