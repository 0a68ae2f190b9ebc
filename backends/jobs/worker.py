"""One process that does turns, and takes over those of others that died."""

from __future__ import annotations

import time
from collections.abc import Callable

from backends.jobs.engine import AHEAD, Engine, queues
from backends.jobs.slots import Slot
from backends.jobs.store import JobStore
from backends.settings import Settings

_CARE_EVERY_S = 15.0
DEAD_AFTER_S = 180.0  # without a sign of life, on whatever machine


class Worker:
    """Calls `run(turn id, attempt)` for turns, in threads, until `close`; those of trainings only
    where `trains`. Errors: `StateError`.
    """

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        run: Callable[[str, int], None],
        *,
        trains: bool,
    ) -> None:
        self._store = store
        self._queues = queues(settings, trains=trains)
        self._ahead = max(AHEAD, 4 * settings.job_threads)
        self._cared_at = float("-inf")
        self._slot = Slot(settings.data_path / "workers", fixed=settings.executor_id)
        try:
            self._engine = Engine(settings, self._slot.name, run, takes=self._queues)
        except BaseException:
            self._slot.close()
            raise

    def tick(self) -> None:
        """Hand out what is new; now and then look for what dead workers had in hand."""
        if time.monotonic() - self._cared_at > _CARE_EVERY_S:
            self._care()
            self._cared_at = time.monotonic()
        for queue in self._queues:
            while turns := self._store.turns.unsent(queue.kinds, ahead=self._ahead):
                self._engine.send(queue, turns)
                self._store.turns.mark_sent(turns)

    def close(self) -> None:
        """Take no more turns, and wait until those in hand have ended."""
        try:
            self._engine.close()
            self._store.forget([self._slot.name])
        finally:
            self._slot.close()

    def _care(self) -> None:
        silent = self._store.seen(self._slot.name, dead_after_s=DEAD_AFTER_S)
        self._store.turns.take_back(self._engine.dropped(self._store.turns.begun(), silent))
        self._store.forget(silent)
        for name in self._slot.orphans():
            self._store.turns.take_back(self._engine.dropped([], [name]))
