"""Tasks without annotations, drawn at random from a project of any size."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from label_studio_sdk import LabelStudio

from backends.interface import Task
from backends.label_studio.client import told

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
    wanted = [_item("total_annotations", "equal", "Number", 0)]
    if field is not None:
        wanted.append(_item(f"data.{field[0]}", "equal", "String", field[1]))
    go_on()
    first, total = _page(client, project_id, wanted, size=limit)
    if total <= limit or not first:
        return first
    go_on()
    last, _ = _page(client, project_id, wanted, size=1, ordering="-tasks:id")
    low, high = first[0].id or 0, max(task.id or 0 for task in (*last, *first))
    found: dict[int | None, Task] = {}
    each = -(-limit // _STARTS)
    for start in np.sort(rng.integers(low, high + 1, _STARTS)).tolist():
        go_on()
        later = _item("id", "greater", "Number", start - 1)
        size = min(each * _THINNED, _LARGEST_PAGE)
        some, _ = _page(client, project_id, [*wanted, later], size=size)
        new = [task for task in some if task.id not in found]
        for index in rng.permutation(len(new))[:each].tolist():
            found[new[index].id] = new[index]
    for task in first:  # where pages began near the end, or in the same place
        found.setdefault(task.id, task)
    return sorted(list(found.values())[:limit], key=lambda task: task.id or 0)


def _page(
    client: LabelStudio,
    project_id: int,
    items: Sequence[Json],
    *,
    size: int,
    ordering: str = "tasks:id",
) -> tuple[list[Task], int]:
    """A page of tasks, and how many fit in all."""
    query = {"filters": {"conjunction": "and", "items": list(items)}, "ordering": [ordering]}
    with told("listing tasks without annotations"):
        page: Any = client.tasks.list(
            project=project_id,
            query=json.dumps(query, separators=(",", ":")),
            page_size=size,
            fields="task_only",
            resolve_uri=False,
        )
    tasks = [Task(int(task.id), dict(task.data or {})) for task in page.items or []]
    return tasks, int(page.response.total or 0)


def _item(column: str, operator: str, kind: str, value: object) -> Json:
    return {
        "filter": f"filter:tasks:{column}",
        "operator": operator,
        "type": kind,
        "value": value,
    }
