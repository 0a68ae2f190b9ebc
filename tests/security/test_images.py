"""Hostile image files: a picture or one clear sentence, soon, and within bounds of memory."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from io import BytesIO
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import MediaError
from backends.label_studio.pictures import explain_other, read_upright, upright_size
from tests.security.bombs import BOMBS, MAX_MEGAPIXELS

ROOT = Path(__file__).resolve().parents[2]
# What 4 megapixels take to decode and to turn, and what the allocator keeps of it.
MOST_MB = 160
# An honest picture is in these, beside what is not needed for it.
READABLE = {"data.png", "comment.gif", "strip.tiff", "runs.bmp", "lie.jpg", "exif.jpg"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What became of each bomb, in a process of its own whose processor time is limited."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, make in BOMBS.items():
        (folder / name).write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.bombs", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-1000:])
    return {line["file"]: line for line in lines}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_told_and_the_process_lives(
    told: dict[str, dict[str, object]], name: str
) -> None:
    answer = str(told[name]["told"])
    assert answer.startswith("424 ") or (answer == "an image" and name in READABLE), answer
    assert "Traceback" not in answer


def test_bombs_take_no_more_memory_than_honest_pictures(
    told: dict[str, dict[str, object]],
) -> None:
    before = float(str(told[""]["peak_mb"]))
    peaks = {name: float(str(line["peak_mb"])) - before for name, line in told.items()}
    assert {name: peak for name, peak in peaks.items() if peak > MOST_MB} == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("header.png", "100000 x 100000 pixels, more than the 4 megapixels allowed"),
        ("parts.png", "far more time or memory"),
        ("parts.jpg", "far more time or memory"),
        ("junk.jpg", "far more time or memory"),
        ("comments.gif", "far more time or memory"),
        ("scans.jpg", "far more time or memory"),
        ("tile.tiff", "far more time or memory"),
        ("large runs.bmp", "far more time or memory"),
        ("lie.png", "is damaged"),
        ("text.ppm", "is not an image that can be read"),
        ("empty.png", "is empty"),
    ],
)
def test_the_sentence_names_the_cause(
    told: dict[str, dict[str, object]], name: str, words: str
) -> None:
    assert words in str(told[name]["told"])


def files() -> list[bytes]:
    """Small honest files of every format and of the modes that are read in another way."""
    kinds = [
        ("RGB", "JPEG", {}), ("CMYK", "JPEG", {}), ("L", "JPEG", {"progressive": True}),
        ("RGBA", "PNG", {}), ("I;16", "PNG", {}), ("P", "PNG", {"transparency": 3}),
        ("1", "PNG", {}), ("P", "GIF", {"transparency": 3}), ("RGB", "BMP", {}),
        ("RGBA", "WEBP", {}), ("RGB", "WEBP", {"lossless": True}), ("F", "TIFF", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}), ("RGB", "AVIF", {}),
    ]  # fmt: skip
    made = []
    for mode, kind, options in kinds:
        file = BytesIO()
        image = PIL.Image.radial_gradient("L").resize((24, 16)).convert("RGB")
        image = image.convert("L").convert(mode) if mode in ("F", "I;16") else image.convert(mode)
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(file, kind, **({} if kind in ("GIF", "BMP") else {"exif": exif}), **options)
        made.append(file.getvalue())
    frames = [PIL.Image.new("RGB", (24, 16), color) for color in ("red", "green")]
    for kind in ("PNG", "WEBP", "GIF"):
        file = BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        made.append(file.getvalue())
    return made


HONEST = files()
PIECES = st.binary(max_size=6) | st.sampled_from(
    [b"\xff" * 4, b"\0" * 4, b"\xff\xda", b"\xff\xd9", b"\xff\xff\xff\x7f", b"IDAT", b"IEND"]
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    whole=st.sampled_from(HONEST),
    at=st.floats(0, 1),
    piece=PIECES,
    removed=st.integers(0, 12),
    kept=st.floats(0, 1) | st.just(1.0),
)
def test_changed_files_are_images_or_media_errors(
    tmp_path_factory: pytest.TempPathFactory,
    whole: bytes,
    at: float,
    piece: bytes,
    removed: int,
    kept: float,
) -> None:
    place = int(at * len(whole))
    changed = whole[:place] + piece + whole[place + removed :]
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(changed[: int(kept * len(changed))])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow tells of odd EXIF so
            explain_other(path, name="it", of_label_studio=False)
            size = upright_size(path, max_megapixels=MAX_MEGAPIXELS, name="it")
            image = read_upright(path, name="it")
    except MediaError:
        return
    assert (image.width_px, image.height_px) == size


@pytest.mark.parametrize("index", range(len(HONEST)))
def test_the_honest_ones_are_read(tmp_path: Path, index: int) -> None:
    (tmp_path / "a").write_bytes(HONEST[index])
    size = upright_size(tmp_path / "a", max_megapixels=1, name="a")
    image = read_upright(tmp_path / "a", name="a")
    assert {size, (image.width_px, image.height_px)} <= {(24, 16), (16, 24)}
