"""Image files -> upright RGB, as a browser shows them.

Chromium turns JPEG, PNG (wherever its eXIf lies) and AVIF by EXIF, and WebP not; annotations are
relative to what it shows. XMP turns nothing there, although Pillow would.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from PIL.Image import Resampling, Transpose

from micro_models.picture_limits import Steps, TooCostly, check_cost
from micro_models.regions import Image

# What browsers show, and TIFF: decoders that only decode. No EPS, PDF or others that start programs
# or read files, and none that is slow (PPM as text).
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF")
_ORIENTATION = 0x0112
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_SHORT = 3
_PNG_MARK_BYTES = 8
_MOST_CHUNKS = 100_000
_ROWS_AT_ONCE = 256
# What Pillow's decoders raise for damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)


class UnreadableImage(ValueError):
    """A file that is no whole image; the message begins with its name."""


class NoImage(UnreadableImage):
    """It is something else than an image."""


class DamagedImage(UnreadableImage):
    """It cannot be decoded to its end."""


class CostlyImage(UnreadableImage):
    """Decoding it would take far more time or memory than the picture is worth."""


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels as a browser shows the image, from its header alone.

    Errors: `UnreadableImage`, `FileNotFoundError`.
    """
    with _told(path), _opened(path) as image:
        width, height = image.size
        sideways = _orientation(path, image) in (5, 6, 7, 8)
    return (height, width) if sideways else (width, height)


def read_upright(path: Path, *, factor: float = 1.0) -> Image:
    """Decode the first frame to upright RGB; what is transparent becomes white.

    `factor`, above 0 and at most 1: how many times as wide and high it is to be, at least a pixel.
    A JPEG is decoded at about that size, which is several times as fast.

    Errors: `UnreadableImage`, `FileNotFoundError`.
    """
    with _told(path), _opened(path) as image:
        turn = _TURNS.get(_orientation(path, image))
        width, height = (max(round(side * factor), 1) for side in image.size)
        # Where a decoder can, it gives an image that is smaller, but not smaller than this.
        drafted = image.draft(None, (width, height)) if factor < 1 else None
        image.load()
        rgb = _rgb(image)
        if factor < 1:
            around = drafted[1] if drafted else (0, 0, *image.size)
            rgb = rgb.resize((width, height), Resampling.BOX, box=around)
        upright = rgb if turn is None else rgb.transpose(turn)
        return Image(np.array(upright, dtype=np.uint8))


@contextmanager
def _opened(path: Path) -> Iterator[PIL.Image.Image]:
    PIL.Image.init()  # registers all formats, once
    PIL.Image.MAX_IMAGE_PIXELS = None  # whoever has a limit looks at `upright_size` first
    with Steps(path) as file, PIL.Image.open(file, formats=_FORMATS) as image:
        check_cost(image, path)
        yield image


def _orientation(path: Path, image: PIL.Image.Image) -> int:
    """The EXIF orientation that is still to be applied, 1..8, read without decoding."""
    if image.format in ("WEBP", "TIFF"):  # browsers ignore WebP's, Pillow has turned TIFF
        return 1
    exif = _png_exif(path) if image.format == "PNG" else image.info.get("exif", b"")
    try:
        return _orientation_in(exif.removeprefix(b"Exif\0\0"))
    except struct.error:  # browsers show an image whose EXIF is damaged
        return 1


def _orientation_in(exif: bytes) -> int:
    """The tag's value in the first directory of a TIFF structure; 1 if there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
        if (tag, kind) == (_ORIENTATION, _SHORT):
            return int(value) if value in _TURNS else 1
    return 1


def _png_exif(path: Path) -> bytes:
    """The eXIf chunk, which may lie behind the pixels, where Pillow's header does not look."""
    with path.open("rb") as file:
        file.seek(_PNG_MARK_BYTES)
        for _ in range(_MOST_CHUNKS):
            if len(head := file.read(8)) < 8:
                break
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return file.read(min(length, 1 << 16))
            file.seek(length + 4, 1)
    return b""


def _rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        return PIL.Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    """Grey of 16 or 32 bits or floats -> 8 bits; 16 bits as browsers do, floats as 0..1."""
    grey = np.empty((image.height, image.width), np.uint8)
    for top in range(0, image.height, _ROWS_AT_ONCE):  # eight bytes a pixel, but not of all at once
        bottom = min(top + _ROWS_AT_ONCE, image.height)
        values = np.asarray(image.crop((0, top, image.width, bottom)), dtype=np.float64)
        values = values * 255.0 if image.mode == "F" else np.floor(values / 256.0)
        grey[top:bottom] = np.clip(np.nan_to_num(values), 0, 255)
    return PIL.Image.fromarray(grey)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into an `UnreadableImage`."""
    try:
        yield
    except PIL.UnidentifiedImageError as error:
        raise NoImage(
            f"{path} is not an image that can be read; use JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"
        ) from error
    except (TooCostly, MemoryError) as error:
        raise CostlyImage(
            f"{path} would take far more time or memory than its picture is worth; open it in "
            "another program and save it again"
        ) from error
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise DamagedImage(
            f"{path} is damaged: it cannot be decoded to its end; open it in another program and "
            "save it again"
        ) from error
