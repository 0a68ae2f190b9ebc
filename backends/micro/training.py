"""One training in a process of its own, so that clicks stay fast and nothing of it stays behind."""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import backends
from backends.errors import TrainingFailed
from backends.micro.child import EARLY, FINAL, Failure
from backends.micro.exchange import (
    REQUEST,
    Material,
    Request,
    Trained,
    keys,
    read_answers,
    read_held_out,
    write_request,
)
from micro_models.budget import Progress

__all__ = ["Material", "Process", "Request", "Trained", "train"]

log = logging.getLogger(__name__)

_LOOK_S = 0.25
_CHILD = "backends.micro.child"
# A process that is not done by then hangs.
_TOO_LONG, _GRACE_S = 3.0, 60.0
# Of what it printed, for the log.
_LAST_LINES = 40
_FULL = (errno.ENOSPC, errno.EDQUOT)

# Ours, and those by which people reach clouds and databases.
_SECRET = re.compile(
    r"^(LABELPILOT|LABEL_STUDIO|AWS|AZURE|GOOGLE|GCP|GCS|FSSPEC|PG)_?|KEY|TOKEN|SECRET|PASS|CREDENTIAL"
    r"|AUTH|_UR[LI]$|_DSN$",
    re.IGNORECASE,
)

Told = Callable[[Progress], None]
OnBetter = Callable[[Trained], None]
GoOn = Callable[[], None]

_WHY = {
    Failure.EMPTY: ("none of the labelled pictures that can be read has a region", ""),
    Failure.MEMORY: (
        "the training ran out of memory",
        "give the machine more, or let fewer things run beside it",
    ),
    Failure.DISK: ("the disk is full", "make room in the data folder, or set it elsewhere"),
    Failure.DEVICE: (
        "the device of LABELPILOT_TRAIN_DEVICE is not there",
        'set it to "cpu" or "auto"',
    ),
}


def train(
    request: Request, folder: Path, *, told: Told, go_on: GoOn, on_better: OnBetter
) -> Trained:
    """A model of the examples, trained in a process of low priority that ends when this one does.

    All files are written below `folder`; what is left there are the model and, if nobody took it
    away, the early one that `on_better` was told of. Pictures are held there while they are needed,
    whatever becomes of the originals; an example whose picture is missing or damaged is left out.
    `go_on` is called twice a second or more often; what it raises ends the training. All are called
    from this thread.

    Errors: `TrainingFailed`, and what the functions raise; nothing is left in the folder then.
    """
    room, go_on = folder / "training", _seldom(go_on)
    with _room_for_files():
        room.mkdir(parents=True)
    try:
        with _room_for_files():
            write_request(_pinned(request, room / "pictures", go_on), room / REQUEST)
        with Process(_CHILD, room, most_s=_TOO_LONG * request.budget_s + _GRACE_S) as process:
            for message in process.messages(go_on):
                if "progress" in message:
                    told(Progress(**message["progress"]))
                elif message.get("model") == EARLY:
                    on_better(_trained(room, EARLY, request))
                elif (failure := process.failure(message)) is not None:
                    raise failure
            process.check()
        trained = _trained(room, FINAL, request)
        for leftover in (room / "pictures", room / REQUEST):
            _remove(leftover)
    except BaseException:
        shutil.rmtree(room, ignore_errors=True)
        raise
    return trained


def _seldom(go_on: GoOn) -> GoOn:
    """The same for whoever calls it all the time."""
    asked_at = -_LOOK_S

    def asked() -> None:
        nonlocal asked_at
        if time.monotonic() - asked_at >= _LOOK_S:
            go_on()
            asked_at = time.monotonic()

    return asked


def _pinned(request: Request, folder: Path, go_on: GoOn) -> Request:
    """The same of files that nobody else takes away; a picture that is not there stays missing."""
    folder.mkdir()

    def pin(name: str, picture: Path) -> Path:
        go_on()
        target = folder / name
        with suppress(FileNotFoundError, PermissionError):
            _copy(picture, target)
        return target

    examples = tuple(
        replace(one, picture=pin(f"labelled-{n}", one.picture))
        for n, one in enumerate(request.examples)
    )
    unlabelled = tuple(
        (task_id, pin(f"other-{n}", picture))
        for n, (task_id, picture) in enumerate(request.unlabelled)
    )
    pseudo = tuple(
        replace(one, picture=pin(f"pseudo-{n}", one.picture))
        for n, one in enumerate(request.pseudo)
    )
    rival = request.rival_folder
    return replace(
        request,
        examples=examples,
        pseudo=pseudo,
        unlabelled=unlabelled,
        rival_folder=rival.absolute() if rival else None,
    )


def _copy(picture: Path, target: Path) -> None:
    """The same file under another name, or where that cannot be a copy of it."""
    source = picture.resolve()
    if not source.is_file():
        raise FileNotFoundError(errno.ENOENT, "no file")
    try:
        target.hardlink_to(source)
    except OSError:  # another disk, a file of somebody else, a file system without links
        shutil.copyfile(source, target)


