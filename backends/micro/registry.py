"""Trained models on disk, by project and scope, and which of them answers.

Machines that share a store find them there, too; each keeps copies in its data folder.

A model's folder is put in its place by one rename, and its row is written after that: what was cut
off in between is a folder without a row, which `prune` removes. `.work` holds the folders of
trainings that go on, each locked by its process, `.lock` keeps apart those who change something.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from backends.errors import ModelMissing, StateError
from backends.micro.exchange import HELD_OUT, Trained
from backends.micro.nouns import ModelVersion
from backends.micro.shared_models import SharedModels
from backends.micro.store import MicroStore
from backends.micro.version_store import ANY
from backends.settings import Settings

log = logging.getLogger(__name__)

_MB = 1 << 20
# What has no row, or holds no lock where there are none, may be of one who is not at its end.
_YOUNG_S = 3600.0
# The longest training takes three times its budget of an hour; then nobody works there any more.
_OLD_S = 6 * 3600.0
_SLUG_LENGTH = 40


class Registry:
    """Keeps models. Safe among threads and processes that share the data folder."""

    def __init__(self, settings: Settings, store: MicroStore) -> None:
        self._root = settings.data_path / "micro"
        self._limit_bytes = settings.micro_disk_mb * _MB
        self._store = store
        self._shared = SharedModels(settings)

    def folder(self, version: ModelVersion) -> Path:
        """Where a model lies on this machine, or lay, or will."""
        return self._folder(version.project_key, version.scope, version.id)

    def is_there(self, version: ModelVersion) -> bool:
        """Whether a model can be had: it lies here, or in the store."""
        return self.folder(version).is_dir() or self._shared.has(version)

    def fetch(self, version: ModelVersion) -> Path:
        """Where a model lies; if another machine made it, it comes here now.

        Errors: `StateError`, also if the store cannot be used, `ModelMissing` if it has not got it.
        """
        folder = self.folder(version)
        if self._shared.has(version) and not self._shared.is_copy(folder, version):
            with self.workspace() as room:
                try:
                    new = self._shared.bring(version, room)
                except ModelMissing:
                    self._store.note_gone([version])
                    raise
                with self._alone(), _told():
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    if folder.is_dir():
                        folder.rename(room / "old")
                    new.rename(folder)
        return folder

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder for one training, on the same disk as the models; it goes when that ends.

        Errors: `StateError` if it cannot be made.
        """
        with _told():
            (self._root / ".work").mkdir(parents=True, exist_ok=True, mode=0o700)
            path, lock = _locked_name(self._root / ".work")
            path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            Path(lock.name).unlink(missing_ok=True)
            lock.close()

    def add(self, trained: Trained, version: ModelVersion) -> ModelVersion:
        """Take a model's folder, then write its row; a model that is there already stays.

        Errors: `StateError` if the disk, the store or the database cannot be written to.
        """
        target = self.folder(version)
        with self._alone(), _told():
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():  # the same answers; what it was held out from may have changed
                (trained.folder / HELD_OUT).replace(target / HELD_OUT)
                shutil.rmtree(trained.folder, ignore_errors=True)
            else:
                trained.folder.rename(target)
            os.utime(target)
        with self.workspace() as room, _told():
            version = self._shared.put(target, version, room)
        self._store.add_version(version)
        return version

    @property
    def shares(self) -> bool:
        """Whether there is a store."""
        return self._shared.is_open

    def share(self) -> None:
        """Put into the store what lies here from before there was one. Errors: `StateError`."""
        for version in self._store.all_versions():
            folder = self.folder(version)
            if self._shared.wants(version) and folder.is_dir():
                with self.workspace() as room, _told():
                    archive = self._shared.put(folder, version, room)
                self._store.note_archive(archive)

    def promote(
        self, project_key: str, scope: str, version_id: str, *, instead_of: str | None = ANY
    ) -> bool:
        """From now on this model answers for its scope.

        Only `instead_of` that one, None: where none answers; False if it is another one by now.
        Errors: `ModelMissing` if its files are gone, `StateError` if there is no such version.
        """
        with self._alone():
            is_here = self._folder(project_key, scope, version_id).is_dir()
            versions = self._store.versions(project_key, scope)
            these = [one for one in versions if one.id == version_id]
            if not is_here and not any(map(self._shared.has, these)):
                self._store.note_gone(these)
                raise ModelMissing(
                    f"the files of model {version_id} are gone",
                    advice="promote another one, or train anew",
                )
            return self._store.promote(project_key, scope, version_id, instead_of=instead_of)

    def rollback(self, project_key: str, scope: str) -> ModelVersion:
        """Let the newest model that is older than the current one and has answered answer again.

        Errors: `ModelMissing` if there is none with its files.
        """
        versions = self._store.versions(project_key, scope)
        made_at = next((one.made_at for one in versions if one.is_current), float("inf"))
        for one in versions:
            has_answered = one.promoted_at is not None and one.made_at < made_at
            if has_answered and not one.is_current and self.is_there(one):
                self.promote(project_key, scope, one.id)
                return one
        raise ModelMissing(
            f"there is no model of {scope} before this one",
            advice="`labelpilot models list` shows what there is",
        )

    def prune(self) -> None:
        """Remove old models until all are within the limit, but none that answers; and leftovers.

        A version whose files are gone is noted as such. What cannot be removed stays.
        """
        if not self._root.is_dir():
            return
        with self._alone():
            self._sweep_work()
            self._store.forget_old()
            versions = self._store.all_versions()
            self._shared.sweep(versions)
            folders = {self.folder(one): one for one in versions}
            self._note_missing(versions)
            kept = []
            for found in _models(self._root):
                version = folders.get(found.path)
                if version is not None and (version.is_on_disk or version.is_current):
                    kept.append((found, version))
                elif found.changed_at < time.time() - _YOUNG_S:
                    self._remove(found.path)
            self._shrink(kept)
            self._shrink_store(versions)

    def _shrink_store(self, versions: list[ModelVersion]) -> None:
        there = [one for one in versions if self._shared.has(one)]
        total = sum(one.archive_bytes for one in there)
        for version in sorted(there, key=lambda one: one.made_at):
            if total <= self._limit_bytes:
                return
            if not version.is_current:
                self._store.note_gone([version])
                self._shared.remove([version])
                total -= version.archive_bytes

    def _shrink(self, kept: list[tuple[_Found, ModelVersion]]) -> None:
        total = sum(found.size for found, _ in kept)
        for found, version in sorted(kept, key=lambda one: one[1].made_at):
            if total <= self._limit_bytes:
                return
            if not version.is_current:
                # Noted first: a row without files would be offered, files without a row are not.
                if not self._shared.has(version):
                    self._store.note_gone([version])
                self._remove(found.path)
                total -= found.size

    def _note_missing(self, versions: list[ModelVersion]) -> None:
        gone = [one for one in versions if one.is_on_disk and not self.is_there(one)]
        if gone:
            ids = ", ".join(one.id for one in gone[:10])
            log.warning("the files of %d models are gone: %s", len(gone), ids)
            self._store.note_gone(gone)

    def _sweep_work(self) -> None:
        """Remove what trainings left that were killed: the system took their locks back."""
        for path in (self._root / ".work").glob("*"):
            if path.suffix == ".lock":
                continue
            lock = _lock(_lock_path(path))
            if lock is None and _changed_at(path) > time.time() - _OLD_S:
                continue
            shutil.rmtree(path, ignore_errors=True)
            if lock is not None:
                _lock_path(path).unlink(missing_ok=True)
                lock.close()

    def _remove(self, folder: Path) -> None:
        """First under another name: no half of a model is ever where a model should be."""
        trash = self._root / ".work" / f"trash-{secrets.token_hex(8)}"
        with suppress(OSError):
            trash.parent.mkdir(exist_ok=True, mode=0o700)
            folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
        with suppress(OSError):  # others are in it
            folder.parent.rmdir()
            folder.parent.parent.rmdir()

    def _folder(self, project_key: str, scope: str, version_id: str) -> Path:
        if not re.fullmatch("[0-9a-f]{1,64}", version_id):
            raise StateError(f"{version_id[:64]!r} is no version of a model")
        return self._root / _project_name(project_key) / _slug(scope) / version_id

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else adds, promotes or removes a model meanwhile."""
        with _told():
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self._root / ".lock").open("ab")
        with lock:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True)
class _Found:
    """A model's folder on disk, its bytes, and when it came there."""

    path: Path
    size: int
    changed_at: float


