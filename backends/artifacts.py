"""The store that machines share: models, embeddings, media. What `LABELPILOT_STORE_URL` names.

Each machine has its own copies in its data folder, and without a store nothing else. What is in
the store by one name never changes but for models, whose hash is in the database.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from backends.errors import StateError, Unavailable
from backends.settings import Settings

log = logging.getLogger(__name__)

_AWAY_S = 10.0  # nobody waits for a store that has failed less than this ago
_TRIES_AFTER_S = (1.0, 3.0)
_MOST_WAITING = 1_000
_CLOSE_S = 10.0
# What S3's client does by default would keep a click waiting for minutes.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "skip_instance_cache": True,  # its endpoint may be another one by now
        "use_listings_cache": False,
        "config_kwargs": {
            "connect_timeout": 3,
            "read_timeout": 20,
            "retries": {"max_attempts": 2},
        },
    },
    "file": {"auto_mkdir": True},
}


def open_artifacts(settings: Settings) -> Artifacts | None:
    """The store of this process; None where there is none but the data folder.

    Errors: `StateError` where the URL names nothing that can be used.
    """
    return _opened(settings.store_url.get_secret_value()) if settings.store_url else None


class Artifacts:
    """Files by name, such as "models/7/project/3f5a.tar". Any thread may call.

    `files` is a file system of fsspec, `root` a folder in it. Errors: `Unavailable` when the
    store cannot be used; then for a moment at once.
    """

    def __init__(self, files: Any, root: str) -> None:
        self._files, self._root = files, root.rstrip("/")
        self._is_local = "file" in _protocols(files)
        self._away_until = float("-inf")
        self._waiting, self._counting = 0, threading.Lock()
        self._later = ThreadPoolExecutor(2, thread_name_prefix="store")

    def put(self, name: str, path: Path) -> None:
        """Store a file; it appears in one step. Tried again for some seconds."""
        for wait_s in _TRIES_AFTER_S:
            try:
                self._put(name, path, insists=True)
            except StateError:
                time.sleep(wait_s)
            else:
                return
        self._put(name, path, insists=True)

    def put_later(self, name: str, path: Path) -> None:
        """The same in the background, for what could be made anew: a failure is only told."""
        with self._counting:
            if self._waiting >= _MOST_WAITING:
                return
            self._waiting += 1
        self._later.submit(self._put_quietly, name, path)

    def get(self, name: str, path: Path) -> bool:
        """Fetch a file to `path`, whose folder there is; it appears there in one step.

        False if the store has none of this name.
        """
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with self._told("read"):
                try:
                    self._files.get_file(self._path(name), str(part))
                except FileNotFoundError:
                    return False
            part.replace(path)
            return True
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        with self._told("written to"), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def names(self, folder: str, *, older_than_s: float) -> list[str]:
        """The files in a folder and below that have been there for so long."""
        with self._told("read"):
            try:
                found = self._files.find(self._path(folder), detail=True)
            except FileNotFoundError:
                return []
            before = time.time() - older_than_s
            start = len(self._root) + 1
            return [path[start:] for path, told in found.items() if _came_at(told) < before]

    def check(self) -> None:
        """Errors: `Unavailable` if it cannot be reached, or not be written to."""
        name = f".check-{secrets.token_hex(8)}"
        with self._told("written to"):
            self._files.pipe_file(self._path(name), b"ok")
            self._files.rm_file(self._path(name))

    def settle(self, within_s: float = _CLOSE_S) -> None:
        """Wait until what was to be stored later is."""
        until = time.monotonic() + within_s
        while self._waiting and time.monotonic() < until:
            time.sleep(0.02)

    def _put_quietly(self, name: str, path: Path) -> None:
        try:
            if path.exists():  # else it has left the cache meanwhile
                with suppress(StateError):
                    self._put(name, path)
        finally:
            with self._counting:
                self._waiting -= 1

    def _put(self, name: str, path: Path, *, insists: bool = False) -> None:
        target = self._path(name)
        with self._told("written to", insists=insists):
            if not self._is_local:
                self._files.put_file(str(path), target)
                return
            part = f"{target}.{secrets.token_hex(4)}.part"
            try:
                self._files.put_file(str(path), part)
                self._files.mv(part, target)
            finally:
                with suppress(OSError):
                    self._files.rm_file(part)

    def _path(self, name: str) -> str:
        if not all(part.strip(".") for part in name.split("/")):
            raise ValueError(f"{name!r} is no name of a file in the store")
        return f"{self._root}/{name}"

    @contextmanager
    def _told(self, how: str, *, insists: bool = False) -> Iterator[None]:
        if time.monotonic() < self._away_until and not insists:
            raise _away(how, "it failed a moment ago")
        try:
            yield
        except Exception as error:  # each file system has errors of its own
            self._away_until = time.monotonic() + _AWAY_S
            told = _away(how, type(error).__name__)
            log.warning("%s", told)  # here, since whoever can do without says nothing
            raise told from error


def sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _opened(url: str) -> Artifacts:
    import fsspec

    protocol = fsspec.utils.get_protocol(url)
    try:
        files, root = fsspec.core.url_to_fs(url, **_OPTIONS.get(protocol, {}))
    except (ImportError, ValueError) as error:
        raise StateError(
            f"LABELPILOT_STORE_URL cannot be opened ({type(error).__name__})",
            advice="give a folder, or s3://bucket/folder; other protocols of fsspec need their "
            "package installed",
        ) from error
    return Artifacts(files, root)


def _came_at(told: dict[str, Any]) -> float:
    """Seconds since 1970; file systems tell it in two ways."""
    when = told.get("LastModified") or told.get("mtime") or time.time()
    return float(when.timestamp() if isinstance(when, datetime) else when)


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _away(how: str, why: str) -> StateError:
    return Unavailable(
        f"the store cannot be {how} ({why})",
        advice="see whether what LABELPILOT_STORE_URL names can be reached, and its credentials",
    )
