"""One process that does turns, and takes over those of others that died."""

from __future__ import annotations

import time
from collections.abc import Callable

from backends.jobs.engine import Engine
from backends.jobs.queues import AHEAD, queues
from backends.jobs.slots import Slot
from backends.jobs.store import JobStore
from backends.settings import Settings

CARE_EVERY_S = 5.0
DEAD_AFTER_S = 40.0  # without a sign of life, on whatever machine


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
        self._heart = Heart(store, self._slot.name)
        try:
            self._engine = Engine(settings, self._slot.name, run, takes=self._queues)
        except BaseException:
            self._slot.close()
            raise

    def tick(self) -> None:
        """Hand out what is new; now and then look for what dead workers had in hand."""
        if time.monotonic() - self._cared_at > CARE_EVERY_S:
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
        silent = self._heart.beat()
        self._store.turns.take_back(self._engine.dropped(self._store.turns.begun(), silent))
        self._store.forget(silent)
        for name in self._slot.orphans():
            self._store.turns.take_back(self._engine.dropped([], [name]))
        self._engine.forget_ended()


class Heart:
    """Signs of life, in the database, of the worker of this name."""

    def __init__(self, store: JobStore, name: str) -> None:
        self._store, self._name = store, name
        self._beats_since: float | None = None
        self._clocks_differ_s = 0.0

    def beat(self) -> list[str]:
        """Give a sign; the names of those who gave none for long. Errors: the database's.

        While the database is away nobody can give one; when its clock is set, everybody's last one
        seems long ago. So whoever met that, or has just begun, waits as long before it calls others
        dead.
        """
        since, self._beats_since = self._beats_since, None
        silent, now = self._store.seen(self._name, dead_after_s=DEAD_AFTER_S)
        differ_s = now - time.monotonic()
        if since is None or abs(differ_s - self._clocks_differ_s) > CARE_EVERY_S:
            since = time.monotonic()
        self._beats_since, self._clocks_differ_s = since, differ_s
        return silent if time.monotonic() - since >= DEAD_AFTER_S else []
