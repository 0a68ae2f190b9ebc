"""Image files that are small and ask for much. Run as a program it reads a folder of them.

`python -m tests.security.bombs FOLDER` prints for each file, as a line of JSON, what became of it
and the largest memory in use by then, in MB; nothing but this process suffers from what it reads.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import PIL.Image

MAX_MEGAPIXELS = 4
# Of the processor, for all files together; the system ends the process then.
_MOST_CPU_S = 60


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, before: bytes = b"", data: bytes = b"") -> bytes:
    head = _chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    rows = _chunk(b"IDAT", data or zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + before + rows + _chunk(b"IEND", b"")


def bmp(width: int, height: int, *, data: bytes = b"") -> bytes:
    """8 bits in run lengths."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54 + 1024) + head + bytes(1024) + data


def gif(width: int, height: int, *, frame: int, before: bytes = b"") -> bytes:
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    image = b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x08\x01\x00\x00;"
    return b"GIF89a" + screen + before + image


def tiff(size: int, data: bytes, more: dict[int, int]) -> bytes:
    """Grey; `more` are tags with one number each."""
    tags = {256: size, 257: size, 258: 8, 259: 8, 262: 1, 277: 1, **more}
    at = 8 + 2 + 12 * len(tags) + 4
    for place in (273, 324):
        if place in tags:
            tags[place] = at
    rows = (struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(rows) + bytes(4) + data


def zeros(megabytes: int) -> bytes:
    """So many, compressed a thousand times."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(megabytes)) + packer.flush()


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is said again and again."""
    file = BytesIO()
    PIL.Image.new("L", (2000, 2000), 128).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    table = whole.rfind(b"\xff\xc4", 0, whole.rfind(b"\xff\xda"))
    return whole[:-2] + whole[table:-2] * count + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + sides
    return b"RIFF" + struct.pack("<I", 100) + head + bytes(80)


def jpeg(before: bytes, *, size: tuple[int, int] = (8, 8)) -> bytes:
    file = BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(file, "JPEG")
    whole = bytearray(file.getvalue())
    at = whole.find(b"\xff\xc0")
    whole[at + 5 : at + 9] = struct.pack(">2H", *size[::-1])
    return bytes(whole[:2]) + before + bytes(whole[2:])


BOMBS: dict[str, Callable[[], bytes]] = {
    "header.png": lambda: png(100_000, 100_000),
    "lie.png": lambda: png(2000, 2000),
    "parts.png": lambda: png(8, 8, before=_chunk(b"teSt", b"") * 500_000),
    "text.png": lambda: png(8, 8, before=_chunk(b"zTXt", b"a\0\0" + zeros(1)) * 300),
    "profile.png": lambda: png(8, 8, before=_chunk(b"iCCP", b"a\0\0" + zeros(300))),
    "data.png": lambda: png(8, 8, data=zeros(500)),
    "header.bmp": lambda: bmp(100_000, 100_000),
    "runs.bmp": lambda: bmp(3_900_000, 1, data=b"\0\2\0\xff" * 50 + b"\0\1"),
    "large runs.bmp": lambda: bmp(2001, 2000, data=b"\1\0\0\0" * 2000),
    "header.gif": lambda: gif(65535, 65535, frame=65535),
    "frame.gif": lambda: gif(8, 8, frame=65535),
    "comments.gif": lambda: gif(8, 8, frame=8, before=b"!\xfe\1a\0" * 500_000),
    "comment.gif": lambda: gif(8, 8, frame=8, before=b"!\xfe" + b"\1a" * 500_000 + b"\0"),
    "header.jpg": lambda: jpeg(b"", size=(65500, 65500)),
    "lie.jpg": lambda: jpeg(b"", size=(2000, 2000)),
    "junk.jpg": lambda: jpeg(b"\xff\xd8" + b"a" * 3_000_000),
    "parts.jpg": lambda: jpeg(b"\xff\xe5\0\2" * 500_000),
    "exif.jpg": lambda: jpeg((b"\xff\xe1\xff\xffExif\0\0" + b"a" * 65527) * 200),
    "scans.jpg": lambda: scans(3000),
    "header.tiff": lambda: tiff(100_000, zeros(1), {273: 0, 278: 100_000, 279: 1000}),
    "tile.tiff": lambda: tiff(1, zeros(400), {322: 20_000, 323: 20_000, 324: 0, 325: 400_000}),
    "strip.tiff": lambda: tiff(1000, zeros(400), {273: 0, 278: 2**31 - 1, 279: 400_000}),
    "samples.tiff": lambda: tiff(1000, zeros(40), {277: 60_000, 273: 0, 278: 1000, 279: 40_000}),
    "header.webp": lambda: webp(16383, 16383),
    "text.ppm": lambda: b"P3 1000 1000 255\n" + b"#\n" * 1_000_000,
    "codestream.jp2": lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08free" * 100_000,
    "empty.png": lambda: b"",
}  # fmt: skip


def main(folder: Path) -> None:
    """Read every file of the folder."""
    import logging

    from backends.errors import LabelpilotError
    from backends.label_studio.pictures import explain_other, read_upright, upright_size

    logging.disable()
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_CPU_S, _MOST_CPU_S))
    print(json.dumps({"file": "", "told": "", "peak_mb": _peak_mb()}), flush=True)
    for path in sorted(folder.iterdir()):
        told = "an image"
        try:
            explain_other(path, name=path.name, of_label_studio=False)
            upright_size(path, max_megapixels=MAX_MEGAPIXELS, name=path.name)
            read_upright(path, name=path.name)
        except LabelpilotError as error:
            told = f"{error.status} {error}"
        print(json.dumps({"file": path.name, "told": told, "peak_mb": _peak_mb()}), flush=True)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main(Path(sys.argv[1]))
