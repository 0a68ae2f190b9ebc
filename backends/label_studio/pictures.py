"""Image files of tasks: their size and pixels, or in one sentence why there are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backends.errors import MediaError
from micro_models import pictures
from micro_models.regions import Image

_CURE_PAGE = {
    True: "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY; `labelpilot doctor` tests them",
    False: "use the address of the file itself, not of the page that shows it",
}


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
    with _told(name):
        width, height = pictures.upright_size(path)
    if width * height > max_megapixels * 1_000_000:
        raise MediaError(
            f"{name} has {width} x {height} pixels, more than the {max_megapixels:g} megapixels "
            "allowed",
            advice="raise LABELPILOT_MEDIA_MAX_MEGAPIXELS, or scale the image down",
        )
    return width, height


def read_upright(path: Path, *, name: str) -> Image:
    """Decode the first frame to upright RGB; what is transparent becomes white.

    Errors: `MediaError` for damaged files.
    """
    with _told(name):
        return pictures.read_upright(path)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Say what is wrong with the task's image, not with a file of our cache."""
    try:
        yield
    except pictures.NoImage as error:
        raise MediaError(
            f"{name} is not an image that can be read",
            advice="use JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
        ) from error
    except FileNotFoundError as error:
        raise MediaError(
            f"{name} has left the cache of this server",
            advice="try again; if it happens often, raise LABELPILOT_MEDIA_CACHE_MB",
        ) from error
    except pictures.CostlyImage as error:
        raise MediaError(
            f"{name} would take far more time or memory than its picture is worth",
            advice="open it in another program and save it again, as JPEG or PNG",
        ) from error
    except pictures.DamagedImage as error:
        raise MediaError(
            f"{name} is damaged: it cannot be decoded to its end",
            advice="open it in another program and save it again, or upload it anew",
        ) from error
