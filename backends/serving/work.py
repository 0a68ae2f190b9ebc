"""Bounded work: a request computes, waits in a short queue, or is told to come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from backends.errors import Busy
from backends.logs import Threads

T = TypeVar("T")


class Lane:
    """A few threads and a queue of limited length in front of them.

    An annotator's click and a bulk request never share a lane, so none waits for the other.
    """

    def __init__(self, name: str, *, threads: int, queue_length: int) -> None:
        self._pool = Threads(threads, thread_name_prefix=name)
        self._room = threading.BoundedSemaphore(threads + queue_length)
        self._flights: dict[str, asyncio.Future[Any]] = {}
        self.pending = 0

    async def run(self, call: Callable[[], T], *, key: str) -> T:
        """The value of `call()`; while an equal `key` is being computed, the value of that.

        Must be awaited on one event loop. Errors: `Busy` when the queue is full, else what
        `call` raises.
        """
        flight: asyncio.Future[Any] | None = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.ensure_future(self._start(call))
            flight.add_done_callback(lambda done: self._land(key, done))
        # A client that hangs up must not cancel what another one waits for.
        value: T = await asyncio.shield(flight)
        return value

    def _land(self, key: str, done: asyncio.Future[Any]) -> None:
        del self._flights[key]
        if not done.cancelled():
            done.exception()  # marks it as seen even if every client has hung up

    async def _start(self, call: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise Busy("more requests wait than the queue takes", advice="send it again later")
        self.pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self.pending -= 1
            self._room.release()

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)