def _trained(room: Path, name: str, request: Request) -> Trained:
    """What the process left under this name."""
    folder = room / name
    try:
        stored = json.loads((room / f"{name}.json").read_bytes())
        held_out = read_held_out(folder)
        return Trained(
            folder=folder,
            version=stored["version"],
            report=_with_note(stored["report"], stored["left_out"]),
            held_out=tuple(held_out.get(key) for key in keys(request.examples)),
            certainty=dict(stored["certainty"]),
            old=read_answers(room / f"{name}-old.json"),
            left_out=tuple(stored["left_out"]),
            later=tuple(stored["later"]),
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("a training left no whole model: %s", error)
        raise _crashed() from error


def _with_note(report: dict[str, Any], left_out: Sequence[int]) -> dict[str, Any]:
    if not left_out:
        return report
    some = ", ".join(map(str, left_out[:10])) + (", ..." if len(left_out) > 10 else "")
    note = (
        f"left out, because the picture is missing, damaged, or of another size than its masks: "
        f"task {some}"
    )
    return {**report, "notes": [*report.get("notes", ()), note]}


class Process:
    """A process of a module that trains for us; leaving the `with` kills what is left of it.

    The module is run with the folder `room`, ends when we do, and tells lines of JSON; see
    `backends.micro.child.begun`. Errors: `TrainingFailed` where files cannot be written.
    """

    def __init__(self, module: str, room: Path, *, most_s: float) -> None:
        self._until = time.monotonic() + most_s
        with _room_for_files():
            self._process = subprocess.Popen(  # noqa: S603
                # -P: nothing beside the working folder's files is taken for a module.
                [sys.executable, "-P", "-m", module, str(room.absolute())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=room,
                env=_environment(),
                start_new_session=True,
            )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._last: deque[bytes] = deque(maxlen=_LAST_LINES)
        self._readers = [
            _reader(self._process.stdout, self._lines.put, self._lines.put),
            _reader(self._process.stderr, self._last.append, lambda _: None),
        ]

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def messages(self, go_on: GoOn) -> Iterator[dict[str, Any]]:
        """What it tells, until it has no more to tell. Errors: `TrainingFailed` if it hangs."""
        while True:
            go_on()
            if time.monotonic() > self._until:
                raise TrainingFailed(
                    "the training took much longer than it may and was stopped",
                    advice="see whether the machine is overloaded, or raise "
                    "LABELPILOT_TRAIN_BUDGET_S",
                )
            try:
                line = self._lines.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if line is None:
                return
            with suppress(ValueError):  # it was killed in the middle of a line
                yield json.loads(line)

    @staticmethod
    def failure(message: dict[str, Any]) -> TrainingFailed | None:
        """The failure that a message tells of, None for any other message."""
        return _failed(Failure(message["failed"])) if "failed" in message else None

    def check(self) -> None:
        """Errors: `TrainingFailed` if it did not end well."""
        try:
            code = self._process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:  # it closed its output and hangs
            code = 1
        if code == 0:
            return
        for reader in self._readers:
            reader.join(timeout=1)
        last = [line.decode(errors="replace").strip() for line in self._last]
        log.warning("a training ended with %s: %s", code, last[-1] if last else "it said nothing")
        log.debug("its last words:\n%s", "\n".join(last))
        raise _failed(Failure.MEMORY) if code == -signal.SIGKILL else _crashed()


def _environment() -> dict[str, str]:
    """What it needs of ours: no secrets, the same modules, and threads that wait quietly."""
    kept = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    here = str(Path(backends.__file__).parents[1])
    paths = [here, *filter(None, [kept.get("PYTHONPATH")])]
    kept.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    kept.setdefault("OMP_NUM_THREADS", str(_cores()))
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def _cores() -> int:
    """How many this process may use, which in a container is less than there are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError):  # no such limit
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores or 1, max(-(-int(limit) // int(period)), 1))
    return cores or 1


def _reader(
    pipe: IO[bytes] | None, take: Callable[[bytes], object], end: Callable[[None], object]
) -> threading.Thread:
    """Reads lines to the pipe's end, so that whoever writes never waits."""

    def read() -> None:
        with suppress(ValueError, OSError):  # closed
            for line in pipe or ():
                take(line)
        end(None)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


@contextmanager
def _room_for_files() -> Iterator[None]:
    """What cannot be written is told. Errors: `TrainingFailed`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _failed(Failure.DISK) from error
        log.warning("a training could not begin: %s", error)
        raise TrainingFailed(
            "the training could not begin: its files could not be written",
            advice="see whether the data folder can be written to",
        ) from error


def _failed(why: Failure) -> TrainingFailed:
    message, advice = _WHY[why]
    return TrainingFailed(message, advice=advice)


def _crashed() -> TrainingFailed:
    return TrainingFailed(
        "the training ended with an error of its own",
        advice="see the log of the server, and tell us what it says",
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
