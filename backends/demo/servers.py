"""Two child processes on free ports of this machine, ended together."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx
from rich.progress import Progress

from backends.errors import LabelpilotError

HOST = "127.0.0.1"
START_TIMEOUT_S = 240.0


class DemoFailed(LabelpilotError):
    """The demo could not be started, or a part of it ended."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Leave the block quietly at Ctrl-C, SIGTERM or when the terminal is closed."""

    def leave(_signum: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, leave) for each in signals]
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Errors: `DemoFailed` when another demo holds it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed(
                f"a demo with the folder {folder.name} is running already",
                advice="stop it with Ctrl-C, or name another folder",
            ) from None
        yield


def choose_port(wanted: int, progress: Progress, *, taken: int | None = None) -> int:
    """The wanted port, or the next one that nobody listens on; says which if it is another."""
    for port in range(wanted, min(wanted + 100, 65536)):
        if port != taken and _is_free(port):
            if port != wanted:
                progress.console.print(f"port {wanted} is in use, {port} is taken instead")
            return port
    raise DemoFailed(f"no free port from {wanted} on", advice="name others with --port")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        # A port that a server left a second ago counts as free, as it does for that server.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True


class Server:
    """A child process that serves `url` and writes to `log`."""

    def __init__(self, name: str, log: Path, url: str) -> None:
        self.name, self.log, self.url = name, log, url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port in its URL."""
        return int(self.url.rpartition(":")[2])

    @contextmanager
    def running(self, command: Sequence[str], environment: dict[str, str]) -> Iterator[None]:
        """Run it in a process group of its own; the whole group ends with the block."""
        with self.log.open("wb") as log:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own two programs
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield
        finally:
            _end_group(process)

    def wait(self, progress: Progress, note: str = "") -> None:
        """Wait until it answers `/health`. Errors: `DemoFailed` when it ends or takes too long."""
        text = f"{self.name} starts" + (f" ({note})" if note else "")
        step = progress.add_task(text, total=1)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            self.check()
            if time.monotonic() > deadline:
                raise self._failed("does not answer")
            time.sleep(0.2)
        progress.update(step, description=f"{self.name} answers at {self.url}", completed=1)

    def check(self) -> None:
        """Errors: `DemoFailed` with the end of the log when it is no longer running."""
        if self._process is None or self._process.poll() is not None:
            raise self._failed("ended")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def _failed(self, what: str) -> DemoFailed:
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return DemoFailed(f"{self.name} {what}. The end of its log:\n{tail}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for stop, patience_s in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, stop)
        except ProcessLookupError:
            break
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
    process.poll()
