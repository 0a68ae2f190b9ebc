"""Bounded work: a request computes, waits in a short queue, or is told to come back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from backends.errors import Busy
from backends.logs import Threads
from micro_models.threads import step_back

T = TypeVar("T")
_NEWS = 0.1  # how much of what is usual the last computation says


class Lane:
    """A few threads and a queue of limited length in front of them.

    An annotator's click and a bulk request never share a lane, so none waits for the other. The
    threads of a lane leave the cores to others, too, by so much as `nice` of processes says. Who
    would probably wait longer than `longest_wait_s` is told at once, who has waited so long is told
    then: a flood that is over is soon forgotten, however slow the model.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        queue_length: int,
        nice: int = 0,
        longest_wait_s: float = float("inf"),
    ) -> None:
        self._pool = Threads(
            threads, thread_name_prefix=name, initializer=step_back, initargs=(nice,)
        )
        self._threads, self._room = threads, threads + queue_length
        self._longest_wait_s, self._usual_s = longest_wait_s, 0.0
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
            waiting = max(self.pending - self._threads, 0)
            wait_s = waiting * self._usual_s / self._threads
            if self.pending >= self._room or wait_s > self._longest_wait_s:
                raise _busy()
            self.pending += 1
        work = self._pool.submit(self._timed, call, time.perf_counter())
        flight = self._flights[key] = _Flight(work)
        flight.work.add_done_callback(lambda _: self._land(key, flight))
        return flight

    def _timed(self, call: Callable[[], T], asked: float) -> T:
        began = time.perf_counter()
        if began - asked > self._longest_wait_s:  # calls have become slower since
            raise _busy()
        try:
            return call()
        finally:
            took_s = time.perf_counter() - began
            with self._guard:
                self._usual_s += _NEWS * (took_s - self._usual_s)

    def _land(self, key: str, flight: _Flight) -> None:
        """It is done or dropped; called by whichever thread did that."""
        with self._guard:
            self.pending -= 1
            if self._flights.get(key) is flight:
                del self._flights[key]

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _busy() -> Busy:
    return Busy("more requests wait than can be answered soon", advice="send it again later")


class _Flight:
    """One computation, and how many wait for it."""

    def __init__(self, work: Future[Any]) -> None:
        self.work, self.waiting = work, 0
