"""Whether a long piece of work is still wanted."""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy.exc import SQLAlchemyError

from backends.jobs.changes import Lost
from backends.jobs.tables import Turn
from backends.jobs.turn_store import TurnStore
from backends.jobs.uploads import Stopped

log = logging.getLogger(__name__)

_ASK_EVERY_S = 1.0


class Watch:
    """Raises when a turn is no longer to be done: `Stopped`, `Lost`. Call it as often as you like.

    A database that is away for a moment stops nothing. Any thread may call.
    """

    def __init__(self, store: TurnStore, turn: Turn, stopping: threading.Event) -> None:
        self._store, self._turn, self._stopping = store, turn, stopping
        self._asked_at = float("-inf")
        self._lost = False

    def __call__(self) -> None:
        """Errors: `Stopped`, `Lost`."""
        self.again()
        if time.monotonic() - self._asked_at < _ASK_EVERY_S:
            return
        self._asked_at = time.monotonic()
        try:
            self._store.check(self._turn)
        except Lost:
            self._lost = True
            raise
        except SQLAlchemyError as error:
            log.debug("the database failed (%s)", type(error).__name__)

    def again(self) -> None:
        """What a call has raised before, if one has. Errors: `Stopped`, `Lost`."""
        if self._lost:
            raise Lost
        if self._stopping.is_set():
            raise Stopped
