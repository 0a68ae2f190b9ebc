"""Bounds on what a call may use, far above what it needs and far below what a bomb asks for."""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class TooMuch(Exception):
    """More of the processor than allowed."""


@contextmanager
def bounded(*, cpu_s: float = 20, memory_mb: int = 200) -> Iterator[None]:
    """Fails what uses more of the processor, or more memory that Python and numpy know of."""

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise TooMuch(f"more than {cpu_s} s of the processor")

    before = signal.signal(signal.SIGPROF, stop)
    tracemalloc.start()
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
        peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        tracemalloc.stop()
    assert peak_mb < memory_mb
