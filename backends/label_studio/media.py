"""The images and videos of tasks, on this machine: `MediaStore`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from backends.artifacts import open_artifacts
from backends.errors import MediaError
from backends.interface import Clip, ImageFile, VideoFile
from backends.label_studio.addresses import Resolver, system_resolver
from backends.label_studio.client import LabelStudios
from backends.label_studio.deadline import time_left, time_limit
from backends.label_studio.downloads import Download, Downloads, MediaUnavailable, too_slow
from backends.label_studio.media_cache import Entry, MediaCache
from backends.label_studio.media_sources import Kind, Source, Sources
from backends.label_studio.pictures import (
    explain_other,
    read_upright,
    upright_size,
)
from backends.label_studio.videos import explain_no_video, measure, read_frames
from backends.settings import Settings
from micro_models.regions import Image

_log = logging.getLogger(__name__)
_FRESH_S = 60.0
_STALE_AGAIN_S = 10.0  # how long an old copy serves before its server is asked again
_PAUSES_S = (0.2, 0.8)  # between tries
_CHUNK_BYTES = 1 << 20
# All tries together may take this many times the timeout of one read, and at most so long.
_PATIENCE, _MOST_S = 6, 60.0


class MediaStore:
    """Brings the images and videos of tasks here and decodes them. Safe among threads.

    An `ImageSource` and a `VideoSource`.

    A URL is fetched once, however many threads ask. What is here is asked about again after a
    minute (uploads never: they do not change); if the server is down by then, the copy serves on.
    """

    def __init__(
        self, settings: Settings, studios: LabelStudios, *, resolver: Resolver = system_resolver
    ) -> None:
        self._settings = settings
        one_s = settings.media_timeout_s
        self._limit_s = max(one_s, min(_PATIENCE * one_s, _MOST_S))
        self._sources = Sources(settings, studios)
        self._downloads = Downloads(settings, studios, resolver=resolver)
        self._cache = MediaCache(
            settings.data_path / "media",
            limit_bytes=settings.media_cache_mb * 1_000_000,
            artifacts=open_artifacts(settings),
        )
        self._flights: dict[str, Future[Entry]] = {}
        self._lock = threading.Lock()

    def locate(self, url: str, project_key: str, task_id: int | None = None) -> ImageFile:
        """Fetch `url` unless it is here already. Errors: `MediaError` with its one cause.

        `task_id` lets Label Studio sign cloud storage addresses such as `s3://` for that task;
        without it, for the project.
        """
        entry = self._entry(self._sources.of(url, project_key, task_id))
        path = self._cache.path(entry.digest)
        return ImageFile(path, entry.digest, entry.width_px, entry.height_px)

    def read(self, file: ImageFile) -> Image:
        """Decode to upright RGB; what is transparent becomes white. Errors: `MediaError`."""
        return read_upright(file.path, name=f"image {file.digest[:12]}")

    def locate_video(self, url: str, project_key: str, task_id: int | None = None) -> VideoFile:
        """As `locate`; it may take long: a large file comes as long as bytes flow, and a new one
        is decoded once to its end, because what a container says of its frames is often wrong.
        """
        entry = self._entry(self._sources.of(url, project_key, task_id, kind=Kind.VIDEO))
        path, clip = self._cache.path(entry.digest), Clip(entry.frames, entry.fps)
        return VideoFile(path, entry.digest, entry.width_px, entry.height_px, clip)

    def frames(self, file: VideoFile) -> Iterator[Image]:
        """Decode to upright RGB, one frame after the other, all of `file.clip.frames`.

        Frame n is what a player shows at n / fps; one that cannot be decoded is the one before it.
        Errors: `MediaError`.
        """
        return read_frames(file, name=f"video {file.digest[:12]}")

    def close(self) -> None:
        """Close idle connections."""
        self._downloads.close()

    def _entry(self, source: Source) -> Entry:
        entry = self._cache.find(source.key)
        if entry is None or not _is_fresh(source, entry):
            entry = self._fetch_once(source, entry)
        return entry

    def _fetch_once(self, source: Source, known: Entry | None) -> Entry:
        """Fetch, or wait for the thread that is fetching the same thing."""
        with self._lock:
            flight = self._flights.get(source.key)
            mine = flight is None
            if flight is None:
                flight = self._flights[source.key] = Future()
        if not mine:
            patience_s = self._limit_s if source.kind is Kind.IMAGE else None
            if not wait([flight], patience_s).done:
                raise too_slow(source.name)
            return flight.result()
        try:
            entry = self._fetch_or_keep(source, known)
        except BaseException as error:
            flight.set_exception(error)
            raise
        else:
            flight.set_result(entry)
            return entry
        finally:
            with self._lock:
                del self._flights[source.key]

    def _fetch_or_keep(self, source: Source, known: Entry | None) -> Entry:
        try:
            with time_limit(self._limit_s):
                entry = self._try_again(source, known)
        except MediaUnavailable as error:
            if known is None:
                raise
            _log.warning("an old copy serves: %s", error.message)
            entry = replace(known, checked_at=time.time() - _FRESH_S + _STALE_AGAIN_S)
        self._cache.note(source.key, entry)
        return entry

    def _try_again(self, source: Source, known: Entry | None) -> Entry:
        for pause_s in _PAUSES_S:
            try:
                return self._fetch(source, known)
            except MediaUnavailable as error:
                if time_left() <= pause_s:
                    raise
                _log.info("%s; trying again", error.message)
                time.sleep(pause_s)
        return self._fetch(source, known)

    def _fetch(self, source: Source, known: Entry | None) -> Entry:
        now = time.time()
        with self._open(source, known) as download:
            if download.unchanged and known is not None:
                return replace(known, checked_at=now)
            with self._cache.receive(download.chunks) as (part, digest):
                entry = self._looked_at(part, digest, source)
                self._cache.keep(part, digest)
                etag, changed = download.etag, download.last_modified
                return replace(entry, etag=etag, last_modified=changed, checked_at=now)

    @contextmanager
    def _open(self, source: Source, known: Entry | None) -> Iterator[Download]:
        if not source.is_file:
            with self._downloads.open(source, known) as download:
                yield download
            return
        path = Path(source.url)
        try:
            size, tag = _state(path)
            with path.open("rb") as file:
                chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
                limited = self._downloads.limited(chunks, source, claimed_bytes=size)
                yield Download(limited, tag)
        except OSError as error:
            raise MediaError(
                f"the file {source.name} cannot be read ({error.strerror})",
                advice="does it still exist, and may this server's user read it?",
            ) from error

    def _looked_at(self, part: Path, digest: str, source: Source) -> Entry:
        """What is known of the bytes alone; of a video it is kept, for it takes long to find."""
        limit, of_studio = self._settings.media_max_megapixels, source.studio is not None
        if source.kind is Kind.IMAGE:
            explain_other(part, name=source.name, of_label_studio=of_studio)
            return Entry(digest, *upright_size(part, max_megapixels=limit, name=source.name))
        key = f"clip {digest}"
        entry = self._cache.find(key)
        if entry is None:
            explain_no_video(part, name=source.name, of_label_studio=of_studio)
            width, height, clip = measure(part, max_megapixels=limit, name=source.name)
            entry = Entry(digest, width, height, frames=clip.frames, fps=clip.fps)
            self._cache.note(key, entry)
        return entry


def _is_fresh(source: Source, entry: Entry) -> bool:
    if source.is_file:
        try:
            return entry.etag == _state(Path(source.url))[1]
        except OSError:
            return False
    return source.lasting or abs(time.time() - entry.checked_at) < _FRESH_S


def _state(path: Path) -> tuple[int, str]:
    """A file's size in bytes, and a tag that differs when the file does."""
    state = path.stat()
    return state.st_size, f"{state.st_mtime_ns}-{state.st_size}"
