"""A backup's file: a zip of members and a manifest that has the SHA-256 of each."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from backends.errors import StateError

MANIFEST = "manifest.json"
FORMAT = 1
_MANIFEST_BYTES = 64_000_000
_CHUNK_BYTES = 1 << 20
# Folders and files that this program names; so no member leaves the folder it is put into.
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")

Tell = Callable[[str, float], None]


class BadBackup(StateError):
    """The file is no backup, or not whole, or not what it says; nothing was changed."""


@dataclass(frozen=True)
class Member:
    """What the manifest says of one; `size` in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a backup is: `revision` of the database's tables, `made_at` as ISO, UTC."""

    labelpilot: str
    revision: str
    made_at: str
    members: Mapping[str, Member]


class Writer:
    """Adds members to a backup that is being made."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._members: dict[str, Member] = {}

    def add(self, name: str, chunks: Iterator[bytes]) -> None:
        """Write a member. Errors: OSError."""
        digest, size = hashlib.sha256(), 0
        with self._file.open(name, "w", force_zip64=True) as member:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                member.write(chunk)
        self._members[name] = Member(digest.hexdigest(), size)

    def finish(self, *, labelpilot: str, revision: str, made_at: str) -> None:
        """Write the manifest."""
        manifest = asdict(Manifest(labelpilot, revision, made_at, self._members))
        self._file.writestr(MANIFEST, json.dumps({"format": FORMAT, **manifest}))


@contextmanager
def written(path: Path) -> Iterator[Writer]:
    """A backup that appears whole at the end, for its owner's eyes only, or not at all.

    Errors: `StateError` where it cannot be written, or something is there already.
    """
    if path.exists():
        raise StateError(f"{path.name} is there already", advice="choose another name")
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            part = Path(file.name)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                yield Writer(archive)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise StateError(
            f"the backup cannot be written: {error.strerror or type(error).__name__}",
            advice="name a folder that this user may write to and that has room",
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


class Reader:
    """A backup whose every member is what the manifest says."""

    def __init__(self, file: zipfile.ZipFile, manifest: Manifest) -> None:
        self._file, self.manifest = file, manifest

    def open(self, name: str) -> IO[bytes]:
        """A member's bytes."""
        return self._file.open(name)


@contextmanager
def opened(path: Path, tell: Tell = lambda _text, _part: None) -> Iterator[Reader]:
    """A backup, read and checked from its beginning to its end. Errors: `BadBackup`."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(zipfile.ZipFile(path))
            manifest = _manifest(file)
            _check_all(file, manifest, tell)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise BadBackup(
                f"{path.name} is no backup, or damaged", advice="take another copy of it"
            ) from error
        except OSError as error:
            raise BadBackup(f"{path.name} cannot be read: {error.strerror}") from error
        yield Reader(file, manifest)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file, a megabyte at a time."""
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _manifest(file: zipfile.ZipFile) -> Manifest:
    try:
        if file.getinfo(MANIFEST).file_size > _MANIFEST_BYTES:
            raise ValueError("too large")
        told: dict[str, Any] = json.loads(file.read(MANIFEST))
        if told["format"] != FORMAT:
            raise BadBackup(
                "the backup was made by a later release", advice="restore it with that one"
            )
        members = {str(name): Member(**one) for name, one in told["members"].items()}
        return Manifest(
            str(told["labelpilot"]), str(told["revision"]), str(told["made_at"]), members
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadBackup("the file has no manifest of a backup") from error


def _check_names(file: zipfile.ZipFile, manifest: Manifest) -> None:
    """No name that is there twice, that nothing is said of, or that could lead elsewhere."""
    names = [info.filename for info in file.infolist()]
    if sorted(names) != sorted([MANIFEST, *manifest.members]):
        raise BadBackup("the backup holds other files than its manifest names")
    for name in manifest.members:
        if not all(_PART.fullmatch(part) for part in name.split("/")):
            raise BadBackup(f"the backup names a file that is none of its own: {name[:80]!r}")


def _check_all(file: zipfile.ZipFile, manifest: Manifest, tell: Tell) -> None:
    """Every member is what the manifest says."""
    _check_names(file, manifest)
    total = sum(one.size for one in manifest.members.values()) or 1
    done = 0
    for name, member in manifest.members.items():
        tell("checks what is in the file", done / total)
        digest = hashlib.sha256()
        with file.open(name) as stored:
            for chunk in chunks(stored):
                digest.update(chunk)
        if Member(digest.hexdigest(), file.getinfo(name).file_size) != member:
            raise BadBackup(f"{name} is damaged", advice="take another copy of the backup")
        done += member.size
