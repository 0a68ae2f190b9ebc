"""What a model may look at without labels: tasks of its scope that nobody labelled."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backends.interface import ImageFile, Project, Task
from backends.label_studio.random_tasks import random_unlabelled
from backends.logs import Threads
from backends.micro.nouns import Scope, ScopeKind
from backends.micro.scopes import covers

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

# Slow media must not hold a training up: what is here by then is taken.
WITHIN_S = 5.0
_FETCHING = 8  # threads
_LOOK_EVERY_S = 0.25


def pool(
    client: LabelStudio,
    project: Project,
    scope: Scope,
    *,
    known_ids: Collection[int],
    limit: int,
    rng: np.random.Generator,
    go_on: Callable[[], None],
) -> list[Task]:
    """Up to `limit` tasks of a scope from all over the project, without annotations or `known_ids`.

    Errors: `LabelStudioError`.
    """
    if limit <= 0 or scope.kind is ScopeKind.CLIP:
        return []
    for field in _fields(scope):
        found = random_unlabelled(
            client, project.id, limit=limit, rng=rng, field=field, go_on=go_on
        )
        fit = [task for task in found if covers(scope, task) and task.id not in known_ids]
        if fit:
            return fit
    return []


def _fields(scope: Scope) -> list[tuple[str, str | float] | None]:
    """How Label Studio may have the field that all tasks of a scope share."""
    if scope.kind is not ScopeKind.FIELD:
        return [None]
    values: list[str | float] = [scope.value]
    if scope.value in ("True", "False"):
        values.append(scope.value.lower())
    with suppress(ValueError):
        number = float(scope.value)
        typed = int(number) if scope.value.lstrip("-").isdecimal() else number
        values += [typed] if str(typed) == scope.value and math.isfinite(number) else []
    return [(scope.field, value) for value in values]


def located(
    tasks: Sequence[Task],
    locate: Callable[[Task], ImageFile],
    *,
    go_on: Callable[[], None],
    within_s: float = WITHIN_S,
) -> list[tuple[int, Path]]:
    """(task id, picture) of those whose picture is here in time, in their order; others are not."""
    threads = Threads(_FETCHING, thread_name_prefix="micro-look")
    deadline = time.monotonic() + within_s
    try:
        futures = [threads.submit(locate, task) for task in tasks]
        waiting: set[Future[ImageFile]] = set(futures)
        while waiting and (left_s := deadline - time.monotonic()) > 0:
            go_on()
            waiting = wait(waiting, timeout=min(left_s, _LOOK_EVERY_S)).not_done
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    return [
        (task.id, future.result().path)
        for task, future in zip(tasks, futures, strict=True)
        if task.id is not None and _is_here(future)
    ]


def _is_here(future: Future[ImageFile]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
