"""What the status page and /metrics tell: recent requests with times, recent problems."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)

REQUESTS = 30
PROBLEMS = 20
TOLD = 1_000
MESSAGE_CHARS = 500
PROBLEM_LEVELS = ("warning", "error", "critical")
# Kinds of requests. Label Studio asks for health and setup at every turn, an open status page for
# itself; they would hide the rest.
SEEN_TOO_OFTEN = frozenset({"health", "ready", "setup", "metrics", "page", "picture"})
CLICK_SECONDS = (0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 100.0)


@dataclass(frozen=True)
class Answered:
    """One answered request; `took_s` in seconds."""

    at: datetime
    path: str
    kind: str
    status: int
    took_s: float
    detail: str = ""


@dataclass(frozen=True)
class Problem:
    """A warning or error of the program's own log; `times` counts repetitions."""

    at: datetime
    message: str
    level: str
    times: int = 1


class Told:
    """Remembers what was said last about each thing, of the last thousand. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._last: OrderedDict[str, int] = OrderedDict()

    def is_news(self, about: str, said: tuple[str, ...]) -> bool:
        """Whether something else, or nothing, was said about it before."""
        with self._guard:
            before = self._last.pop(about, None)
            self._last[about] = hash(said)
            while len(self._last) > TOLD:
                self._last.popitem(last=False)
            return before != self._last[about]


class Journal(logging.Handler):
    """Keeps the last requests and problems; thread-safe. One per application.

    As a log handler it collects every warning and error, so that whoever logs one needs to know
    nothing about the status page. `registry` is for those who have more to tell.
    """

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self._guard = threading.Lock()
        self._requests: deque[Answered] = deque(maxlen=REQUESTS)
        self._problems: OrderedDict[str, Problem] = OrderedDict()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._seconds = Histogram(
            "labelpilot_request_seconds",
            "Time to answer",
            ["path", "kind"],
            registry=self.registry,
            buckets=CLICK_SECONDS,
        )
        self._statuses = Counter(
            "labelpilot_requests", "Answers", ["path", "kind", "status"], registry=self.registry
        )
        self._logged = Counter(
            "labelpilot_problems",
            "Warnings and errors in the program's own log",
            ["level"],
            registry=self.registry,
        )
        for level in PROBLEM_LEVELS:  # a series that is there before it is needed can be alerted on
            self._logged.labels(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a log record."""
        message = record.getMessage()[:MESSAGE_CHARS]
        self._logged.labels(record.levelname.lower()).inc()
        with self._guard:
            before = self._problems.pop(message, None)
            times = before.times + 1 if before else 1
            at = datetime.now(UTC)
            self._problems[message] = Problem(at, message, record.levelname.lower(), times)
            while len(self._problems) > PROBLEMS:
                self._problems.popitem(last=False)

    def answered(
        self, path: str, kind: str, *, status: int, took_s: float, detail: str = ""
    ) -> None:
        """Note one answer. `path` is a route, never what a caller made up."""
        self._seconds.labels(path, kind).observe(took_s)
        self._statuses.labels(path, kind, str(status)).inc()
        if kind in SEEN_TOO_OFTEN and status == 200:
            return
        with self._guard:
            self._requests.append(Answered(datetime.now(UTC), path, kind, status, took_s, detail))

    def requests(self) -> list[Answered]:
        """The last requests, newest first."""
        with self._guard:
            return list(self._requests)[::-1]

    def problems(self) -> list[Problem]:
        """The last problems, newest first."""
        with self._guard:
            return [replace(problem) for problem in reversed(self._problems.values())]

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
