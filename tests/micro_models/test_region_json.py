"""Regions as JSON: the way there and back is exact, and nothing that is read can do harm."""

import json
import zlib
from base64 import b64encode

import numpy as np
import pytest

from micro_models.region_json import from_json, to_json
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    WholeImage,
)

RNG = np.random.default_rng(7)

SHAPES = [
    Box(0.1, 1 / 3, 12.7, 1e6),
    RotatedBox(5, 6.25, 3.5, 2, -33.3),
    Ellipse(5, 6, 3, 2, 400.125),
    Polygon(RNG.normal(50, 20, (7, 2)).astype(np.float32)),
    Mask(RNG.random((37, 53)) < 0.3),
    Mask(np.zeros((1, 1), np.bool_)),
    Mask(np.asfortranarray(RNG.random((16, 9)) < 0.5)),
    Point(-1.5, 0),
    Keypoints(RNG.normal(50, 20, (3, 2)).astype(np.float32), np.array([1, 0.3, 0], np.float32)),
    Keypoints(np.zeros((0, 2), np.float32), np.zeros(0, np.float32)),
    WholeImage(),
]


def same(one, other) -> bool:
    if type(one) is not type(other):
        return False
    return all(
        np.array_equal(value, getattr(other, name))
        and np.asarray(value).dtype.kind == np.asarray(getattr(other, name)).dtype.kind
        for name, value in vars(one).items()
        if isinstance(value, np.ndarray)
    ) and all(
        value == getattr(other, name)
        for name, value in vars(one).items()
        if not isinstance(value, np.ndarray)
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: type(shape).__name__)
def test_every_shape_comes_back_exactly(shape):
    region = Region("Größe/車 🚗", shape, float(np.float32(0.7)))
    back = from_json(json.loads(json.dumps(to_json(region), allow_nan=False)))
    assert (back.label, back.score) == (region.label, region.score)
    assert same(back.shape, shape)


def test_a_large_mask_is_small_as_text():
    pixels = np.zeros((4000, 6000), np.bool_)
    pixels[1000:2000, 1500:4000] = True
    text = json.dumps(to_json(Region("sky", Mask(pixels))))
    assert len(text) < 100_000
    assert from_json(json.loads(text)).shape.area_px == 2_500_000


def mask(height, width, data: bytes):
    packed = b64encode(data).decode()
    return {"shape": "Mask", "height": height, "width": width, "packed": packed}


HOSTILE = {
    "a bomb": mask(8, 8, zlib.compress(bytes(10**7))),
    "too little": mask(800, 800, zlib.compress(bytes(8))),
    "cut off": mask(80, 80, zlib.compress(RNG.bytes(800))[:-20]),
    "more behind it": mask(8, 8, zlib.compress(bytes(8)) + b"more"),
    "no zlib": mask(8, 8, b"12345678"),
    "an immense size": mask(10**9, 10**9, zlib.compress(bytes(8))),
    "no size": mask(0, 8, zlib.compress(b"")),
    "a negative size": mask(-8, -8, zlib.compress(bytes(8))),
    "a size that is no number": mask("8", True, zlib.compress(bytes(8))),
    "no base 64": {"shape": "Mask", "height": 8, "width": 8, "packed": "€€"},
    "no pixels": {"shape": "Mask", "height": 8, "width": 8},
    "a box inside out": {"shape": "Box", "x0": 5, "y0": 0, "x1": 1, "y1": 3},
    "an edge missing": {"shape": "Box", "x0": 5, "y0": 0, "x1": 9},
    "an edge that is text": {"shape": "Point", "x": "5", "y": 0},
    "an edge that is true": {"shape": "Point", "x": True, "y": 0},
    "no number": {"shape": "Point", "x": float("nan"), "y": 0},
    "an integer beyond floats": {"shape": "Point", "x": 10**400, "y": 0},
    "two points": {"shape": "Polygon", "points": [1, 2, 3, 4]},
    "half a point": {"shape": "Polygon", "points": [1, 2, 3, 4, 5, 6, 7]},
    "points as text": {"shape": "Polygon", "points": "123456"},
    "points of text": {"shape": "Polygon", "points": ["1", "2", "3", "4", "5", "6"]},
    "points beyond floats": {"shape": "Polygon", "points": [1, 2, 3, 4, 5, 1e300]},
    "points far beyond floats": {"shape": "Polygon", "points": [1, 2, 3, 4, 5, 10**400]},
    "fewer scores than points": {"shape": "Keypoints", "points": [1, 2], "scores": []},
    "another shape": {"shape": "Region"},
    "a shape that is a list": {"shape": ["Box"]},
    "no shape": {},
}


@pytest.mark.parametrize("stored", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_to_json_does_not_write_is_a_value_error(stored):
    with pytest.raises(ValueError):
        from_json({"label": "car", "score": 0.5, **stored})


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        "Box",
        {"shape": "WholeImage", "score": 1.0},
        {"shape": "WholeImage", "score": 1.0, "label": 5},
        {"shape": "WholeImage", "score": 1.5, "label": "a"},
        {"shape": "WholeImage", "label": "a"},
    ],
)
def test_what_is_no_region_is_a_value_error(stored):
    with pytest.raises(ValueError):
        from_json(stored)
