"""Small videos that tests draw, and what goes wrong with videos."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".webm": "VP80", ".mkv": "VP90", ".avi": "MJPG"}
_PARENTS = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")


def write_clip(path: Path, frames: Iterable[Pixels], *, fps: float = 25) -> Path:
    """Encode (height, width, 3) RGB frames; the suffix says how."""
    writer = None
    for pixels in frames:
        if writer is None:
            height, width = pixels.shape[:2]
            code = cv2.VideoWriter.fourcc(*CODECS[path.suffix])
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, (width, height))
            assert writer.isOpened()
        writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert writer is not None
    writer.release()
    return path


def scene(boxes: Iterable[tuple[int, int, int, int, tuple[int, int, int]]]) -> Pixels:
    """A grey frame of 160 x 120 with filled boxes (x0, y0, x1, y1, colour)."""
    pixels = np.full((120, 160, 3), 90, np.uint8)
    for x0, y0, x1, y1, colour in boxes:
        pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = colour
    return pixels


def numbered(count: int) -> list[Pixels]:
    """Frames of 96 x 64 that show their number in bright and dark stripes; see `number`."""
    bits = [[n >> bit & 1 for bit in range(6)] for n in range(count)]
    return [
        np.repeat(np.array(row, np.uint8) * 200 + 25, 16)[None, :, None].repeat(64, 0).repeat(3, 2)
        for row in bits
    ]


def number(pixels: Pixels) -> int:
    """The number of a frame of `numbered`."""
    stripes = pixels[:, 8::16].mean(axis=(0, 2)) > 125
    return sum(int(bright) << bit for bit, bright in enumerate(stripes))


def change_box(data: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """An MP4 file with the content of each box of this kind changed; moov must come last."""
    changed, at = b"", 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + size]
        if name in _PARENTS:
            content = change_box(content, kind, change)
        elif name == kind:
            content = change(content)
        changed += struct.pack(">I4s", len(content) + 8, name) + content
        at += size
    return changed


def turned(data: bytes, quarters: int) -> bytes:
    """An MP4 that says it is to be shown turned clockwise, as those of phones do."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
    turn = (cos, sin, 0, -sin, cos, 0, 0, 0)
    matrix = struct.pack(">9i", *(value << 16 for value in turn), 1 << 30)
    return change_box(data, b"tkhd", lambda head: head[:40] + matrix + head[76:])


def timed(data: bytes, frames_at: list[int]) -> bytes:
    """An MP4 whose pictures are shown at these ticks, a tick being the old time between two."""

    def change(content: bytes) -> bytes:
        _, _, _, tick = struct.unpack(">4I", content)
        lasts = [*(after - at for at, after in pairwise(frames_at)), 1]
        entries = b"".join(struct.pack(">2I", 1, ticks * tick) for ticks in lasts)
        return content[:4] + struct.pack(">I", len(lasts)) + entries

    def no_end(edits: bytes) -> bytes:
        return edits[:8] + struct.pack(">I", 1 << 30) + edits[12:]

    return change_box(change_box(data, b"stts", change), b"elst", no_end)


def index_first(data: bytes) -> bytes:
    """An MP4 with its index before its pictures, as files for the web are."""
    at = data.index(b"moov") - 4
    moved = len(data) - at

    def change(content: bytes) -> bytes:
        count = struct.unpack_from(">I", content, 4)[0]
        places = struct.unpack_from(f">{count}I", content, 8)
        return content[:8] + struct.pack(f">{count}I", *(place + moved for place in places))

    (start,) = struct.unpack_from(">I", data)  # ftyp stays in front
    return data[:start] + change_box(data[at:], b"stco", change) + data[start:at]


def damaged(avi: bytes, numbers: Iterable[int]) -> bytes:
    """An AVI of JPEGs some of whose pictures are overwritten."""
    data = bytearray(avi)
    starts = [at for at in range(len(data)) if data[at : at + 3] == b"\xff\xd8\xff"]
    for number in numbers:
        at = starts[number]
        (size,) = struct.unpack_from("<I", data, at - 4)
        data[at : at + size] = b"\x55" * size
    return bytes(data)


def sound() -> bytes:
    """A WAV of half a second."""
    body = io.BytesIO()
    with wave.open(body, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(8000))
    return body.getvalue()


def picture(kind: str) -> bytes:
    """An image in a format of Pillow."""
    body = io.BytesIO()
    PIL.Image.new("RGB", (30, 20)).save(body, kind)
    return body.getvalue()
