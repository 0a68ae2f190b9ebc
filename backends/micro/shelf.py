"""Loaded micro-models: each loaded once, the least used ones put away."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from backends.errors import LabelpilotError, ModelMissing
from backends.micro.nouns import ModelVersion
from backends.settings import Settings

if TYPE_CHECKING:
    from micro_models import MicroModel

log = logging.getLogger(__name__)

Load = Callable[[Path], "MicroModel"]

_MEGABYTE = 1_000_000
# A network or a forest in memory, and what it computes with, to the arrays in its files.
_GROWS = 2
_LEAST_BYTES = 2_000_000


def load_model(folder: Path) -> MicroModel:
    """The model that lies in a folder of its version's name; torch is imported only now.

    A version is a hash over all that a model's answers depend on. Errors: `ModelFileError`, also
    if it is another one's.
    """
    from micro_models import ModelFileError, load

    model = load(folder)
    if model.version != folder.name:
        raise ModelFileError(f"the model in {folder} is another one: {model.version}")
    return model


@dataclass
class _Kept:
    loaded: Future[MicroModel] = field(default_factory=Future)
    nbytes: int = 0  # once it is loaded


class ModelShelf:
    """The models of versions. Any thread may ask; whoever asks first loads, the others wait.

    Models that are put away live on for those who use them. `folder_of` says where a version lies.
    """

    def __init__(
        self,
        settings: Settings,
        folder_of: Callable[[ModelVersion], Path],
        *,
        load: Load = load_model,
    ) -> None:
        self._most_bytes = settings.micro_memory_mb * _MEGABYTE
        self._folder_of = folder_of
        self._load = load
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()  # the last used last

    def folder(self, version: ModelVersion) -> Path:
        """Where a version lies."""
        return self._folder_of(version)

    def model(self, version: ModelVersion) -> MicroModel:
        """The loaded model. Errors: `ModelMissing` if it cannot be used; asked again, it tries."""
        key = version.project_key, version.scope, version.id
        with self._lock:
            kept = self._kept.get(key)
            mine = kept is None
            if kept is None:
                kept = self._kept[key] = _Kept()
            self._kept.move_to_end(key)
        if mine:
            self._fulfil(kept, key, version)
        error = kept.loaded.exception()
        if error is not None:
            # Raised again and again, an exception would keep every frame that it went through.
            raise error.with_traceback(None)
        return kept.loaded.result()

    def _fulfil(self, kept: _Kept, key: tuple[str, str, str], version: ModelVersion) -> None:
        try:
            folder = self._folder_of(version)
            model = self._load(folder)
            nbytes = max(_GROWS * _size(folder), _LEAST_BYTES)
        except BaseException as error:
            with self._lock:
                if self._kept.get(key) is kept:
                    del self._kept[key]
            kept.loaded.set_exception(_explained(version, error))
            if not isinstance(error, Exception):
                raise
            return
        kept.loaded.set_result(model)
        with self._lock:
            kept.nbytes = nbytes
            self._put_away()

    def _put_away(self) -> None:
        """Let go of the least recently used models until the rest fits; one may always stay."""
        held = sum(one.nbytes for one in self._kept.values())
        last = next(reversed(self._kept))
        for key, one in list(self._kept.items()):
            if held <= self._most_bytes:
                return
            if one.nbytes and key != last:
                held -= one.nbytes
                del self._kept[key]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.npz"))


def _explained(version: ModelVersion, error: BaseException) -> LabelpilotError:
    if isinstance(error, LabelpilotError):
        return error
    log.debug("version %s", version.id, exc_info=error)
    return ModelMissing(
        f"version {version.id} of the micro-model for {version.scope[:80]} cannot be loaded "
        f"({type(error).__name__})",
        advice="start a training, or go back: `labelpilot models rollback`; the log at level "
        "debug says more",
    )
