"""Embeds images before they are clicked: the task just opened, then the next in the project."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from backends.errors import LabelpilotError
from backends.interface import Project, Task

log = logging.getLogger(__name__)

# The annotator is where the newest wish is; what a bulk request left behind may be forgotten.
WISHES = 64


class Prefetcher:
    """One background thread that warms tasks, newest wish first.

    `warm(project, task)` embeds one task's image unless that is done;
    `next_tasks(project, task)` lists the tasks that the annotator will see after it.
    """

    def __init__(
        self,
        warm: Callable[[Project, Task], None],
        next_tasks: Callable[[Project, Task], Sequence[Task]],
    ) -> None:
        self._warm = warm
        self._next_tasks = next_tasks
        # (project, task, whether the tasks after it are wanted too)
        self._wishes: deque[tuple[Project, Task, bool]] = deque()
        self._changed = threading.Condition()
        self._interactive = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def want(self, project: Project, tasks: Sequence[Task]) -> None:
        """Ask for tasks to be warmed, the first of them first; returns at once."""
        alone = len(tasks) == 1  # one task: somebody opened it; many: a bulk request
        with self._changed:
            self._wishes.extendleft((project, task, alone) for task in reversed(tasks[:WISHES]))
            while len(self._wishes) > WISHES:
                self._wishes.pop()
            self._changed.notify()

    def pause(self) -> None:
        """Start nothing new while an annotator waits for an answer."""
        with self._changed:
            self._interactive += 1

    def resume(self) -> None:
        """Undo one `pause`."""
        with self._changed:
            self._interactive -= 1
            self._changed.notify()

    def close(self) -> None:
        """Stop after the image in hand."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=30)

    def _next(self) -> tuple[Project, Task, bool] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._wishes and not self._interactive))
            return None if self._closed else self._wishes.popleft()

    def _run(self) -> None:
        while (wish := self._next()) is not None:
            project, task, opened = wish
            try:
                self._warm(project, task)
                if opened:
                    self._later(project, self._next_tasks(project, task))
            except LabelpilotError as error:
                log.warning("task %s is not embedded ahead: %s", task.id, error)
            except Exception as error:  # noqa: BLE001 - a wish must not end the thread
                log.warning("task %s is not embedded ahead: %s", task.id, type(error).__name__)

    def _later(self, project: Project, tasks: Sequence[Task]) -> None:
        with self._changed:
            room = max(0, WISHES - len(self._wishes))
            self._wishes.extend((project, task, False) for task in tasks[:room])
