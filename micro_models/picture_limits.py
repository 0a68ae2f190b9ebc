"""What decoding an image may cost beyond its pixels: small files may ask for hours or gigabytes.

How many pixels are allowed is for callers to say. This bounds the work for each of them.
"""

from __future__ import annotations

import io
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import PIL.Image

# A whole PNG of 200 MB in chunks of 4 kB is read in 150,000 steps. Pillow parses in Python, holding
# up every other thread: some microseconds each.
_MOST_READS = 300_000
# Encoders write about ten. Each costs as much as all pixels, and may be a few bytes of the file.
_MOST_SCANS = 64
# An image may fill a part of one tile; tiles of ordinary files are 256 to 1024 pixels wide.
_LARGEST_TILE_PX = 1 << 24
# Run lengths of BMP are decoded in Python: a second for so many pixels.
_LARGEST_RLE_PX = 4_000_000
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
# In the data of a scan FF is followed by 00 or by a restart marker, D0..D7.
_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


class TooCostly(Exception):
    """Decoding would take far more time or memory than the picture is worth."""


class Steps(io.BufferedReader):
    """A file that is read in a limited number of calls. Errors: `TooCostly`."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._left = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        self._left -= 1
        if self._left < 0:
            raise TooCostly("it is in too many parts")
        return super().read(size)


def check_cost(image: PIL.Image.Image, path: Path) -> None:
    """Look at an opened image before it is decoded. Errors: `TooCostly`."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        _check_scans(path)
    elif image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        tile = int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_HEIGHT, 0))
        if tile > max(_LARGEST_TILE_PX, pixels):
            raise TooCostly("its tiles are far larger than the picture")
    elif image.format == "BMP" and pixels > _LARGEST_RLE_PX:
        codecs = {tile.codec_name for tile in getattr(image, "tile", ())}
        if "bmp_rle" in codecs:
            raise TooCostly("it is a large picture in run lengths")


def _check_scans(path: Path) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        scans = sum(kind == _START_OF_SCAN for kind in _markers(data))
    if scans > _MOST_SCANS:
        raise TooCostly("it has too many scans")


def _markers(data: mmap.mmap) -> Iterator[int]:
    """The kinds of a JPEG's segments, to its end or to more than anybody reads."""
    at = 2
    for _ in range(_MOST_READS):
        found = _NEXT_MARKER.search(data, at)
        if found is None or found[1][0] == _END_OF_IMAGE:
            return
        yield found[1][0]
        at = found.end()
        at += int.from_bytes(data[at : at + 2], "big")
