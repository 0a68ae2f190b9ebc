"""Results that are stored together, and when they are worth a request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
_GOOD_BATCH = 50  # importing has a high price per request: not fewer, if more come soon
# And the price is higher in a larger project: with each import Label Studio counts all its
# predictions. With 20,000 tasks 50 took 1.3 s, 400 took 2.0 s. So a batch grows for several times
# as long as the one before took, which is longer the more workers store there: with a limit of
# 30 s, two workers stored a third of what one did.
_GROWS, _GROWS_AT_MOST_S = 5.0, 120.0
_SOON_S = 5.0
VERY_SOON_S = 1.0  # for those that somebody waits for
_MOST_WAITING = 500
_MOST_BYTES = 16_000_000  # masks are large, and Label Studio parses a request as a whole


@dataclass
class Batch:
    """Results that are to be stored and counted together; `items` by task id."""

    items: dict[int, Json] = field(default_factory=dict)
    landed: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    withheld: dict[int, Json | None] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    nbytes: int = 0
    soon_s: float = _SOON_S
    grows_s: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def __len__(self) -> int:
        done = len(self.landed) + len(self.skipped) + len(self.failed)
        return len(self.items) + len(self.withheld) + done

    @property
    def ripe(self) -> bool:
        """Whether it is worth a request."""
        age_s = time.monotonic() - self.since
        is_good = len(self) >= _GOOD_BATCH or age_s > self.soon_s
        return is_good and age_s >= self.grows_s

    @property
    def full(self) -> bool:
        """Whether it must go before more is added."""
        return len(self) >= _MOST_WAITING or self.nbytes >= _MOST_BYTES


class ImportTimes:
    """How long the last import into each project took, in seconds. Thread-safe."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def note(self, project_key: str, took_s: float) -> None:
        """One has just ended."""
        self._seconds[project_key] = took_s

    def batch_grows_s(self, project_key: str) -> float:
        """How long to gather results before the next is worth its price."""
        return min(_GROWS * self._seconds.get(project_key, 0.0), _GROWS_AT_MOST_S)
