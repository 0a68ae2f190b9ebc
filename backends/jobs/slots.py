"""A name for each worker process, the same again after a crash.

DBOS gives a process back what was under way when a process of the same name died. So a name is
the machine's and the first number that no living process holds: a lock on a file in the data
folder, which the system takes back when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import socket
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows: there, as without locks, a name is new each time
    fcntl = None  # type: ignore[assignment]


class Slot:
    """One name, held until `close`. `fixed` is a name that somebody else sees to."""

    def __init__(self, folder: Path, *, fixed: str | None = None) -> None:
        self._folder, self._lock = folder, None
        if fixed is not None:
            self.name = fixed
            return
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Machines that share a database may have one name and one path, as containers do.
        self._prefix = f"{socket.gethostname()}-{_folder_id(folder)}"
        try:
            numbers = count() if fcntl is not None else ()
            for number in numbers:
                self._lock = _lock(folder / f"{number}.lock")
                if self._lock is not None:
                    self.name = f"{self._prefix}-{number}"
                    return
        except _NoLocks:
            pass
        self.name = f"{self._prefix}-{uuid.uuid4().hex[:8]}"

    def orphans(self) -> Iterator[str]:
        """Names of this machine that no process holds; each is held while it is looked at."""
        if fcntl is None or self._lock is None:
            return
        for path in sorted(self._folder.glob("*.lock")):
            lock = _lock(path)
            if lock is not None:
                with lock:
                    yield f"{self._prefix}-{path.stem}"

    def close(self) -> None:
        """Let the name go."""
        if self._lock is not None:
            self._lock.close()


class _NoLocks(Exception):
    """The file system has no locks."""


def _lock(path: Path) -> IO[bytes] | None:
    """The file, open and locked, or None if another process, or this one, holds it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            return None
        raise _NoLocks from error
    return file


def _folder_id(folder: Path) -> str:
    """A random name that the folder keeps."""
    path = folder / "id"
    if not path.exists():
        mine = folder / f"{uuid.uuid4().hex}.new"
        mine.write_text(uuid.uuid4().hex[:8])
        try:
            path.hardlink_to(mine)  # unlike a rename, it leaves another process's alone
        except FileExistsError:
            pass
        except OSError:
            mine.replace(path)
        mine.unlink(missing_ok=True)
    return path.read_text()
