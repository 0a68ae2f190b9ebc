"""Tasks without annotations, drawn at random from a project of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.interface import Task
from backends.label_studio.data_manager import item, later, page, tasks_of

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

Json = dict[str, Any]

# Pages that begin at random ids, and of how many of their tasks one is taken: neighbours are alike.
_STARTS, _THINNED = 6, 4
_LARGEST_PAGE = 200


def random_unlabelled(
    client: LabelStudio,
    project_id: int,
    *,
    limit: int,
    rng: np.random.Generator,
    field: tuple[str, str | float] | None = None,
    go_on: Callable[[], None],
) -> list[Task]:
    """Up to `limit` tasks without annotations in id order, from all over the project.

    `field`: only those whose data has that value under that key; a number is not its text. All of
    them where there are no more. A few requests, however many tasks there are. `go_on` is called
    before each. Errors: `LabelStudioError`.
    """
    wanted = [item("total_annotations", "equal", "Number", 0)]
    if field is not None:
        wanted.append(item(f"data.{field[0]}", "equal", "String", field[1]))
    go_on()
    first, total = tasks_of(page(client, project_id, wanted, size=limit))
    if total <= limit or not first:
        return first
    go_on()
    last, _ = tasks_of(page(client, project_id, wanted, size=1, ordering="-tasks:id"))
    low, high = first[0].id or 0, max(task.id or 0 for task in (*last, *first))
    found: dict[int | None, Task] = {}
    each = -(-limit // _STARTS)
    for start in np.sort(rng.integers(low, high + 1, _STARTS)).tolist():
        go_on()
        size = min(each * _THINNED, _LARGEST_PAGE)
        some, _ = tasks_of(page(client, project_id, [*wanted, later(start - 1)], size=size))
        new = [task for task in some if task.id not in found]
        for index in rng.permutation(len(new))[:each].tolist():
            found[new[index].id] = new[index]
    for task in first:  # where pages began near the end, or in the same place
        found.setdefault(task.id, task)
    return sorted(list(found.values())[:limit], key=lambda task: task.id or 0)
