"""The embedding cache: many images, bounded in bytes, in memory and on disk.

The key is the hash of the image's bytes and the engine's version: a presigned URL that changes
its signature still hits, an image that changed under the same URL does not.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from backends.artifacts import Artifacts
from backends.errors import StateError
from micro_models.regions import Embedding

log = logging.getLogger(__name__)

Key = tuple[str, str]


@dataclass(frozen=True)
class CacheUse:
    """What the status page shows of the cache; sizes in bytes."""

    images: int
    memory_bytes: int
    memory_hits: int
    disk_hits: int
    computed: int


class EmbeddingCache:
    """Embeddings by (engine version, image digest), shared by all threads.

    Two threads that want the same one compute it once. Several processes may share the folder:
    files appear in one step and a damaged one is computed again. `artifacts`: the store that
    machines share; without `disk_bytes` there is nothing to share.
    """

    def __init__(
        self,
        folder: Path,
        *,
        memory_bytes: int,
        disk_bytes: int,
        artifacts: Artifacts | None = None,
    ) -> None:
        self._folder, self._artifacts = folder, artifacts
        self._memory_limit = memory_bytes
        self._disk_limit = disk_bytes
        self._lock = threading.Lock()
        self._memory: OrderedDict[Key, Embedding] = OrderedDict()
        self._memory_bytes = 0
        self._flights: dict[Key, Future[Embedding]] = {}
        self._written_bytes = 0
        self._memory_hits = self._disk_hits = self._computed = 0
        # One image at a time: an encoder already uses every core, two only take turns.
        self._encoder = threading.Lock()
        self.shrink()

    def use(self) -> CacheUse:
        """How full the cache is and how often it answered."""
        with self._lock:
            return CacheUse(
                len(self._memory),
                self._memory_bytes,
                self._memory_hits,
                self._disk_hits,
                self._computed,
            )

    def has(self, version: str, digest: str) -> bool:
        """Whether `get` would answer without computing."""
        with self._lock:
            if (version, digest) in self._memory:
                return True
        return self._path((version, digest)).exists()

    def get(self, version: str, digest: str, compute: Callable[[], Embedding]) -> Embedding:
        """The embedding from memory, else from disk, else from `compute`, whose errors pass."""
        key = (version, digest)
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                self._memory_hits += 1
                return self._memory[key]
            flight = self._flights.get(key)
            if flight is None:
                mine = self._flights[key] = Future[Embedding]()
        if flight is not None:
            return flight.result()
        try:
            embedding = self._load_or_compute(key, compute)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(embedding)
            return embedding
        finally:
            with self._lock:
                del self._flights[key]

    def _load_or_compute(self, key: Key, compute: Callable[[], Embedding]) -> Embedding:
        embedding = self._load(key)
        if embedding is None:
            with self._encoder:
                embedding = compute()
            self._computed += 1
            self._save(key, embedding)
        else:
            self._disk_hits += 1
        self._remember(key, embedding)
        return embedding

    def _remember(self, key: Key, embedding: Embedding) -> None:
        with self._lock:
            self._memory[key] = embedding
            self._memory_bytes += embedding.nbytes
            while self._memory_bytes > self._memory_limit and len(self._memory) > 1:
                _, oldest = self._memory.popitem(last=False)
                self._memory_bytes -= oldest.nbytes

    def _path(self, key: Key) -> Path:
        version, digest = key
        return self._folder / version.replace("/", "_") / f"{digest}.npz"

    def _load(self, key: Key) -> Embedding | None:
        return self._read(key) or (self._read(key) if self._fetched(key) else None)

    def _fetched(self, key: Key) -> bool:
        """Whether another machine had it."""
        if self._artifacts is None or self._disk_limit == 0:
            return False
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._artifacts.get(self._name(key), path):
                return False
            self._wrote(path.stat().st_size)
        except (StateError, OSError):  # then it is computed
            return False
        return True

    def _name(self, key: Key) -> str:
        return f"embeddings/{self._path(key).relative_to(self._folder).as_posix()}"

    def _read(self, key: Key) -> Embedding | None:
        path = self._path(key)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            width_px, height_px = (int(side) for side in arrays.pop("size_px"))
            os.utime(path)  # the disk is emptied by last use
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("embeddings cannot be read from disk: %s", error.strerror)
            return None
        except (ValueError, KeyError, EOFError, BadZipFile):
            log.warning("embedding %s is damaged and made anew", path.name)
            return None
        return Embedding(arrays, width_px, height_px)

    def _save(self, key: Key, embedding: Embedding) -> None:
        if self._disk_limit == 0:
            return
        path = self._path(key)
        size = np.array([embedding.width_px, embedding.height_px])
        arrays: dict[str, Any] = {**embedding.arrays, "size_px": size}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
                part = Path(file.name)
                try:
                    np.savez(file, **arrays)
                    file.close()
                    part.replace(path)
                except BaseException:
                    part.unlink(missing_ok=True)
                    raise
        except OSError as error:
            # A full disk costs speed after a restart, never an answer.
            log.warning("embeddings are not kept on disk: %s", error.strerror)
            return
        if self._artifacts is not None:
            self._artifacts.put_later(self._name(key), path)
        self._wrote(embedding.nbytes)

    def _wrote(self, nbytes: int) -> None:
        self._written_bytes += nbytes
        if self._written_bytes > self._disk_limit // 20:
            self.shrink()

    def shrink(self) -> None:
        """Delete the least recently used files beyond the limit."""
        self._written_bytes = 0
        files = []
        for path in self._folder.glob("*/*.npz"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # another process was faster
            files.append((stat.st_mtime, stat.st_size, path))
        excess = sum(size for _, size, _ in files) - self._disk_limit
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size
