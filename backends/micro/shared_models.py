"""Models in the store that machines share: each one file, named by what is in it."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from backends.artifacts import open_artifacts, sha256
from backends.errors import ModelMissing
from backends.micro.nouns import ModelVersion
from backends.settings import Settings

_FOLDER = "models"
_MOST_FILES = 100
_NOTE = ".archive"  # in a model's folder: the archive that it is a copy of
# Between a file's coming and its row is the time of one request.
_YOUNG_S = 3600.0
_SWEEP_EVERY_S = 3600.0


class SharedModels:
    """Puts models into the store and brings them; without a store it has none.

    Errors: `StateError` if the store cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._artifacts = open_artifacts(settings)
        self._swept_at = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether there is a store."""
        return self._artifacts is not None

    def has(self, version: ModelVersion) -> bool:
        """Whether it is there, as far as the database knows."""
        there = version.archive is not None and version.is_on_disk
        return self._artifacts is not None and there

    def wants(self, version: ModelVersion) -> bool:
        """Whether there is a store, and it has never had it."""
        return self._artifacts is not None and version.is_on_disk and version.archive is None

    def is_copy(self, folder: Path, version: ModelVersion) -> bool:
        """Whether a folder holds what the store has."""
        try:
            return (folder / _NOTE).read_text() == version.archive
        except OSError:
            return False

    def put(self, folder: Path, version: ModelVersion, room: Path) -> ModelVersion:
        """Store a model's folder; the version with its archive. `room`: where to pack it."""
        if self._artifacts is None:
            return version
        packed = room / "packed.tar"
        pack(folder, packed)
        version = replace(version, archive=sha256(packed), archive_bytes=packed.stat().st_size)
        self._artifacts.put(_name(version), packed)
        (folder / _NOTE).write_text(version.archive or "")
        return version

    def bring(self, version: ModelVersion, room: Path) -> Path:
        """A new folder in `room`. Errors: `ModelMissing` if it is not there, or damaged."""
        packed, folder = room / "packed.tar", room / "unpacked"
        if self._artifacts is None or not self._artifacts.get(_name(version), packed):
            raise _missing(version, "is not in the store any more")
        if sha256(packed) != version.archive:
            raise _missing(version, "is damaged in the store")
        try:
            unpack(packed, folder)
        except (tarfile.TarError, ValueError) as error:
            raise _missing(version, "is damaged in the store") from error
        (folder / _NOTE).write_text(version.archive)
        return folder

    def remove(self, versions: Sequence[ModelVersion]) -> None:
        """Delete what the store has of these."""
        for version in versions:
            if self._artifacts is not None and version.archive is not None:
                self._artifacts.remove(_name(version))

    def sweep(self, versions: Collection[ModelVersion]) -> None:
        """Now and then: delete what belongs to none of these, which are all there are."""
        if self._artifacts is None or time.monotonic() - self._swept_at < _SWEEP_EVERY_S:
            return
        self._swept_at = time.monotonic()
        known = {_name(one) for one in versions if one.archive is not None and one.is_on_disk}
        for name in self._artifacts.names(_FOLDER, older_than_s=_YOUNG_S):
            if name not in known:
                self._artifacts.remove(name)


def pack(folder: Path, archive: Path) -> None:
    """Write the files of a folder, not those of folders in it; the same for the same files."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                info = tarfile.TarInfo(path.name)
                info.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(info, file)


def unpack(archive: Path, folder: Path) -> None:
    """Write the files into a new folder. Errors: ValueError for anything but plain files."""
    folder.mkdir()
    with tarfile.open(archive, "r:") as tar:
        members = tar.getmembers()
        if len(members) > _MOST_FILES or not all(map(_is_plain, members)):
            raise ValueError("it holds something else than a model's files")
        tar.extractall(folder, members, filter="data")


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isreg() and Path(member.name).name == member.name != ""


def _name(version: ModelVersion) -> str:
    return f"{_FOLDER}/{version.id[:2]}/{version.id}-{version.archive}.tar"


def _missing(version: ModelVersion, why: str) -> ModelMissing:
    return ModelMissing(
        f"model {version.id} {why}",
        advice="start a training, or go back: `labelpilot models rollback`",
    )
