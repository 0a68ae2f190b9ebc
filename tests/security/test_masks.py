"""Masks, polygons and prompts whose numbers lie: refused, or as they should be, in bounds."""

from __future__ import annotations

import base64
import json
import math
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import BadRequest
from backends.label_studio.brush import decode_png, decode_rle, encode_png, encode_rle
from backends.label_studio.shapes import read_shape
from tests.backends.serving.conftest import point, predict_body
from tests.security.bombs import jpeg, png
from tests.security.limits import bounded

MASK = np.zeros((30, 40), np.bool_)
MASK[5:20, 7:31] = True
RLE = encode_rle(MASK)
URL = "data:image/png;base64,"
NUMBERS = st.sampled_from(
    [
        0,
        -1,
        1,
        40,
        2**31,
        10**9,
        2**63,
        10**400,
        0.5,
        1e308,
        math.nan,
        math.inf,
        None,
        "40",
        True,
        [],
    ]
)


def read(item: dict[str, Any]) -> Any:
    with bounded(cpu_s=30):
        return read_shape(item, (40, 30))


def brush(rle: Any, width: Any = 40, height: Any = 30) -> dict[str, Any]:
    value = {"format": "rle", "rle": rle, "brushlabels": ["a"]}
    return {
        "type": "brushlabels",
        "value": value,
        "original_width": width,
        "original_height": height,
    }


@settings(max_examples=200, deadline=None, derandomize=True)
@given(width=NUMBERS, height=NUMBERS)
def test_sizes_of_a_brush_that_lie_are_refused(width: Any, height: Any) -> None:
    if (width, height) in ((40, 30), (None, None)):
        return
    with pytest.raises(BadRequest):
        read(brush(RLE, width, height))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(at=st.integers(0, len(RLE)), piece=st.binary(max_size=9), removed=st.integers(0, 9))
def test_a_changed_rle_is_a_mask_or_refused(at: int, piece: bytes, removed: int) -> None:
    changed = [*RLE[:at], *piece, *RLE[at + removed :]]
    with suppress(BadRequest):
        assert decode_rle(changed, width_px=40, height_px=30).shape == (30, 40)


def claims(pixels: int, tokens: bytes) -> list[int]:
    """An rle of so many pixels; its words have 8 bits, its largest size 16."""
    return list((pixels * 4).to_bytes(4, "big") + tokens)


@pytest.mark.parametrize(
    ("rle", "size"),
    [
        (claims(10**9, b"\x39\x1b\xff" * 10), (40_000, 25_000)),
        (claims(2**29, b"\x39\x1b\xff" * 10), (2**15, 2**14)),
        (claims(1200, b""), (40, 30)),
        ([], (40, 30)),
        ([0] * 1_000_000, (40, 30)),
        ([255] * 1_000_000, (40, 30)),
        ([256] * 9, (40, 30)),
        ([-1] * 9, (40, 30)),
        ([0.5] * 9, (40, 30)),
        ([None] * 9, (40, 30)),
        ([[0]] * 9, (40, 30)),
        ("A" * 99, (40, 30)),
        ({"0": 1}, (40, 30)),
        (10**9, (40, 30)),
        (True, (40, 30)),
        (math.nan, (40, 30)),
        (None, (40, 30)),
    ],
)
def test_an_rle_that_lies_is_refused(rle: Any, size: tuple[int, int]) -> None:
    # 2**29 pixels are half a gigabyte that is asked for, and given back unused.
    with bounded(memory_mb=600), pytest.raises(BadRequest):
        decode_rle(rle, width_px=size[0], height_px=size[1])
    with pytest.raises(BadRequest):
        read(brush(rle, *size))


def test_an_rle_that_decodes_to_more_than_it_says_is_cut() -> None:
    mask = decode_rle(claims(1200, b"\x39\x1b\xff" + b"\xff" * 3), width_px=40, height_px=30)
    assert mask.shape == (30, 40)


def url(data: bytes) -> str:
    return URL + base64.b64encode(data).decode()


def other_format() -> bytes:
    """A TIFF of 2000 x 2000 pixels with the size of the mask where a PNG has its own."""
    _, encoded = cv2.imencode(".bmp", np.zeros((500, 500), np.uint8))
    data = bytearray(encoded.tobytes())
    data[16:24] = (40).to_bytes(4, "big") + (30).to_bytes(4, "big")
    return bytes(data)


