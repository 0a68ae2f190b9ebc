"""Annotations of tasks of which some, by lot, were served without predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Bools

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Trial:
    """n annotations: of which task and by whom, any integers, and whether the task was blind.

    Errors: ValueError if they are not equally many, or a task is both blind and not.

    >>> trial = Trial(task=[7, 7, 9], annotator=[1, 2, 1], blind=[True, True, False])
    >>> trial.tasks, trial.blind_tasks
    (2, 1)
    """

    task: Sequence[int]
    annotator: Sequence[int]
    blind: Sequence[bool]
    # By place in the sorted ids: (n,) which task, (n,) which annotator, (t,) whether it is blind.
    of_task: Ints = field(init=False, repr=False, compare=False)
    of_annotator: Ints = field(init=False, repr=False, compare=False)
    is_blind: Bools = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not len(self.task) == len(self.annotator) == len(self.blind):
            raise ValueError("tasks, annotators and blindness must be equally many")
        blind = np.asarray(self.blind, np.bool_)
        ids, of_task = np.unique(np.asarray(self.task, np.int64), return_inverse=True)
        _, of_annotator = np.unique(np.asarray(self.annotator, np.int64), return_inverse=True)
        is_blind = np.zeros(len(ids), np.bool_)
        is_blind[of_task] = blind
        if (is_blind[of_task] != blind).any():
            raise ValueError("a task is blind for everybody, or for nobody")
        object.__setattr__(self, "of_task", of_task)
        object.__setattr__(self, "of_annotator", of_annotator)
        object.__setattr__(self, "is_blind", is_blind)

    def __len__(self) -> int:
        return len(self.task)

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return len(self.is_blind)

    @property
    def blind_tasks(self) -> int:
        """How many of them were blind."""
        return int(self.is_blind.sum())

    @property
    def blind_mask(self) -> Bools:
        """(n,) whether each annotation is of a blind task."""
        return self.is_blind[self.of_task]

    def only(self, wanted: Bools) -> Trial:
        """The annotations where (n,) `wanted` is true."""
        kept = np.flatnonzero(wanted)
        return Trial(
            [int(self.task[i]) for i in kept],
            [int(self.annotator[i]) for i in kept],
            [bool(self.blind[i]) for i in kept],
        )

    def of_both(self) -> Bools:
        """(n,) whether an annotation's annotator has annotated both blind and other tasks."""
        blind = np.bincount(self.of_annotator, self.blind_mask)
        shown = np.bincount(self.of_annotator, ~self.blind_mask)
        both: Bools = ((blind > 0) & (shown > 0))[self.of_annotator]
        return both

    def sums(self, values: Doubles) -> Doubles:
        """(t,) the sum of (n,) `values` of each task."""
        result = np.bincount(self.of_task, values, minlength=self.tasks)
        return result.astype(np.float64)
