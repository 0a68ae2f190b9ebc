"""Tasks as the Data Manager lists them: by filters, a page at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from backends.interface import Task
from backends.label_studio.client import told

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

Json = dict[str, Any]


def page(
    client: LabelStudio,
    project_id: int,
    items: Sequence[Json],
    *,
    size: int,
    ids: Sequence[int] | None = None,
    fields: Literal["task_only", "all"] = "task_only",
    ordering: str = "tasks:id",
) -> Any:
    """One page of the tasks that fit all `items`, as the SDK brings it; `ids`: only of these.

    `fields` "all": with predictions and annotations. Errors: `LabelStudioError`.
    """
    query: Json = {
        "filters": {"conjunction": "and", "items": list(items)},
        "ordering": [ordering],
    }
    if ids is not None:
        query["selectedItems"] = {"all": False, "included": list(ids)}
    with told("listing tasks"):
        # Addresses of cloud storage stay unsigned: a signature could expire before its turn.
        found: Any = client.tasks.list(
            project=project_id,
            query=json.dumps(query, separators=(",", ":")),
            page_size=size,
            fields=fields,
            resolve_uri=False,
        )
        if found.items is None:  # nobody says "no tasks" so
            raise ValueError("no page of tasks")
        return found


def tasks_of(found: Any) -> tuple[list[Task], int]:
    """The tasks of a page, and how many fit in all."""
    tasks = [Task(int(task.id), dict(task.data or {})) for task in found.items or []]
    return tasks, int(found.response.total or 0)


def item(column: str, operator: str, kind: str, value: object) -> Json:
    """One filter."""
    return {
        "filter": f"filter:tasks:{column}",
        "operator": operator,
        "type": kind,
        "value": value,
    }


def later(after_id: int) -> Json:
    """The tasks that follow one in id order.

    It stays fast in a project of a million tasks; page numbers do not.
    """
    return item("id", "greater", "Number", after_id)


def has_version(version: str) -> Json:
    """Tasks with a prediction of a version."""
    return item("predictions_model_versions", "contains", "List", [version])


def lacks_version(version: str) -> Json:
    """Tasks without one."""
    return item("predictions_model_versions", "not_contains", "List", [version])