def _models(root: Path) -> list[_Found]:
    return [
        _Found(path, _size(path), _changed_at(path))
        for path in root.glob("[!.]*/*/*")
        if path.is_dir()
    ]


def _size(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                total += path.stat().st_size
    return total


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def _project_name(key: str) -> str:
    """A project's key is two numbers and a point; whatever else is told, it stays a name."""
    return key if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", key) else _slug(key)


def _slug(text: str) -> str:
    """A name for a folder, another one for each text.

    >>> _slug("label Größe/M")
    'label-Gr-e-M-13d50f1a'
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:_SLUG_LENGTH]
    return f"{plain or 'scope'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _locked_name(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new name in the folder, and the lock that says that it is in use."""
    while True:
        path = folder / secrets.token_hex(8)
        lock = _lock(_lock_path(path))
        if lock is None:  # a file system without locks
            return path, _lock_path(path).open("ab")
        # Who sweeps may have removed the file before it was locked.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), _lock_path(path).stat()):
                return path, lock
        lock.close()


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _lock(path: Path) -> IO[bytes] | None:
    """The file, open and locked, or None if somebody holds it or there are no locks."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.warning("models cannot be kept: %s", error)
        raise StateError(
            "the folder for models cannot be written to",
            advice="see whether the disk is full, and who may write to the data folder",
        ) from error
