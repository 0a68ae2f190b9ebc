"""Events that came while the database was away: Label Studio says nothing twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from backends.errors import Unavailable
from backends.interface import EventKind

# Of a project, what happened, and how many annotations that brought.
Note = Callable[[int, EventKind, int], None]
_MOST = 10_000  # projects and kinds; anyone may send events of any


class Owed:
    """Notes events, and keeps those that cannot be until they can. Safe among threads.

    What is lost with the process is found by the next one, which compares all projects.
    """

    def __init__(self, note: Note) -> None:
        self._note, self._lock = note, threading.Lock()
        self._left: Counter[tuple[int, EventKind]] = Counter()

    def note(self, project_id: int, kind: EventKind, submissions: int) -> None:
        """Note an event, now or later. Errors: `Unavailable`, if it is later."""
        try:
            self._note(project_id, kind, submissions)
        except Unavailable:
            self._keep(project_id, kind, submissions)
            raise

    def settle(self) -> None:
        """Note what is left. Errors: `Unavailable`."""
        with self._lock:
            left, self._left = self._left, Counter()
        while left:
            (project_id, kind), submissions = left.popitem()
            try:
                self.note(project_id, kind, submissions)
            except Unavailable:
                for (other, what), many in left.items():
                    self._keep(other, what, many)
                raise

    def _keep(self, project_id: int, kind: EventKind, submissions: int) -> None:
        with self._lock:
            if len(self._left) < _MOST:
                self._left[project_id, kind] += submissions