def second_head() -> bytes:
    """A PNG with two heads, of which the second is large."""
    small, large = png(40, 30), png(3000, 3000)
    return small[:33] + large[8:33] + small[33:]


def hidden(width: int, height: int) -> bytes:
    """A JPEG whose first bytes pass for a PNG's head of 40 x 30 pixels."""
    data = bytearray(jpeg(b"\xff\xe0\0\x30" + b"a" * 0x2E, size=(width, height)))
    data[16:24] = (40).to_bytes(4, "big") + (30).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    "address",
    [
        url(png(100_000, 100_000)),
        url(png(40, 31)),
        url(png(40, 30)[:40]),
        url(second_head()),
        url(hidden(3000, 3000)),
        url(hidden(40, 30)),
        url(other_format()),
        url(b"\x89PNG\r\n\x1a\n" * 9),
        URL,
        URL + "!" * 1000,
        "data:image/svg+xml;base64,AAAA",
        "http://127.0.0.1/a.png",
        "",
        None,
        7,
        ["data:image/png;base64,"],
    ],
)
def test_a_bitmask_that_is_no_png_of_its_size_is_refused(address: Any) -> None:
    with bounded(memory_mb=50), pytest.raises(BadRequest):
        decode_png(address, width_px=40, height_px=30)
    value = {"imageDataURL": address, "bitmasklabels": ["a"]}
    item = {"type": "bitmasklabels", "value": value, "original_width": 40, "original_height": 30}
    with pytest.raises(BadRequest):
        read(item)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(at=st.integers(0, 100), piece=st.binary(max_size=9), removed=st.integers(0, 9))
def test_a_changed_bitmask_is_a_mask_or_refused(at: int, piece: bytes, removed: int) -> None:
    whole = base64.b64decode(encode_png(MASK)[len(URL) :])
    changed = whole[:at] + piece + whole[at + removed :]
    with suppress(BadRequest):
        assert decode_png(url(changed), width_px=40, height_px=30).shape == (30, 40)


def polygon(points: Any) -> dict[str, Any]:
    return {"type": "polygonlabels", "value": {"points": points, "polygonlabels": ["a"]}}


@pytest.mark.parametrize(
    "points",
    [
        [[math.nan, 1.0]] * 9,
        [[math.inf, 1.0], [0.0, 0.0], [9.0, 9.0]],
        [[10**400, 1], [0, 0], [9, 9]],
        [[1e308, 1e308], [-1e308, 0.0], [0.0, 1e308]],
        [[0, 0]] * 1000,
        [[0, 0], [50, 50]],
        [[0, 0], [50]],
        [[0, 0, 0]] * 4,
        [["0", "1"]] * 4,
        [[True, False]] * 4,
        [],
        {"0": [0, 0]},
        "points",
        [None] * 9,
    ],
)
def test_a_polygon_that_is_none_is_refused(points: Any) -> None:
    with pytest.raises(BadRequest):
        read(polygon(points))


@pytest.mark.parametrize("leaves", [False, True], ids=["inside", "leaving the picture"])
def test_a_million_points_are_read(leaves: bool) -> None:
    angle = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    radius = 60 if leaves else 40
    points = np.stack([50 + radius * np.cos(angle), 50 + radius * np.sin(angle)], axis=1)
    item = polygon(points.tolist())
    with bounded(cpu_s=30, memory_mb=400):
        shape = read_shape(item, (40, 30))
    assert 900 < len(shape.points) <= 1_000_016
    assert shape.points.min() >= 0


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    value=st.dictionaries(
        st.sampled_from(["x", "y", "width", "height", "rotation", "radiusX", "radiusY", "closed"]),
        NUMBERS | st.floats(-500, 500),
        min_size=3,
    )
)
def test_any_numbers_are_a_shape_on_the_picture_or_refused(value: dict[str, Any]) -> None:
    with suppress(BadRequest):
        read({"type": "rectanglelabels", "value": value})


@settings(max_examples=60, deadline=None, derandomize=True)
@given(width=NUMBERS, height=NUMBERS, x=NUMBERS)
def test_prompts_with_numbers_that_lie_are_answered_or_refused(
    client_of_module: TestClient, width: Any, height: Any, x: Any
) -> None:
    prompt = point(50, 50) | {"original_width": width, "original_height": height}
    prompt["value"]["x"] = x  # type: ignore[index]
    body = json.dumps(predict_body(prompts=(prompt,)))
    with bounded():
        answer = client_of_module.post("/predict", content=body)
    assert answer.status_code in (200, 400), answer.text
