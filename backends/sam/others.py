"""Tells other servers what is pointed at here, and hears it from them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from backends.errors import LabelpilotError
from backends.sam.pointing import KEEP_S, Place, PointedObject
from backends.sam.prompt_store import PromptStore

log = logging.getLogger(__name__)

_AWAY_S = 10.0  # no click waits for a database that has failed less than this ago
_FORGET_EVERY_S = 60.0
_MOST_WAITING = 500


class Others:
    """What servers know together. No click waits until something is written; nothing is raised."""

    def __init__(self, store: PromptStore, *, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._away_until = self._forgot_at = float("-inf")
        self._waiting = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="clicks")

    def of(self, place: Place, *, known: Sequence[PointedObject]) -> list[PointedObject]:
        """Objects of a place, the oldest first; those of `known` need no reading."""
        if time.monotonic() < self._away_until:
            return []
        try:
            return self._store.of(place, since=self._clock() - KEEP_S, known=known)
        except LabelpilotError as error:
            self._failed(error)
            return []

    def put(self, place: Place, pointed: PointedObject) -> None:
        """Tell of an object that something was drawn for."""
        self._later(partial(self._store.put, place, pointed))

    def answer(self, place: Place, answered: PointedObject) -> None:
        """Tell what was answered."""
        self._later(partial(self._store.answer, place, answered))

    def close(self) -> None:
        """Tell what is left to tell."""
        self._writer.shutdown()
        self._store.close()

    def _later(self, write: Callable[[], None]) -> None:
        if self._waiting < _MOST_WAITING:
            self._waiting += 1
            self._writer.submit(self._write, write)

    def _write(self, write: Callable[[], None]) -> None:
        self._waiting -= 1
        if time.monotonic() < self._away_until:
            return
        try:
            write()
            if time.monotonic() - self._forgot_at > _FORGET_EVERY_S:
                self._store.forget(self._clock() - KEEP_S)
                self._forgot_at = time.monotonic()
        except LabelpilotError as error:
            self._failed(error)

    def _failed(self, error: LabelpilotError) -> None:
        self._away_until = time.monotonic() + _AWAY_S
        log.warning("other servers are not told of clicks for a moment: %s", error)
