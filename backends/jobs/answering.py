"""What a pre-labeller answers at once, and what it leaves to background work."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing

from backends.errors import LabelpilotError
from backends.interface import (
    Background,
    Labelled,
    PlacedRegion,
    Prediction,
    Project,
    Task,
)
from backends.label_studio.blind import Blindfold
from micro_models.regions import Mask

log = logging.getLogger(__name__)

# Full-size masks that one answer holds until it is encoded; with more, the rest follows later.
HELD_BYTES = 300_000_000

Label = Callable[[Sequence[Task]], Generator[Labelled, None, None]]


def answer_in_time(
    label: Label,
    tasks: Sequence[Task],
    *,
    project: Project,
    version: str,
    deadline: float,
    background: Background | None,
    later: Callable[[Task], bool],
    blindfold: Blindfold,
) -> list[Prediction | None]:
    """One answer per task: what `label` gives before `deadline` (of `time.monotonic`), else None.

    The rest, and tasks that are for `later`, is left to the background; what is labelled there
    already stays there. Tasks that the `blindfold` hides get no answer.
    """
    hidden = blindfold.hidden(project, tasks)
    open_tasks = [task for task in tasks if task.id not in hidden]
    pending = _pending(background, project, version, open_tasks)
    todo = [task for task in open_tasks if task.id not in pending and not later(task)]
    found: dict[int, Prediction | None] = {}
    for labelled in _in_time(label, todo, deadline):
        found[id(labelled.task)] = labelled.prediction
        if labelled.error is not None:
            log.warning("task %s is not pre-labelled: %s", labelled.task.id, labelled.error)
    rest = [task for task in open_tasks if id(task) not in found and task.id not in pending]
    leave(background, project, version, rest)
    return [found.get(id(task)) for task in tasks]


def leave(
    background: Background | None, project: Project, version: str, tasks: Sequence[Task]
) -> None:
    """Have tasks labelled in the background; says so where that cannot be."""
    ids = [task.id for task in tasks if task.id is not None]
    if not ids:
        return
    if background is None:
        log.warning("%d tasks were left out for want of time or memory: ask again", len(ids))
        return
    try:
        background.prelabel(project, version, ids)
    except LabelpilotError as error:
        log.warning("%d tasks are not pre-labelled in the background: %s", len(ids), error)


def _in_time(label: Label, tasks: Sequence[Task], deadline: float) -> Iterator[Labelled]:
    """What is labelled before the time and memory are used up that an answer may take."""
    if not tasks:
        return
    last = time.monotonic()
    longest, held = 0.0, 0
    with closing(label(tasks)) as labelled:
        for one in labelled:
            yield one
            now = time.monotonic()
            longest, last = max(longest, now - last), now
            held += _mask_bytes(one)
            # Batches double at first: the next may take twice the longest.
            if now + 2 * longest > deadline or held > HELD_BYTES:
                return


def _pending(
    background: Background | None, project: Project, version: str, tasks: Sequence[Task]
) -> Collection[int]:
    """Those of the tasks that are labelled in the background already."""
    ids = {task.id for task in tasks if task.id is not None}
    try:
        return background.pending(project, version, ids) if background else ()
    except LabelpilotError as error:  # what can be answered now still is
        log.warning("it is not known what is labelled in the background: %s", error)
        return ()


def _mask_bytes(labelled: Labelled) -> int:
    """What the masks of its prediction hold in memory."""
    regions = labelled.prediction.regions if labelled.prediction else ()
    masks = [
        placed.region.shape
        for placed in regions
        if isinstance(placed, PlacedRegion) and isinstance(placed.region.shape, Mask)
    ]
    return sum(mask.pixels.nbytes for mask in masks)
