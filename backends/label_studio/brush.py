"""Masks as Label Studio stores them: run-length coded RGBA for brushes, PNG for bitmasks.

The run-length format is that of Karsten Schmidt's @thi.ng/rle-pack, most significant bit first:
32 bits count of bytes, 5 bits word size - 1, four times 4 bits size - 1, then tokens of 1 bit
"run", 2 bits which size, that many bits of length - 1, and one word (a run) or length words.
Only alpha, each fourth byte, says what belongs.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backends.errors import BadRequest
from micro_models.regions import Bools

_RLE_BITS = (3, 4, 8, 16)
_MAX_PIXELS = 2**29
_PNG_URL = "data:image/png;base64,"
_PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def encode_rle(mask: Bools) -> list[int]:
    """(height, width) bool -> the bytes of Label Studio's rle, those that its SDK would write."""
    flat = np.ascontiguousarray(mask).reshape(-1)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    runs = np.diff(ends, prepend=0) * 4
    longest = 2 ** _RLE_BITS[-1]
    # A run that is longer than one token can tell is cut; the last token holds the rest.
    parts = -(-runs // longest)
    lengths = np.full(int(parts.sum()), longest)
    lengths[np.cumsum(parts) - 1] = runs - (parts - 1) * longest
    size_index = np.repeat(np.searchsorted(np.array([8, 16, 256]), runs), parts)
    value = np.repeat(flat[ends - 1], parts) * 255
    bits = np.array(_RLE_BITS)[size_index]
    tokens = (((4 | size_index) << bits | (lengths - 1)) << 8) | value
    header = np.array([flat.size * 4, 0b00111_0010_0011_0111_1111])
    return _pack(np.concatenate([header, tokens]), np.concatenate([[32, 21], bits + 11]))


def _pack(tokens: NDArray[np.int64], bits: NDArray[np.int64]) -> list[int]:
    """Write numbers of at most 32 bits one after the other, most significant bit first."""
    ends = np.cumsum(bits)
    starts = ends - bits
    word = starts // 32
    # A token lies in one 32-bit word or across two; tokens share no bit, so adding is or-ing.
    placed = tokens.astype(np.uint64) << (64 - bits - starts % 32).astype(np.uint64)
    words = np.zeros(int(ends[-1]) // 32 + 2)
    words += np.bincount(word, (placed >> np.uint64(32)).astype(float), minlength=words.size)
    low = (placed & np.uint64(0xFFFFFFFF)).astype(float)
    words += np.bincount(word + 1, low, minlength=words.size)
    # The SDK always adds padding: a zero byte where the bits fill the last one.
    return list(words.astype(">u4").tobytes()[: int(ends[-1]) // 8 + 1])


def decode_rle(rle: Sequence[int], *, width_px: int, height_px: int) -> Bools:
    """The rle of a brush -> (height, width) bool: alpha > 0. Errors: `BadRequest`."""
    data = _bytes(rle)
    pixels = _pixels(width_px, height_px)
    head = int.from_bytes(data[:7], "big")  # 32 + 5 + 4 * 4 = 53 bits
    if len(data) < 7 or head >> 24 != pixels * 4 or (head >> 19) & 31 != 7:
        raise BadRequest(
            f"the rle of a brush holds {head >> 24} bytes, an image of {width_px} x {height_px} "
            f"pixels has {pixels * 4}",
            advice="original_width and original_height must be those of the brushed image",
        )
    sizes = [((head >> shift) & 15) + 1 for shift in (15, 11, 7, 3)]
    total_bits = len(data) * 8
    data += bytes(4)  # so that five bytes can be read at any token
    flat = np.zeros(pixels, dtype=np.bool_)
    bit, byte = 53, 0
    while byte < pixels * 4:
        window = int.from_bytes(data[bit >> 3 : (bit >> 3) + 5], "big") << (bit & 7)
        size = sizes[(window >> 37) & 3]
        count = ((window >> (37 - size)) & ((1 << size) - 1)) + 1
        is_run = window >> 39 & 1
        bit += 3 + size
        words = 1 if is_run else count
        if bit + 8 * words > total_bits:
            raise BadRequest("the rle of a brush ends before its mask does")
        alpha = slice(byte >> 2, (byte + count) >> 2)
        if is_run:
            flat[alpha] = (window >> (29 - size)) & 255 > 0
        else:
            flat[alpha] = _words(data, bit, count)[3 - (byte & 3) :: 4][: flat[alpha].size] > 0
        bit += 8 * words
        byte += count
    return flat.reshape(height_px, width_px)


def encode_png(mask: Bools) -> str:
    """(height, width) bool -> data URL of a PNG: black where the mask is, else transparent.

    The editor draws the same picture in 32 bits a pixel; two colours in one bit are a hundred
    times faster.
    """
    height, width = mask.shape
    rows = np.zeros((height, 1 + (width + 7) // 8), dtype=np.uint8)  # each row starts: no filter
    rows[:, 1:] = np.packbits(mask, axis=1)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            _chunk(b"IHDR", struct.pack(">2I5B", width, height, 1, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(6)),
            _chunk(b"tRNS", b"\x00\xff"),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 3)),
            _chunk(b"IEND", b""),
        ]
    )
    return _PNG_URL + base64.b64encode(png).decode("ascii")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def decode_png(url: Any, *, width_px: int, height_px: int) -> Bools:
    """The `imageDataURL` of a bitmask -> (height, width) bool: alpha > 0. Errors: `BadRequest`."""
    if not isinstance(url, str) or not url.startswith(_PNG_URL):
        raise BadRequest(f"imageDataURL of a bitmask starts with {_PNG_URL}")
    try:
        png = base64.b64decode(url[len(_PNG_URL) :], validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("imageDataURL of a bitmask is not base64") from None
    # The size stands in the first chunk: looked at before a huge image is decoded. The decoder
    # would take any other format, too, whose size is elsewhere.
    size = (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))
    if not png.startswith(_PNG_HEAD) or len(png) < 33:
        raise BadRequest("imageDataURL of a bitmask is not a PNG")
    if size != (width_px, height_px):
        raise BadRequest(f"imageDataURL holds {size} pixels, the image {(width_px, height_px)}")
    _pixels(width_px, height_px)
    try:
        image = cv2.imdecode(np.frombuffer(png, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.shape[:2] != (height_px, width_px):
        raise BadRequest("imageDataURL of a bitmask is not a PNG")
    plane = image if image.ndim == 2 else image[..., 3] if image.shape[2] == 4 else image.max(-1)
    return np.asarray(plane > 0)


def _bytes(rle: Sequence[int]) -> bytes:
    try:
        if isinstance(rle, int):  # of a number Python makes so many bytes
            raise TypeError
        return bytes(rle)
    except (TypeError, ValueError):
        raise BadRequest("the rle of a brush is a list of numbers 0..255") from None


def _pixels(width_px: int, height_px: int) -> int:
    if min(width_px, height_px) < 1 or width_px * height_px > _MAX_PIXELS:
        raise BadRequest(f"a mask of {width_px} x {height_px} pixels is not 1..{_MAX_PIXELS}")
    return width_px * height_px


def _words(data: bytes, bit: int, count: int) -> NDArray[np.uint8]:
    """`count` bytes that start at any bit."""
    start, shift = bit >> 3, bit & 7
    raw = np.frombuffer(data[start : start + count + 1] + b"\0", dtype=np.uint8)[: count + 1]
    pairs = raw[:-1].astype(np.uint16) << 8 | raw[1:]
    return (pairs >> (8 - shift)).astype(np.uint8)
