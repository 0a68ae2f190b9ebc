"""The tasks that a version is least sure of, for people to look at."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from backends.micro.nouns import Shown
from micro_models.regions import Region

KEPT = 5


class Least:
    """Of one version of one project the few tasks with the lowest scores. Any thread may add."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._lock = threading.Lock()
        self._kept: dict[int, Shown] = {}
        self._told: tuple[Shown, ...] = ()

    def add(self, task_id: int, score: float, regions: Sequence[Region]) -> None:
        """A task was labelled: its prediction's score, 0..1, lowest = least sure."""
        with self._lock:
            self._kept[task_id] = Shown(task_id, score, tuple(regions))
            if len(self._kept) > KEPT:
                del self._kept[max(self._kept, key=lambda one: self._kept[one].score)]

    def news(self) -> tuple[Shown, ...] | None:
        """The least sure one first; None if they are those of the last time."""
        with self._lock:
            now = tuple(sorted(self._kept.values(), key=lambda one: (one.score, one.task_id)))
            if [one.task_id for one in now] == [one.task_id for one in self._told]:
                return None
            self._told = now
            return now


class Doubtful:
    """The least sure tasks of each project's present version."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._projects: dict[str, Least] = {}

    def of(self, project_key: str, version: str) -> Least:
        """Those of a project; begins anew with each version."""
        with self._lock:
            found = self._projects.get(project_key)
            if found is None or found.version != version:
                found = self._projects[project_key] = Least(version)
            return found
