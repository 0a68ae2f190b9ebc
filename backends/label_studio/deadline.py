"""One deadline for all that a thread does over the network.

The timeouts of httpx count from each read: a server that sends a byte now and then never meets
them. Inside `time_limit`, every read and write of the connections ends when the time is over.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

_ends_at: ContextVar[float] = ContextVar("_ends_at", default=float("inf"))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End what this thread does over the network after `seconds`; an outer limit still holds."""
    before = _ends_at.set(min(_ends_at.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends_at.reset(before)


def time_left() -> float:
    """Seconds until the deadline: 0 or less when it is over, infinite without one."""
    return _ends_at.get() - time.monotonic()


def within(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """`timeout`, or the time that is left if that is less. Errors: `late` when none is left."""
    left = time_left()
    if left == float("inf"):
        return timeout
    if left <= 0:
        raise late("the time for all of it is over")
    return left if timeout is None else min(timeout, left)


class LimitedStream(httpcore.NetworkStream):
    """A connection that keeps to the deadline of whichever thread uses it."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most `max_bytes`; b"" at the end."""
        return self._stream.read(max_bytes, within(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of `buffer`."""
        self._stream.write(buffer, within(timeout, httpcore.WriteTimeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """The same connection, encrypted."""
        limit = within(timeout, httpcore.ConnectTimeout)
        return LimitedStream(self._stream.start_tls(ssl_context, server_hostname, limit))

    def get_extra_info(self, info: str) -> Any:
        """What the connection says about itself."""
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
