"""The models of this process: found by name, loaded once, the least used ones put away."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from backends.errors import BadLabelConfig, LabelpilotError, ModelMissing
from backends.settings import Settings
from backends.weights import REGISTRY, Weights, fetch, listing
from micro_models.detections import Detector, DetectorTask
from micro_models.engines.checkpoints import CheckpointError, digest
from micro_models.engines.yolo_network import FILES, OPENVINO

log = logging.getLogger(__name__)

T = TypeVar("T")
Load = Callable[[Path], Detector]
Fetch = Callable[[Weights, Path], Path]
# Of each file: its path, bytes and time of change.
State = tuple[tuple[str, int, int], ...]

MEGABYTE = 1_000_000
LOADING_TAKES_S = 600.0
# A failure that is not the file's fault, such as a lack of memory, is tried again after it.
RETRY_AFTER_S = 60.0


class ModelLoading(ModelMissing):
    """A model that is still being loaded or downloaded, or may be had a little later."""


@dataclass
class _Model:
    """A model on the shelf. `state` is its files' as they were when loading began.

    `retry_at`, of a monotonic clock, is there where loading failed and may do better then.
    """

    path: Path
    state: State
    loaded: Future[Detector] = field(default_factory=Future)
    users: int = 0
    nbytes: int = 0  # once it is loaded
    retry_at: float | None = None


class ModelShelf:
    """Models by the name that a label config or the settings give them.

    A name is that of a checkpoint of `labelpilot weights`, or of a file or OpenVINO folder inside
    the model folder, and never leads out of it. Loading, hashing and downloading happen in threads
    of their own, and one model loads at a time: only `borrowed` waits. Errors of all methods:
    `ModelMissing`, `BadLabelConfig`.
    """

    def __init__(self, settings: Settings, *, load: Load, fetch: Fetch = fetch) -> None:
        self._settings = settings
        self._load_model = load
        self._fetch = fetch
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._models: OrderedDict[Path, _Model] = OrderedDict()  # the last used one last
        self._digests: dict[State, Future[str]] = {}
        self._downloads: dict[str, Future[Path]] = {}

    def default(self, task: DetectorTask) -> str | None:
        """The model for controls that name none: the settings', else the best one that is here.

        Where none is here, the one to get. None where the settings want no default, or nothing
        could run it.
        """
        wanted = self._settings.yolo_model
        if wanted == "off" or not yolo_runs_here():
            return None
        if wanted != "auto":
            return wanted
        found = listing(self._settings.model_path, task=task)
        present = [weights.name for weights, is_here in found if is_here]
        to_get = [weights.name for weights, _ in found if not weights.older]
        return present[0] if present else to_get[-1]

    def find(self, name: str) -> Path:
        """Where the model lies. Says in the error how to get it."""
        known = _registered(name)
        path = self._inside(known.file if known else name)
        if path is not None:
            return path
        if known is None:
            raise ModelMissing(
                f"the model {_shown(name)} is not in the model folder",
                advice="put the file there (`labelpilot weights list` shows the folder), or name "
                "one that lies there",
            )
        download = self._downloads.get(known.name)
        if download is not None and not download.done():
            raise ModelMissing(f"{known.file} is being downloaded", advice="it takes a moment")
        failed = download.exception() if download is not None else None
        why = f": {failed.message}" if isinstance(failed, LabelpilotError) else ""
        raise ModelMissing(
            f"{known.file} is not in the model folder{why}",
            advice=f"labelpilot weights get {known.name}, or put the file there by hand",
        )

    def digest(self, name: str, *, wait_s: float = 0.0) -> str | None:
        """SHA-256 of the model's files; None while it is being computed."""
        path = self.find(name)
        state = _state(path)
        with self._lock:
            future = self._digests.get(state)
            if future is None:
                future = self._digests[state] = Future()
                _in_background(future, lambda: self._hash(path))
        try:
            return _result(future, wait_s)
        except FutureTimeout:
            return None

    def now(self, name: str) -> Detector | None:
        """The model if it is loaded; else loading begins, as does the download of a known one."""
        try:
            model = self._model(self.find(name))
        except ModelMissing:
            if self._download(name) is None:
                raise
            return None
        return _result(model.loaded, 0.0) if model.loaded.done() else None

    def peek(self, name: str) -> Detector | None:
        """The model if it is loaded; begins nothing. Errors also: why it could not be loaded."""
        try:
            path = self.find(name)
        except ModelMissing:
            if self.is_coming(name):
                return None
            raise
        state = _state(path)
        with self._lock:
            model = self._models.get(path)
        if model is None or model.state != state or not model.loaded.done():
            return None
        return _result(model.loaded, 0.0)

    def is_coming(self, name: str) -> bool:
        """Whether the model is being downloaded."""
        known = _registered(name)
        download = self._downloads.get(known.name) if known else None
        return download is not None and not download.done()

    @contextmanager
    def borrowed(self, name: str, *, wait_s: float = LOADING_TAKES_S) -> Iterator[Detector]:
        """The model, which stays loaded within the `with`; waits while it loads or downloads."""
        deadline = time.monotonic() + wait_s
        try:
            path = self.find(name)
        except ModelMissing:
            download = self._download(name)
            if download is None:
                raise
            path = _wait(download, deadline, f"{_shown(name)} is still being downloaded")
        model = self._model(path, users=1)
        try:
            yield _wait(model.loaded, deadline, f"{_shown(name)} is still being loaded")
        finally:
            with self._lock:
                model.users -= 1
                self._put_away()

    def _model(self, path: Path, users: int = 0) -> _Model:
        """The model of a file; loading begins unless it is under way or done, or failed before."""
        state = _state(path)
        with self._lock:
            model = self._models.get(path)
            may_retry = model and model.retry_at and model.retry_at <= time.monotonic()
            if model is None or model.state != state or may_retry:
                fresh = model = self._models[path] = _Model(path, state)
                _in_background(fresh.loaded, lambda: self._load(fresh))
            model.users += users
            self._models.move_to_end(path)
            return model

    def _load(self, model: _Model) -> Detector:
        path = model.path
        with self._loading:
            # Its memory is only known when it is loaded; its files are about as large.
            with self._lock:
                self._put_away(coming=sum(nbytes for _, nbytes, _ in model.state))
            try:
                detector = self._load_model(path)
            except CheckpointError as error:
                raise ModelMissing(f"{path.name} cannot be used: {error}") from error
            except Exception as error:
                model.retry_at = time.monotonic() + RETRY_AFTER_S
                log.debug("%s", path.name, exc_info=error)
                raise ModelLoading(
                    f"{path.name} could not be loaded just now ({type(error).__name__})",
                    advice="it is tried again in a minute; the log at level debug says why",
                ) from error
            with self._lock:
                self._put_away(coming=detector.nbytes)
                model.nbytes = detector.nbytes
        log.info("model %s: %s", detector.name, detector.task)
        log.info("its classes: %s", ", ".join(detector.labels))
        return detector

    def _put_away(self, coming: int = 0) -> None:
        """Let go of models, the least recently used first, until the rest fits the memory."""
        bound = self._settings.yolo_memory_mb * MEGABYTE - coming
        held = sum(model.nbytes for model in self._models.values())
        last = next(reversed(self._models), None)
        for path, model in list(self._models.items()):
            if held <= bound:
                return
            if model.nbytes and not model.users and (coming or path != last):
                held -= model.nbytes
                del self._models[path]
                log.info("model %s leaves the memory", path.name)

    def _download(self, name: str) -> Future[Path] | None:
        """The one download of a known checkpoint, begun if it was not; None where there is none.

        A download that failed is not tried again by itself.
        """
        known = _registered(name)
        if known is None or not self._settings.download_weights:
            return None
        with self._lock:
            download = self._downloads.get(known.name)
            if download is None:
                log.warning("%s is missing and now downloaded from %s", known.file, known.url)
                download = self._downloads[known.name] = Future()
                folder = self._settings.model_path
                _in_background(download, lambda: self._fetch(known, folder))
        return None if download.done() and download.exception() else download

    def _hash(self, path: Path) -> str:
        cache = self._settings.data_path
        if path.is_file():
            return digest(path, cache_dir=cache)
        parts = [
            f"{file.relative_to(path)} {digest(file, cache_dir=cache)}"
            for file in sorted(path.rglob("*"))
            if file.is_file()
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _inside(self, name: str) -> Path | None:
        """The file or folder of that name in the model folder, None if there is none.

        Errors: `BadLabelConfig` for a name that leads elsewhere or is none of a model.
        """
        folder = self._settings.model_path.resolve()
        path = folder / name
        if not _is_model_name(name):
            raise BadLabelConfig(
                f"{_shown(name)} is no model that YOLO can load",
                advice=f"name a file of the model folder ({', '.join(FILES)}), a folder that ends "
                f"with {OPENVINO}, or a checkpoint that `labelpilot weights list` shows",
            )
        if Path(name).is_absolute() or ".." in Path(name).parts or not _lies_in(path, folder):
            raise BadLabelConfig(
                f"{_shown(name)} leads out of the model folder",
                advice="put the model into that folder and write its name alone",
            )
        try:
            is_here = path.is_dir() if name.endswith(OPENVINO) else path.is_file()
        except OSError:  # a name that is too long for the disk, or a folder that is closed to us
            is_here = False
        return path if is_here else None


def yolo_runs_here() -> bool:
    """Whether the optional package is installed that runs YOLOs."""
    return find_spec("ultralytics") is not None


def _registered(name: str) -> Weights | None:
    """The YOLO checkpoint of that name or file name."""
    tasks = {task.value for task in DetectorTask}
    for weights in REGISTRY:
        if weights.task in tasks and name in (weights.name, weights.file):
            return weights
    return None


def _is_model_name(name: str) -> bool:
    is_model = name.lower().endswith(FILES) or name.endswith(OPENVINO)
    # A disk counts bytes.
    return is_model and "\0" not in name and len(name.encode(errors="replace")) < 256


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a path, all links followed, is inside the folder."""
    try:
        return path.resolve().is_relative_to(folder)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or what is no text
        return False


def _state(path: Path) -> State:
    """What changes when a model's files do. Errors: `ModelMissing` if they just went."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    try:
        stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError:
        raise ModelMissing(f"{path.name} cannot be read", advice="put it there again") from None
    return tuple(stats)


def _in_background(future: Future[T], work: Callable[[], T]) -> None:
    """Fulfil the future in a thread of its own; an unexpected failure becomes `ModelMissing`."""

    def run() -> None:
        try:
            future.set_result(work())
        except LabelpilotError as error:
            log.error("%s", error)
            future.set_exception(error)
        except Exception as error:
            log.error("a model could not be made ready: %s", type(error).__name__)
            log.debug("why", exc_info=error)
            future.set_exception(
                ModelMissing(
                    f"the model could not be made ready ({type(error).__name__})",
                    advice="see the server's log at level debug; get or export the file again",
                )
            )

    threading.Thread(target=run, name="yolo-model", daemon=True).start()


def _wait(future: Future[T], deadline: float, busy: str) -> T:
    try:
        return _result(future, max(deadline - time.monotonic(), 0.0))
    except FutureTimeout:
        raise ModelLoading(busy, advice="ask again in a moment") from None


def _result(future: Future[T], timeout_s: float) -> T:
    error = future.exception(timeout=timeout_s)
    if error is not None:
        # Raised again and again, an exception would keep every frame that it went through.
        raise error.with_traceback(None)
    return future.result()


def _shown(name: str) -> str:
    return repr(name[:80])
