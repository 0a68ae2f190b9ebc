"""Image bytes -> upright RGB, as a browser shows them.

Chromium turns JPEG, PNG (wherever its eXIf lies) and AVIF by EXIF, and WebP not; the editor's
percentages are of what it shows. XMP turns nothing there, although Pillow would.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from PIL.Image import Transpose

from backends.errors import MediaError
from micro_models.regions import Image

# Formats whose decoders only decode: no EPS, PDF or others that start a program or read files.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM", "JPEG2000")
_ORIENTATION = 0x0112
_CURE_PAGE = {
    True: "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY; `labelpilot doctor` tests them",
    False: "use the address of the file itself, not of the page that shows it",
}
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
# What Pillow's decoders raise for damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
)


def explain_other(path: Path, *, name: str, of_label_studio: bool) -> None:
    """Raise `MediaError` that says what a file is, if it is a well-known thing but no image."""
    with path.open("rb") as file:
        head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise MediaError(f"{name} is empty", advice="upload it again")
    if b"<svg" in text:
        raise MediaError(f"{name} is an SVG drawing", advice="convert it to PNG or JPEG")
    explain_page(head, name=name, instead_of="an image", of_label_studio=of_label_studio)
    if _is_video(head):
        raise MediaError(
            f"{name} is a video",
            advice="label it with a <Video> tag, or import its frames as images",
        )
    if text.startswith((b"{", b"[", b"<?xml", b"%pdf")):
        raise MediaError(
            f"{name} is a document, not an image", advice="check the task's data for the right key"
        )


def explain_page(head: bytes, *, name: str, instead_of: str, of_label_studio: bool) -> None:
    """Raise `MediaError` if a file that begins with `head` is a web page."""
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        what = f"a web page instead of {instead_of}"
        if of_label_studio:
            what = f"Label Studio's login page instead of {instead_of}: the token is not accepted"
        raise MediaError(f"{name} is {what}", advice=_CURE_PAGE[of_label_studio])


def _is_video(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12] not in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
    return head.startswith((b"\x1aE\xdf\xa3", b"OggS")) or head[8:12] == b"AVI "


def upright_size(path: Path, *, max_megapixels: float, name: str) -> tuple[int, int]:
    """(width, height) in pixels as a browser shows the image, from its header alone.

    Errors: `MediaError` when it is no image, or has more pixels than allowed; `name` is the URL
    for the message.
    """
    with _told(name), _opened(path) as image:
        width, height = image.size
        sideways = _orientation(path, image) in (5, 6, 7, 8)
    if width * height > max_megapixels * 1_000_000:
        raise MediaError(
            f"{name} has {width} x {height} pixels, more than the {max_megapixels:g} megapixels "
            "allowed",
            advice="raise LABELPILOT_MEDIA_MAX_MEGAPIXELS, or scale the image down",
        )
    return (height, width) if sideways else (width, height)


def read_upright(path: Path, *, name: str) -> Image:
    """Decode the first frame to upright RGB; what is transparent becomes white.

    Errors: `MediaError` for damaged files.
    """
    with _told(name), _opened(path) as image:
        turn = _TURNS.get(_orientation(path, image))
        image.load()
        upright = _rgb(image) if turn is None else _rgb(image).transpose(turn)
        return Image(np.array(upright, dtype=np.uint8))


def _opened(path: Path) -> PIL.Image.Image:
    PIL.Image.init()  # registers all formats, once
    PIL.Image.MAX_IMAGE_PIXELS = None  # a limit that nobody set; `upright_size` checks ours
    return PIL.Image.open(path, formats=_FORMATS)


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
        while len(head := file.read(8)) == 8:
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
    values = np.asarray(image, dtype=np.float64)
    values = values * 255.0 if image.mode == "F" else np.floor(values / 256.0)
    return PIL.Image.fromarray(np.clip(np.nan_to_num(values), 0, 255).astype(np.uint8))


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a `MediaError`."""
    try:
        yield
    except PIL.UnidentifiedImageError as error:
        raise MediaError(
            f"{name} is not an image that can be read",
            advice="use JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
        ) from error
    except FileNotFoundError as error:
        raise MediaError(
            f"{name} has left the cache of this server",
            advice="try again; if it happens often, raise LABELPILOT_MEDIA_CACHE_MB",
        ) from error
    except _DAMAGE as error:
        raise MediaError(
            f"{name} is damaged: it cannot be decoded to its end",
            advice="open it in another program and save it again, or upload it anew",
        ) from error
