"""Watches which projects have changed, and has them trained when nobody submits any more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from backends.errors import LabelpilotError, LabelStudioGone
from backends.interface import Background
from backends.micro.nouns import Standing
from backends.micro.out_of_fold import forget_found
from backends.micro.store import MicroStore
from backends.settings import Settings

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_AGAIN_S, _SELDOM_S = 30.0, 300.0  # between tries to tell Label Studio of new models
_IDLE_LOOK_EVERY_S = 2.0  # what other processes noted is seen only so


class Keeper:
    """A thread that asks for trainings; any number of processes may have one.

    `announce` is called with the key of a project whose predictions are of an older version, by one
    of the processes.
    """

    def __init__(
        self,
        settings: Settings,
        store: MicroStore,
        background: Background,
        announce: Callable[[str], None],
        *,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self._settle = settle
        self._settings, self._store = settings, store
        self._background, self._announce = background, announce
        self._again: dict[str, tuple[float, float]] = {}  # not before, and how long after that
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="micro-keeper", daemon=True)

    def start(self) -> None:
        """Watch from now on; returns at once."""
        self._thread.start()

    def wake(self) -> None:
        """Look soon: something happened."""
        self._wake.set()

    def close(self) -> None:
        """Stop watching."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        told = ""
        while not self._stopping.is_set():
            self._wake.clear()
            waits = False
            try:
                waits = self.look()
                told = ""
            except Exception as error:  # whatever it is: it may be over in a moment
                log.debug("looking for what to train", exc_info=True)
                said = _said(error)
                if said != told:
                    log.warning("trainings are not asked for: %s", said)
                told = said
            # An event wakes the keeper at once, but then a moment's quiet is waited for.
            self._stopping.wait(_LOOK_EVERY_S)
            if not waits:
                self._wake.wait(_IDLE_LOOK_EVERY_S)

    def look(self) -> bool:
        """Ask for what is due; whether something waits to become so."""
        self._settle()
        waiting = self._store.waiting()
        now = self._store.now() if waiting else 0.0
        for standing in waiting:
            key = standing.project_key
            if self._is_due(standing, now) and not self._background.is_training(key):
                self._background.train(key)
        unannounced = self._store.unannounced()
        self._again = {key: self._again[key] for key in unannounced if key in self._again}
        for key in unannounced:
            if not self._background.is_training(key):
                self._try_to_announce(key)
        return bool(waiting)

    def _try_to_announce(self, key: str) -> None:
        """Again later and later: Label Studio may be away, or refuse, and others wait."""
        not_before, wait_s = self._again.get(key, (0.0, _AGAIN_S))
        if time.monotonic() < not_before:
            return
        if not self._store.claim_announcing(key, for_s=_AGAIN_S):
            return
        try:
            if key in self._store.unannounced():  # another process may just have done it
                self._again[key] = time.monotonic() + wait_s, min(2 * wait_s, _SELDOM_S)
                self._announce(key)
        except LabelStudioGone as error:
            log.warning("project %s is forgotten: %s", key, error)
            self._store.forget(key)
            forget_found(self._settings, key)
            return
        except Exception as error:  # whatever it is: others must not wait for it
            log.debug("refreshing predictions of project %s", key, exc_info=True)
            log.warning("predictions of project %s are not refreshed yet: %s", key, _said(error))
        self._store.release_announcing(key)

    def _is_due(self, standing: Standing, now: float) -> bool:
        """Nobody has submitted for a moment, or as many were submitted as were labelled before.

        So a training begins soon after an annotator pauses, and where annotators never do, whenever
        the labels have doubled.
        """
        quiet_s = abs(now - standing.touched_at)  # a clock may be put back
        if standing.asked or quiet_s >= self._settings.train_quiet_s:
            return True
        return standing.since >= max(standing.labels, self._settings.train_first_at)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, LabelpilotError) else type(error).__name__
