"""Asking what may hang, for somebody who must have an answer: a probe, a scrape."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Bounded(Generic[T]):
    """`ask` in a thread of its own, of which there is one at a time, however many want to know.

    An answer is good for `keep_s`. What hangs is not asked a second time while it does.
    """

    def __init__(self, name: str, ask: Callable[[], T], *, limit_s: float, keep_s: float) -> None:
        self._name, self._ask = name, ask
        self._limit_s, self._keep_s = limit_s, keep_s
        self._lock = threading.Lock()
        self._asked: Future[T] = Future()
        self._asked_at = self._told_at = float("-inf")

    def begin(self) -> None:
        """Ask, unless somebody just did; returns at once."""
        with self._lock:
            now = time.monotonic()
            asks = self._asked_at > self._told_at
            if asks or now - self._told_at < self._keep_s:
                return
            self._asked, self._asked_at = Future(), now
            threading.Thread(
                target=self._run, args=(self._asked,), name=self._name, daemon=True
            ).start()

    def answer(self) -> T:
        """What `ask` returned, or raises what it raised. Errors: `TimeoutError` beyond the limit.

        The limit counts from when it was asked: who comes later waits less.
        """
        self.begin()
        with self._lock:
            asked, until = self._asked, self._asked_at + self._limit_s
        return asked.result(timeout=max(0.0, until - time.monotonic()))

    def _run(self, asked: Future[T]) -> None:
        try:
            told = self._ask()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            asked.set_exception(error)
        else:
            asked.set_result(told)
        with self._lock:
            self._told_at = time.monotonic()
