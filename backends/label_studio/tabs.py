"""Saved tabs of the Data Manager: a filter and an order under a name, for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from label_studio_sdk import LabelStudio

from backends.errors import LabelStudioRefused
from backends.label_studio.client import told

Json = dict[str, Any]


def put_tab(
    client: LabelStudio,
    project_id: int,
    title: str,
    *,
    items: Sequence[Json],
    ordering: Sequence[str] = (),
    any_fits: bool = False,
) -> int:
    """Make the tab of this title, or bring it up to date; its id.

    It shows the tasks that fit all `items` (see `data_manager.item`), or with `any_fits` one of
    them, in the order of columns such as "-tasks:data.labelpilot_review". Errors:
    `LabelStudioError`.
    """
    data: Json = {
        "title": title,
        "type": "list",
        "filters": {"conjunction": "or" if any_fits else "and", "items": list(items)},
        "ordering": list(ordering),
        "hiddenColumns": {"explore": [], "labeling": []},
    }
    there = _tabs(client, project_id, title)
    _drop(client, there[1:])
    views: Any = client.views  # its types know fewer filters than Label Studio does
    with told(f"saving the tab {title!r}"):
        if not there:
            return int(views.create(project=project_id, data=data).id)
        views.update(str(there[0]), project=project_id, data=data)
        return there[0]


def drop_tab(client: LabelStudio, project_id: int, title: str) -> bool:
    """Take the tab of this title away; whether there was one. Errors: `LabelStudioError`."""
    found = _tabs(client, project_id, title)
    _drop(client, found)
    return bool(found)


def tab_address(host: str, project_id: int, view_id: int) -> str:
    """Where people open a tab."""
    return f"{host.rstrip('/')}/projects/{project_id}/data?tab={view_id}"


def _tabs(client: LabelStudio, project_id: int, title: str) -> list[int]:
    """Ids of the tabs of a title, the oldest first; two at once may have made two."""
    with told("listing tabs"):
        found: Sequence[Any] = client.views.list(project=project_id)
    return sorted(int(one.id) for one in found if _title(one.data) == title)


def _title(data: Any) -> str | None:
    return data.get("title") if isinstance(data, dict) else getattr(data, "title", None)


def _drop(client: LabelStudio, ids: Sequence[int]) -> None:
    for view_id in ids:
        try:
            with told("deleting a tab"):
                client.views.delete(str(view_id))
        except LabelStudioRefused:  # somebody was faster
            continue
