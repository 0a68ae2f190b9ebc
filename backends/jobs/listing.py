"""Finds a job's tasks, page by page; those of one page are labelled while the next is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from backends.jobs.store import JobStore
from backends.jobs.tables import JobKind, PrelabelOptions, Turn
from backends.jobs.uploads import Patience
from backends.label_studio.tasks import (
    WITH_RESULTS_AT_ONCE,
    ids_without,
    pages,
    stored_predictions,
)

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

PAGE = 1_000


def turn_size(total: int) -> int:
    """How many tasks of `total` to label in a turn: enough turns to share, few requests."""
    return max(50, min(500, total // 16))


class Listing:
    """Makes turns of the tasks of `turn`'s job; may be done again at any point.

    `go_on` is called before each request and may raise, `sent` when there are new turns.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        store: JobStore,
        client: Callable[[], LabelStudio],
        patiently: Patience,
        go_on: Callable[[], None],
        sent: Callable[[], None],
    ) -> None:
        self._turn, self._options = turn, turn.job.options or PrelabelOptions()
        self._turns, self._client = store.turns, client
        self._patiently, self._go_on, self._sent = patiently, go_on, sent

    def run(self) -> None:
        """Each page is kept before the next is asked for."""
        limit = self._options.limit
        while True:
            last, listed = self._turns.listed_to(self._turn)
            size = PAGE if limit is None else min(PAGE, limit - listed)
            if size <= 0:
                break
            self._go_on()
            ids, total = self._patiently(partial(self._page, after_id=last, size=size))
            if not ids:
                break
            expected = min(listed + total, limit or listed + total)
            end = ids[-1]
            if self._turn.job.kind is JobKind.REFRESH:
                ids = self._least_certain_first(ids)
            self._turns.note_page(
                self._turn, pages(ids, turn_size(expected)), last=end, expected=expected
            )
            self._sent()
        self._turns.note_listed(self._turn)

    def _page(self, *, after_id: int, size: int) -> tuple[list[int], int]:
        job = self._turn.job
        return ids_without(
            self._client(),
            job.project_id,
            job.version,
            self._options.tasks,
            after_id=after_id,
            size=size,
        )

    def _least_certain_first(self, ids: Sequence[int]) -> list[int]:
        """By the scores of what is stored for them; those without one last.

        Label Studio could order them only by predictions of the version that their project goes
        by, which is just the one that they lack.
        """
        job, scores = self._turn.job, dict.fromkeys(ids, math.inf)
        for some in pages(ids, WITH_RESULTS_AT_ONCE):
            self._go_on()
            ask = partial(stored_predictions, self._client(), job.project_id, job.version, some)
            for task_id, known in self._patiently(ask).items():
                scores[task_id] = math.inf if known.score is None else known.score
        return sorted(ids, key=scores.__getitem__)
