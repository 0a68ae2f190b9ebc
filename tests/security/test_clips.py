"""Hostile video files: a clip or one clear sentence, and no frame that is not there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import MediaError
from backends.interface import Clip, VideoFile
from backends.label_studio.videos import explain_no_video, measure, read_frames

FRAMES = 12


def clip(folder: Path, name: str, codec: str) -> bytes:
    path = folder / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, (64, 48))
    for number in range(FRAMES):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path.read_bytes()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("clips")
    return [clip(folder, "a.mp4", "mp4v"), clip(folder, "a.avi", "MJPG")]


def look(path: Path) -> Clip:
    explain_no_video(path, name="it", of_label_studio=False)
    width, height, found = measure(path, max_megapixels=1, name="it")
    file = VideoFile(path, "d" * 64, width, height, found)
    read = sum(1 for _ in read_frames(file, name="it"))
    assert read == found.frames
    return found


def test_honest_clips_have_their_frames(tmp_path: Path, honest: list[bytes]) -> None:
    for data in honest:
        (tmp_path / "a").write_bytes(data)
        assert look(tmp_path / "a").frames == FRAMES


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    index=st.integers(0, 1),
    at=st.floats(0, 1),
    piece=st.binary(max_size=8) | st.sampled_from([b"\xff" * 4, b"\x7f" + b"\xff" * 3]),
    kept=st.floats(0, 1) | st.just(1.0),
)
def test_changed_clips_are_clips_or_media_errors(
    tmp_path_factory: pytest.TempPathFactory,
    honest: list[bytes],
    index: int,
    at: float,
    piece: bytes,
    kept: float,
) -> None:
    data = honest[index]
    place = int(at * len(data))
    changed = data[:place] + piece + data[place + len(piece) :]
    path = tmp_path_factory.getbasetemp() / "changed-clip"
    path.write_bytes(changed[: int(kept * len(changed))])
    with suppress(MediaError):
        assert look(path).frames <= 100 * FRAMES


@pytest.mark.parametrize("count", [0, 1, 10**6, 2**31 - 1, 2**32 - 1])
def test_a_header_that_lies_of_its_frames_is_not_believed(
    tmp_path: Path, honest: list[bytes], count: int
) -> None:
    data = bytearray(honest[1])
    head = data.find(b"avih") + 8
    data[head + 16 : head + 20] = count.to_bytes(4, "little")
    (tmp_path / "a").write_bytes(data)
    with suppress(MediaError):
        assert look(tmp_path / "a").frames <= FRAMES


@pytest.mark.parametrize("side", [20_000, 2**16 - 1, 2**31 - 1])
def test_a_header_that_lies_of_its_size_is_told_or_not_believed(
    tmp_path: Path, honest: list[bytes], side: int
) -> None:
    data = bytearray(honest[1])
    for at in (data.find(b"avih") + 8 + 32, data.find(b"strf") + 8 + 4):
        data[at : at + 8] = side.to_bytes(4, "little") * 2
    (tmp_path / "a").write_bytes(data)
    with suppress(MediaError):
        look(tmp_path / "a")
