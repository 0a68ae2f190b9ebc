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

_NEVER = float("inf")
# (when this limit ends, when the one around it does)
_ends: ContextVar[tuple[float, float]] = ContextVar("_ends", default=(_NEVER, _NEVER))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End what this thread does over the network after `seconds`; an outer limit still holds."""
    around, _ = _ends.get()
    before = _ends.set((min(around, time.monotonic() + seconds), around))
    try:
        yield
    finally:
        _ends.reset(before)


def more_time(seconds: float, *, at_most_s: float) -> None:
    """Put off the innermost deadline, but not beyond `at_most_s` from now nor an outer limit."""
    ends, around = _ends.get()
    later = min(ends + seconds, time.monotonic() + at_most_s)
    _ends.set((min(around, max(ends, later)), around))


def time_left() -> float:
    """Seconds until the deadline: 0 or less when it is over, infinite without one."""
    return _ends.get()[0] - time.monotonic()


def within(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """`timeout`, or the time that is left if that is less. Errors: `late` when none is left."""
    left = time_left()
    if left == _NEVER:
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
