"""Pictures read smaller than they are; whole ones are tested with the backends' pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from micro_models.pictures import read_upright


def scene(width: int, height: int) -> PIL.Image.Image:
    """Smooth, and different at every edge."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    planes = np.broadcast_arrays(x[None], y[:, None], 255 - x[None])
    return PIL.Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


@pytest.mark.parametrize("factor", [0.9, 0.5, 0.4, 0.125, 0.03])
@pytest.mark.parametrize("size", [(160, 96), (157, 99)])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_smaller_picture_is_the_same_picture(
    tmp_path: Path, suffix: str, size: tuple[int, int], factor: float
) -> None:
    path = tmp_path / f"a.{suffix}"
    scene(*size).save(path, quality=95)
    small = read_upright(path, factor=factor)
    expected = round(size[0] * factor), round(size[1] * factor)
    assert (small.width_px, small.height_px) == expected
    whole = cv2.resize(read_upright(path).pixels, expected, interpolation=cv2.INTER_AREA)
    # Not even a fifth of a pixel is it moved.
    assert np.abs(small.pixels.astype(int) - whole).max() <= 3 + 0.2 * 255 / min(expected)


def test_it_is_turned_as_the_whole_picture_is(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    scene(160, 96).save(tmp_path / "a.jpg", exif=exif, quality=95)
    small = read_upright(tmp_path / "a.jpg", factor=0.5)
    assert (small.width_px, small.height_px) == (48, 80)
    off = small.pixels.astype(int) - read_upright(tmp_path / "a.jpg").pixels[::2, ::2]
    assert np.abs(off).max() <= 6


def test_a_pixel_is_left(tmp_path: Path) -> None:
    scene(90, 3).save(tmp_path / "a.jpg")
    assert read_upright(tmp_path / "a.jpg", factor=0.01).pixels.shape == (1, 1, 3)
