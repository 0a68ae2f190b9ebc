import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter.brush import decode_rle as sdk_decode
from label_studio_sdk.converter.brush import encode_rle as sdk_encode
from label_studio_sdk.converter.brush import mask2rle

from backends.errors import BadRequest
from backends.label_studio.brush import decode_png, decode_rle, encode_png, encode_rle


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.001, 0.1, 0.5, 0.99, 1.0]))
    return rng.random((height, width)) < density


def decoded(rle, mask):
    return decode_rle(rle, width_px=mask.shape[1], height_px=mask.shape[0])


@settings(deadline=None)  # a busy machine is no error
@given(masks())
def test_rle_is_byte_for_byte_that_of_the_sdk(mask):
    rle = encode_rle(mask)
    assert rle == mask2rle(mask.astype(np.uint8) * 255)
    assert np.array_equal(decoded(rle, mask), mask)
    alpha = sdk_decode(rle).reshape(*mask.shape, 4)[..., 3]
    assert np.array_equal(alpha == 255, mask)


@pytest.mark.parametrize("run", [1, 2, 4, 63, 64, 16383, 16384, 16385, 32768, 32769])
def test_runs_around_every_token_size(run):
    mask = np.zeros((1, run + 3), dtype=bool)
    mask[0, 1 : run + 1] = True
    assert encode_rle(mask) == mask2rle(mask.astype(np.uint8) * 255)
    assert np.array_equal(decoded(encode_rle(mask), mask), mask)


@settings(deadline=None)  # a busy machine is no error
@given(st.lists(st.integers(0, 255), min_size=4, max_size=400))
def test_any_bytes_of_the_sdk_decode_to_their_alpha(values):
    values = values[: len(values) // 4 * 4]
    rle = sdk_encode(np.array(values, dtype=np.uint8))
    mask = decode_rle(rle, width_px=len(values) // 4, height_px=1)
    assert mask[0].tolist() == [alpha > 0 for alpha in values[3::4]]


def literal_rle(values, *, size_bits=8):
    """What the editor writes and the SDK does not: bytes one by one, without runs."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    for start in range(0, len(values), 100):
        block = values[start : start + 100]
        bits += f"010{len(block) - 1:08b}" + "".join(f"{value:08b}" for value in block)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


@settings(deadline=None)  # a busy machine is no error
@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_literal_blocks_decode(flags):
    values = [byte for flag in flags for byte in (7, 8, 9, 255 * flag)]
    assert decode_rle(literal_rle(values), width_px=len(flags), height_px=1)[0].tolist() == flags


@pytest.mark.parametrize(
    "rle",
    [
        [], [0] * 7, [256], [-1], ["a"], [1.5], "text", None, 5, [None], [[]],
        [0, 0, 0, 16, 57, 27, 255],  # a header without tokens
        [0, 0, 0, 16, 0, 0, 0, 0, 0],  # a word size of 1
        [255] * 100,
    ],
)  # fmt: skip
def test_a_broken_rle_is_a_bad_request(rle):
    with pytest.raises(BadRequest):
        decode_rle(rle, width_px=2, height_px=2)


def test_an_rle_of_another_size_says_so():
    with pytest.raises(BadRequest, match="an image of 4 x 3 pixels has 48"):
        decode_rle(encode_rle(np.ones((4, 4), dtype=bool)), width_px=4, height_px=3)


@settings(deadline=None)  # a busy machine is no error
@given(masks())
def test_png_is_inverse(mask):
    url = encode_png(mask)
    assert np.array_equal(decode_png(url, width_px=mask.shape[1], height_px=mask.shape[0]), mask)


def test_a_png_as_the_editor_draws_it_decodes():
    import base64

    import cv2

    mask = np.eye(9, 5, dtype=bool)
    rgba = np.zeros((9, 5, 4), dtype=np.uint8)
    rgba[mask] = (0, 0, 0, 255)
    png = base64.b64encode(cv2.imencode(".png", rgba)[1].tobytes()).decode()
    assert np.array_equal(decode_png("data:image/png;base64," + png, width_px=5, height_px=9), mask)


def test_a_png_has_two_colours_black_and_transparent():
    import base64
    import io

    from PIL import Image

    png = base64.b64decode(encode_png(np.eye(3, dtype=bool)).split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    assert np.array_equal(pixels[..., 3], np.eye(3) * 255)
    assert not pixels[..., :3].any()


@pytest.mark.parametrize(
    "url",
    [None, 5, "", "data:image/png;base64,", "data:image/png;base64,%%%", "data:text/plain,hello",
     "data:image/png;base64,AAAA", encode_png(np.ones((3, 3), dtype=bool)),
     encode_png(np.ones((2, 2), dtype=bool))[:70], "file:///etc/passwd"],
)  # fmt: skip
def test_a_broken_png_is_a_bad_request(url):
    with pytest.raises(BadRequest):
        decode_png(url, width_px=2, height_px=2)


@pytest.mark.parametrize(("width_px", "height_px"), [(0, 5), (10**6, 10**6), (-2, -2)])
def test_impossible_sizes_are_a_bad_request(width_px, height_px):
    with pytest.raises(BadRequest):
        decode_rle(encode_rle(np.ones((2, 2), dtype=bool)), width_px=width_px, height_px=height_px)


def test_40_megapixels_are_coded_in_a_fraction_of_a_second():
    y, x = np.ogrid[:5000, :8000]
    mask = ((x - 4000) / 2000) ** 2 + ((y - 2500) / 1600) ** 2 < 1
    start = time.perf_counter()
    rle = encode_rle(mask)
    encode_png(mask)
    back = decode_rle(rle, width_px=8000, height_px=5000)
    # 0.05 s on a slow core, all three; the SDK takes 0.34 s to encode and 0.1 s to decode.
    assert time.perf_counter() - start < 1.0
    assert np.array_equal(back, mask)
