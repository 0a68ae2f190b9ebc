"""Which segmentation engine the settings ask for, loaded once, in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

from backends.errors import LabelpilotError, ModelMissing
from backends.settings import Settings
from backends.weights import listing
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.grabcut import GrabCut
from micro_models.interface import Segmenter

log = logging.getLogger(__name__)

GRABCUT = "grabcut"
CLICK_WAITS_S = 60.0


def find_checkpoint(settings: Settings) -> Path | None:
    """The checkpoint file that the settings name; None means the weight-free engine.

    Errors: `ModelMissing` when a named checkpoint is not in the model folder.
    """
    folder = settings.model_path
    if settings.sam_model == GRABCUT:
        return None
    if settings.sam_model == "auto":
        prompted = listing(folder, task="prompt")
        present = (weights.file for weights, is_here in prompted if is_here)
        best = next(present, None)
        return folder / best if best else None
    wanted = settings.sam_model
    prompted = listing(folder, task="prompt")
    files = [weights.file for weights, _ in prompted if wanted in (weights.name, weights.file)]
    for file in [*files, wanted]:
        # A setting names a file of the model folder, not any file of this machine.
        if Path(file).name == file and (folder / file).is_file():
            return folder / file
    raise ModelMissing(
        f"the checkpoint {wanted!r} is not in the model folder",
        advice=f"labelpilot weights get {wanted}, or put the file there by hand; "
        "`labelpilot weights list` shows the folder and every name",
    )


def load_engine(settings: Settings) -> Segmenter:
    """Load what the settings ask for; seconds to minutes. Errors: `ModelMissing`."""
    checkpoint = find_checkpoint(settings)
    if checkpoint is None:
        return GrabCut()
    # Heavy, and needed only with a checkpoint.
    from micro_models.engines.sam import load_sam

    try:
        cache = settings.data_path / "compiled"
        return load_sam(checkpoint, device=settings.device, cache_dir=cache)
    except CheckpointError as error:
        if settings.sam_model == "auto":
            log.error("%s; GrabCut answers instead", error)
            return GrabCut()
        raise ModelMissing(str(error), advice="labelpilot weights list") from error


LoadEngine = Callable[[Settings], Segmenter]


class EngineSlot:
    """The engine, once it is there. Requests ask; loading happens in a thread of its own.

    Nothing is loaded before `start`, or before somebody waits for it.
    """

    def __init__(self, settings: Settings, load: LoadEngine = load_engine) -> None:
        self._settings = settings
        self._load_engine = load
        self._future: Future[Segmenter] = Future()
        self._started = threading.Lock()

    def start(self) -> None:
        """Begin to load; returns at once."""
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._load, name="load-engine", daemon=True).start()

    def _load(self) -> None:
        try:
            engine = self._load_engine(self._settings)
        except LabelpilotError as error:
            log.error("no segmentation engine: %s; %s", error.message, error.advice)
            self._future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, clicks must be told
            log.error("no segmentation engine: %s: %s", type(error).__name__, error)
            self._future.set_exception(
                ModelMissing(
                    f"the model could not be loaded ({type(error).__name__})",
                    advice="see the server's log; LABELPILOT_SAM_MODEL=grabcut needs no model",
                )
            )
        else:
            log.info("segmentation engine: %s on %s", engine.name, engine.device)
            if isinstance(engine, GrabCut):
                log.warning(
                    "no SAM checkpoint: masks come from GrabCut. "
                    "`labelpilot weights get mobile_sam` brings a real model"
                )
            self._future.set_result(engine)

    def wait(self) -> Segmenter:
        """The engine; waits while it loads. Errors: `ModelMissing`."""
        self.start()
        try:
            return self._future.result(timeout=CLICK_WAITS_S)
        except FutureTimeout:
            raise ModelMissing("the model is still being loaded", advice="click again") from None

    def now(self) -> Segmenter | None:
        """The engine if it is there already."""
        if self._future.done() and self._future.exception() is None:
            return self._future.result()
        return None

    def error(self) -> LabelpilotError | None:
        """Why there is no engine, if loading failed."""
        error = self._future.exception() if self._future.done() else None
        return error if isinstance(error, LabelpilotError) else None
