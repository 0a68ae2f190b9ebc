"""Bounded work: a request computes, waits in a short queue, or is told to come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from backends.errors import Busy
from backends.logs import Threads
from micro_models.threads import step_back

T = TypeVar("T")


class Lane:
    """A few threads and a queue of limited length in front of them.

    An annotator's click and a bulk request never share a lane, so none waits for the other. The
    threads of a lane leave the cores to others, too, by so much as `nice` of processes says.
    """

    def __init__(self, name: str, *, threads: int, queue_length: int, nice: int = 0) -> None:
        self._pool = Threads(
            threads, thread_name_prefix=name, initializer=step_back, initargs=(nice,)
        )
        self._room = threads + queue_length
        self._guard = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self.pending = 0

    async def run(self, call: Callable[[], T], *, key: str) -> T:
        """The value of `call()`; while an equal `key` is being computed, the value of that.

        Where all who wait for it are cancelled before it has begun, it is not computed, and its
        place is free. Must be awaited on one event loop. Errors: `Busy` when the queue is full,
        else what `call` raises.
        """
        flight = self._flights.get(key)
        if flight is None or flight.work.cancelled():
            flight = self._begin(call, key)
        flight.waiting += 1
        try:
            # A client that hangs up must not cancel what another one waits for.
            value: T = await asyncio.shield(asyncio.wrap_future(flight.work))
            return value
        finally:
            flight.waiting -= 1
            if flight.waiting == 0:
                flight.work.cancel()  # does nothing once it computes

    def _begin(self, call: Callable[[], T], key: str) -> _Flight:
        with self._guard:
            if self.pending >= self._room:
                raise Busy("more requests wait than the queue takes", advice="send it again later")
            self.pending += 1
        flight = self._flights[key] = _Flight(self._pool.submit(call))
        flight.work.add_done_callback(lambda _: self._land(key, flight))
        return flight

    def _land(self, key: str, flight: _Flight) -> None:
        """It is done or dropped; called by whichever thread did that."""
        with self._guard:
            self.pending -= 1
            if self._flights.get(key) is flight:
                del self._flights[key]

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Flight:
    """One computation, and how many wait for it."""

    def __init__(self, work: Future[Any]) -> None:
        self.work, self.waiting = work, 0
