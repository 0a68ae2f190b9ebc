"""Threads that leave the cores to others: while they wait, or whenever others want them."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress


def wait_passively() -> None:
    """Call before torch is imported for the first time, which is when it reads this.

    By default its threads wait for each other in busy loops. Beside one other busy process a step
    of a training then took 9 s instead of 0.1 s.

    >>> wait_passively()
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def step_back(nice: int) -> None:
    """Let this thread, and those that it starts from now on, compute after others.

    By so much as `nice` of processes says, 0..19. On Linux, where each thread has a priority of its
    own; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
