"""Video files -> upright RGB frames at an even rate, as a browser plays them.

A player shows times, and Label Studio's timeline counts frame n as the moment n / fps. So frame n
is the picture of that moment, whatever the container says: rates vary within a file, frame counts
are guesses, pictures are damaged. OpenCV decodes; it turns what a phone has marked as turned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from backends.errors import MediaError
from backends.interface import Clip, VideoFile
from backends.label_studio.pictures import explain_page
from micro_models.regions import Image

_HEAD_BYTES = 1 << 16
_MP4 = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
_MATROSKA = b"\x1aE\xdf\xa3"
# Containers that hold their own pictures. No playlist: one could name files of this machine.
_OTHERS = (_MATROSKA, b"OggS", b"FLV\x01", b"\x00\x00\x01\xba", b"0&\xb2u\x8ef\xcf\x11")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_SOUNDS = (b"ID3", b"fLaC", b"\xff\xfb", b"\xff\xf1")
_TS_PACKET_BYTES = 188
_DAMAGED_IN_A_ROW = 1000  # so many pictures may be missing before the rest is given up
_MOST_INDEX_BYTES = 1 << 28
_CURE = "convert it to MP4 with H.264 or to WebM, which browsers play too"


def explain_no_video(path: Path, *, name: str, of_label_studio: bool) -> None:
    """Raise `MediaError` that says what a file is, unless it is a container of video."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise MediaError(f"{name} is empty", advice="upload it again")
    explain_page(head, name=name, instead_of="a video", of_label_studio=of_label_studio)
    if head.startswith(_PICTURES) or _inner(head) == b"WEBP" or _is_still(head):
        raise MediaError(f"{name} is an image", advice="label it with an <Image> tag")
    if head.startswith(_SOUNDS) or _inner(head) == b"WAVE" or not _holds_pictures(path, head, name):
        raise MediaError(f"{name} is a sound without pictures", advice="use a file with video")
    if not _is_container(head):
        raise MediaError(f"{name} is not a video that can be read", advice=_CURE)


def measure(path: Path, *, max_megapixels: float, name: str) -> tuple[int, int, Clip]:
    """(width, height, length) of what can be decoded; sizes of upright frames in pixels.

    Decodes the file to its end. Errors: `MediaError`; `name` is the URL for the message.
    """
    with _opened(path, name) as capture:
        _check_size(capture, max_megapixels, name)
        claimed_fps = capture.get(cv2.CAP_PROP_FPS)
        shape: tuple[int, ...] = ()
        first, first_s, last, last_s = 0, 0.0, 0, 0.0
        for number, time_s in _grabbed(capture):
            if not shape:
                decoded, pixels = capture.retrieve()
                if not decoded:
                    continue
                shape, first, first_s, last_s = pixels.shape, number, time_s, time_s
            last, last_s = number, max(last_s, time_s)
    if not shape:
        raise MediaError(f"no picture of {name} can be decoded", advice=_CURE)
    count = last - first + 1
    fps = _rate(claimed_fps, count, last_s - first_s)
    frames = _slot(last_s - first_s, fps) + 1
    if count > 1 and frames == 1:
        raise MediaError(f"{name} does not say when its pictures are shown", advice=_CURE)
    return shape[1], shape[0], Clip(frames, fps)


def read_frames(file: VideoFile, *, name: str) -> Iterator[Image]:
    """All of `file.clip.frames`, one by one. Errors: `MediaError` if there is none."""
    given, image = 0, None
    with _opened(file.path, name) as capture:
        for slot, following in _pictures(capture, file.clip.fps):
            if image is not None:
                for _ in range(given, min(slot, file.clip.frames)):
                    yield image
                    given += 1
            image = following
    if image is None:
        raise MediaError(f"no picture of {name} can be decoded", advice=_CURE)
    for _ in range(given, file.clip.frames):
        yield image


def _pictures(capture: cv2.VideoCapture, fps: float) -> Iterator[tuple[int, Image]]:
    """Each picture and the frame from which it is shown; these never fall."""
    first_s: float | None = None
    latest = 0
    for _, time_s in _grabbed(capture):
        decoded, pixels = capture.retrieve()
        if not decoded:
            continue
        first_s = time_s if first_s is None else first_s
        latest = max(latest, _slot(time_s - first_s, fps))
        yield latest, Image(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8))


def _grabbed(capture: cv2.VideoCapture) -> Iterator[tuple[int, float]]:
    """The number and the time in seconds of each picture that can be decoded."""
    number, last = 0, -1
    while number - last <= _DAMAGED_IN_A_ROW:  # the end looks like damage, and costs nothing
        if capture.grab():
            last = number
            yield number, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        number += 1


def _slot(time_s: float, fps: float) -> int:
    return round(time_s * fps)


def _rate(claimed_fps: float, count: int, span_s: float) -> float:
    """Frames per second: what the container claims if the times bear it out, else their mean."""
    is_sane = math.isfinite(claimed_fps) and claimed_fps > 0
    if span_s <= 0 or count < 2:
        return float(claimed_fps) if is_sane else 25.0
    if is_sane and abs(claimed_fps * span_s - (count - 1)) <= max(1.0, count / 50):
        return float(claimed_fps)
    return (count - 1) / span_s


@contextmanager
def _opened(path: Path, name: str) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise MediaError(
            f"{name} has left the cache of this server",
            advice="try again; if it happens often, raise LABELPILOT_MEDIA_CACHE_MB",
        )
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise MediaError(f"{name} is damaged, cut off or in an unknown format", advice=_CURE)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    finally:
        capture.release()


def _check_size(capture: cv2.VideoCapture, max_megapixels: float, name: str) -> None:
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > max_megapixels * 1_000_000:
        raise MediaError(
            f"the frames of {name} have {width} x {height} pixels, more than the "
            f"{max_megapixels:g} megapixels allowed",
            advice="raise LABELPILOT_MEDIA_MAX_MEGAPIXELS, or scale the video down",
        )


def _is_container(head: bytes) -> bool:
    packets = head[: 3 * _TS_PACKET_BYTES : _TS_PACKET_BYTES]
    return (
        head[4:8] in _MP4
        or head.startswith(_OTHERS)
        or _inner(head) == b"AVI "
        or packets == b"GGG"  # MPEG-TS
    )


def _is_still(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS


def _inner(head: bytes) -> bytes:
    """The kind of content of a RIFF file."""
    return head[8:12] if head.startswith(b"RIFF") else b""


def _holds_pictures(path: Path, head: bytes, name: str) -> bool:
    """False for a container that surely has no track of pictures."""
    if head.startswith(_MATROSKA):
        return b"A_" not in head or b"V_" in head
    if head.startswith(b"OggS"):
        return b"theora" in head or not (b"\x01vorbis" in head or b"OpusHead" in head)
    return head[4:8] not in _MP4 or b"vide" in _mp4_index(path, name)


def _mp4_index(path: Path, name: str) -> bytes:
    """The moov box, which names the tracks. Errors: `MediaError` if it is not whole."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, header = int.from_bytes(head[:4]), 8
            if size == 1:
                size, header = int.from_bytes(file.read(8)), 16
            if size < header:
                break
            if head[4:] == b"moov" and size <= _MOST_INDEX_BYTES:
                index = file.read(size - header)
                if len(index) == size - header:
                    return index
            file.seek(size - header, 1)
    raise MediaError(
        f"{name} is damaged or cut off: its index of pictures is missing",
        advice="upload it again, whole",
    )
