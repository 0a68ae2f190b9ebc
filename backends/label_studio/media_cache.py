"""Files of tasks on this machine: named by the SHA-256 of their bytes, found by URL, bounded.

`blobs/<aa>/<digest>` holds the bytes, `urls/<aa>/<digest of the key>.json` what is known of a URL.
Both appear by an atomic rename, so that processes may share the folder and a full disk leaves
nothing broken behind.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from backends.artifacts import Artifacts, sha256
from backends.errors import MediaError, StateError

_log = logging.getLogger(__name__)
_LEAVE_FREE = 0.9  # pruning stops at this part of the limit, so that it runs rarely
_TOUCH_AFTER_S = 60.0
_MOST_IN_MEMORY = 20_000  # about 1 kB each; those that are forgotten are read from disk
_HASHED_BYTES = 100_000_000
_YOUNG_S = 120.0  # files used this recently are never pruned: someone is about to read them


@dataclass(frozen=True)
class Entry:
    """What is known of a URL; `checked_at` is in seconds since 1970, the last time it was so.

    `frames` and `fps` are 0 for an image.
    """

    digest: str
    width_px: int
    height_px: int
    etag: str = ""
    last_modified: str = ""
    checked_at: float = 0.0
    frames: int = 0
    fps: float = 0.0


class MediaCache:
    """A bounded folder of files. Safe among threads and processes.

    `artifacts`: the store where machines find what others of them have fetched.
    """

    def __init__(
        self, folder: Path, *, limit_bytes: int, artifacts: Artifacts | None = None
    ) -> None:
        self._folder, self._limit_bytes, self._artifacts = folder, limit_bytes, artifacts
        self._entries: dict[str, Entry] = {}
        self._touched: dict[str, float] = {}
        self._lock = threading.Lock()
        self._bytes_since_prune = limit_bytes  # the first store looks at what is there
        with _full_disk_told():
            for part in ("blobs", "urls", "part"):
                (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, digest: str) -> Path:
        """Where the bytes with this digest lie, if they are here."""
        return self._folder / "blobs" / digest[:2] / digest

    def find(self, key: str) -> Entry | None:
        """What is known of a URL whose bytes are here; from memory after the first time."""
        entry = self._entries.get(key) or self._read(key)
        if entry is not None and self._use(entry.digest):
            return entry
        return self._of_others(key)

    def note(self, key: str, entry: Entry) -> None:
        """Remember what is known of a URL."""
        with self._lock:
            if len(self._entries) > _MOST_IN_MEMORY:
                self._entries.clear()
            before = self._entries.get(key)
            self._entries[key] = entry
        with _full_disk_told(), self._part() as part:
            part.write_text(json.dumps(asdict(entry)))
            _move(part, self._url_path(key))
        is_news = before is None or before.digest != entry.digest
        if self._artifacts is not None and is_news:
            for path in (self.path(entry.digest), self._url_path(key)):
                self._artifacts.put_later(self._name(path), path)

    @contextmanager
    def receive(self, chunks: Iterable[bytes]) -> Iterator[tuple[Path, str]]:
        """Write chunks to a temporary file; yields its path and digest, then removes it.

        Call `keep` inside to store it. Errors: `MediaError` when the disk is full.
        """
        with self._part() as part:
            sha = hashlib.sha256()
            with _full_disk_told(), part.open("wb") as file:
                for chunk in chunks:
                    sha.update(chunk)
                    file.write(chunk)
            yield part, sha.hexdigest()

    def keep(self, part: Path, digest: str) -> Path:
        """Store a received file under its digest and make room if the folder is too large."""
        with _full_disk_told():
            _move(part, self.path(digest))
        self._came(digest)
        return self.path(digest)

    def _of_others(self, key: str) -> Entry | None:
        """What another machine fetched; it is here then."""
        if self._artifacts is None:
            return None
        told = self._url_path(key)
        try:
            told.parent.mkdir(exist_ok=True, mode=0o700)
            if not self._artifacts.get(self._name(told), told):
                return None
            with self._lock:
                self._entries.pop(key, None)
            entry = self._read(key)
            is_one = entry is not None and re.fullmatch("[0-9a-f]{64}", entry.digest)
            return entry if entry is not None and is_one and self._has(entry.digest) else None
        except (StateError, OSError):  # then it is fetched from where it comes from
            return None

    def _has(self, digest: str) -> bool:
        """Whether the bytes are here, or come now from the store."""
        if self._use(digest):
            return True
        path = self.path(digest)
        with self._part() as part:
            if not (self._artifacts and self._artifacts.get(self._name(path), part)):
                return False
            if sha256(part) != digest:
                _log.warning("media %s of the store is damaged and fetched anew", digest[:12])
                return False
            _move(part, path)
        self._came(digest)
        return True

    def _name(self, path: Path) -> str:
        return f"media/{path.relative_to(self._folder).as_posix()}"

    def _came(self, digest: str) -> None:
        """Make room, now and then."""
        size = self.path(digest).stat().st_size
        with self._lock:
            if len(self._touched) > _MOST_IN_MEMORY:
                self._touched.clear()
            self._touched[digest] = time.monotonic()
            self._bytes_since_prune += size
            due = self._bytes_since_prune > self._limit_bytes * (1 - _LEAVE_FREE)
            if due:
                self._bytes_since_prune = 0
        if due:
            self._prune()

    def _use(self, digest: str) -> bool:
        """Whether the bytes are here; marks them as used.

        Whether they are whole this process looks once: a crash or a disk may have damaged them.
        """
        path, now = self.path(digest), time.monotonic()
        try:
            if digest not in self._touched and _is_damaged(path, digest):
                _log.warning("media %s was damaged on this disk and is fetched anew", digest[:12])
                path.unlink(missing_ok=True)
                return False
            if now - self._touched.get(digest, float("-inf")) > _TOUCH_AFTER_S:
                os.utime(path)
                self._touched[digest] = now
                return True
            return path.exists()
        except FileNotFoundError:
            return False

    def _read(self, key: str) -> Entry | None:
        try:
            entry = Entry(**json.loads(self._url_path(key).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        with self._lock:
            return self._entries.setdefault(key, entry)

    def _url_path(self, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / "urls" / digest[:2] / f"{digest}.json"

    @contextmanager
    def _part(self) -> Iterator[Path]:
        with _full_disk_told():
            handle, name = tempfile.mkstemp(dir=self._folder / "part")
        os.close(handle)
        path = Path(name)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _prune(self) -> None:
        """Delete the files used longest ago until the folder is within its limit."""
        with (self._folder / "prune.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process is at it
            files = sorted(_files(self._folder / "blobs"), key=lambda file: file[1])
            total, now = sum(size for _, _, size in files), time.time()
            if total <= self._limit_bytes:
                return
            for path, used_at, size in files:
                if total <= self._limit_bytes * _LEAVE_FREE or abs(now - used_at) < _YOUNG_S:
                    break
                path.unlink(missing_ok=True)
                total -= size
            self._forget_urls()

    def _forget_urls(self) -> None:
        """Drop what is known of URLs whose bytes are gone, and parts that a crash left."""
        for path, _, _ in _files(self._folder / "urls"):
            try:
                digest = json.loads(path.read_text())["digest"]
            except (OSError, ValueError, KeyError):
                digest = ""
            if not digest or not self.path(digest).exists():
                path.unlink(missing_ok=True)
        for path, changed_at, _ in _files(self._folder / "part"):
            if changed_at < time.time() - 3600:
                path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[Path, float, int]]:
    """(path, time of last use, bytes) of every file below."""
    for path in folder.rglob("*"):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            yield path, state.st_mtime, state.st_size


def _is_damaged(path: Path, digest: str) -> bool:
    """A long video is believed: it would take longer than somebody who opens it waits."""
    return path.stat().st_size < _HASHED_BYTES and sha256(path) != digest


def _move(part: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True, mode=0o700)
    part.replace(place)


@contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MediaError(
                "the disk of this server is full",
                advice="free some space under LABELPILOT_DATA_DIR or lower "
                "LABELPILOT_MEDIA_CACHE_MB",
            ) from error
        raise
