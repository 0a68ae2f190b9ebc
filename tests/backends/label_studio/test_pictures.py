import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.Image import Transpose

from backends.errors import MediaError
from backends.label_studio.pictures import (
    explain_other,
    read_upright,
    upright_size,
)

UNDO = {  # how a camera stores an upright picture, by orientation
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


def upright_picture() -> PIL.Image.Image:
    """48 x 32, one colour in each corner."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24], pixels[:16, 24:] = (250, 0, 0), (0, 250, 0)
    pixels[16:, :24], pixels[16:, 24:] = (0, 0, 250), (250, 250, 250)
    return PIL.Image.fromarray(pixels)


def saved(image: PIL.Image.Image, path: Path, orientation: int | None = None, **how) -> Path:
    if orientation:
        how["exif"] = PIL.Image.Exif()
        how["exif"][0x0112] = orientation
    image.save(path, **how)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_come_out_upright(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    stored = upright_picture()
    if (undo := UNDO[orientation]) is not None:
        stored = stored.transpose(undo)
    path = saved(stored, tmp_path / f"a.{suffix}", orientation, quality=95)
    image = read_upright(path, name="a")
    assert (image.width_px, image.height_px) == (48, 32)
    assert upright_size(path, max_megapixels=1, name="a") == (48, 32)
    off = np.abs(image.pixels.astype(int) - np.asarray(upright_picture()).astype(int))
    assert np.median(off) <= 5
    assert off[5:11, 5:19].max() < 40
    assert off[21:27, 29:43].max() < 40


def test_webp_is_not_turned_as_browsers_do_not(tmp_path: Path) -> None:
    path = saved(upright_picture(), tmp_path / "a.webp", 6)
    assert upright_size(path, max_megapixels=1, name="a") == (48, 32)
    assert read_upright(path, name="a").width_px == 48


@pytest.mark.parametrize("value", [0, 9, 300])
def test_a_senseless_orientation_is_ignored(tmp_path: Path, value: int) -> None:
    path = saved(upright_picture(), tmp_path / "a.jpg", value)
    assert upright_size(path, max_megapixels=1, name="a") == (48, 32)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    upright_picture().save(path, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_upright(path, name="a").width_px == 48


MODES = {
    "1": (PIL.Image.new("1", (4, 2), 1), (255, 255, 255)),
    "L": (PIL.Image.new("L", (4, 2), 77), (77, 77, 77)),
    "LA": (PIL.Image.new("LA", (4, 2), (0, 0)), (255, 255, 255)),
    "P": (PIL.Image.new("RGB", (4, 2), (10, 200, 30)).quantize(4), (10, 200, 30)),
    "RGBA": (PIL.Image.new("RGBA", (4, 2), (0, 0, 0, 128)), (127, 127, 127)),
    "I;16": (PIL.Image.fromarray(np.full((2, 4), 256 * 100 + 200, np.uint16)), (100, 100, 100)),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_png_becomes_what_a_browser_shows(tmp_path: Path, mode: str) -> None:
    picture, color = MODES[mode]
    image = read_upright(saved(picture, tmp_path / "a.png"), name="a")
    assert image.pixels.shape == (2, 4, 3)
    assert np.abs(image.pixels[1, 2].astype(int) - color).max() <= 1


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    picture = PIL.Image.new("P", (4, 2), 0)
    picture.putpalette([9, 9, 9, 200, 0, 0])
    image = read_upright(saved(picture, tmp_path / "a.png", transparency=0), name="a")
    assert image.pixels[0, 0].tolist() == [255, 255, 255]


def test_cmyk_jpeg_as_chromium_shows_it(tmp_path: Path) -> None:
    path = saved(PIL.Image.new("CMYK", (16, 16), (200, 30, 10, 40)), tmp_path / "a.jpg")
    off = read_upright(path, name="a").pixels[0, 0].astype(int) - (46, 189, 206)
    assert np.abs(off).max() <= 2


def test_floats_are_read_as_0_to_1(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(np.array([[0.0, 0.5, 2.0, np.nan]], np.float32))
    pixels = read_upright(saved(picture, tmp_path / "a.tiff"), name="a").pixels
    assert pixels[0, :, 0].tolist() == [0, 127, 255, 0]


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_upright(tmp_path / "a.gif", name="a").pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff"])
def test_a_truncated_file_is_told(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = saved(PIL.Image.fromarray(noise), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(MediaError, match=r"a\.x is damaged"):
        read_upright(path, name="a.x")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_anywhere_is_an_image_or_a_media_error(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(1), tmp_path / "a"
    outcomes = set()
    for suffix in ("png", "jpeg", "gif", "tiff", "webp"):
        body = io.BytesIO()
        upright_picture().save(body, suffix)
        for _ in range(40):
            damaged = bytearray(body.getvalue())
            for at in rng.integers(0, len(damaged), 8):
                damaged[at] = rng.integers(0, 256)
            path.write_bytes(damaged)
            try:
                upright_size(path, max_megapixels=1, name="a")
                outcomes.add(type(read_upright(path, name="a")).__name__)
            except MediaError:
                outcomes.add("MediaError")
    assert outcomes == {"Image", "MediaError"}


def test_the_pixel_limit_is_checked_from_the_header(tmp_path: Path) -> None:
    path = saved(PIL.Image.new("1", (20_000, 10_000)), tmp_path / "a.png")
    with pytest.raises(MediaError, match="20000 x 10000") as caught:
        upright_size(path, max_megapixels=199, name="a")
    assert "LABELPILOT_MEDIA_MAX_MEGAPIXELS" in caught.value.advice
    assert upright_size(path, max_megapixels=200, name="a") == (20_000, 10_000)


@pytest.mark.parametrize(
    ("body", "of_label_studio", "words"),
    [
        (b"", False, "is empty"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", False, "SVG"),
        (b"\n<!DOCTYPE html><html>", False, "a web page"),
        (b"<HTML><form action=/user/login>", True, "login page"),
        (b"\0\0\0\x18ftypmp42", False, "is a video"),
        (b"\x1aE\xdf\xa3webm", False, "is a video"),
        (b'{"detail": "x"}', True, "is a document"),
        (b"%PDF-1.7", False, "is a document"),
    ],
)
def test_what_is_no_image_is_named(
    tmp_path: Path, body: bytes, of_label_studio: bool, words: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(body)
    with pytest.raises(MediaError, match=words) as caught:
        explain_other(path, name="a", of_label_studio=of_label_studio)
    assert caught.value.advice


@pytest.mark.parametrize("body", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GARBAGE" * 9, b"\x89PNG\r\n"])
def test_other_bytes_are_no_image(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(body)
    explain_other(path, name="a", of_label_studio=False)
    with pytest.raises(MediaError):
        upright_size(path, max_megapixels=1, name="a")


def test_images_pass_for_images(tmp_path: Path) -> None:
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tiff", "avif"):
        explain_other(
            saved(upright_picture(), tmp_path / f"a.{suffix}"), name="a", of_label_studio=True
        )


def test_a_file_that_left_the_cache_is_told(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="left the cache"):
        read_upright(tmp_path / "gone", name="a")
