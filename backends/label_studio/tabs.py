"""Saved tabs of the Data Manager: a filter and an order under a name, for everybody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.errors import LabelStudioRefused
from backends.label_studio.client import told
from backends.label_studio.task_fields import PREFIX

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

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
    """Make our tab of this title, or bring it up to date; its id.

    Ours are known by a field of ours in their filters or order, so that one has to be there; a
    person's tab of the same title stays as it is. It shows the tasks that fit all `items` (see
    `data_manager.item`), or with `any_fits` one of them, in the order of columns such as
    "-tasks:data.labelpilot_review". Errors: `LabelStudioError`.
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
    """Take our tab of this title away; whether there was one. Errors: `LabelStudioError`."""
    found = _tabs(client, project_id, title)
    _drop(client, found)
    return bool(found)


def tab_address(host: str, project_id: int, view_id: int) -> str:
    """Where people open a tab."""
    return f"{host.rstrip('/')}/projects/{project_id}/data?tab={view_id}"


def _tabs(client: LabelStudio, project_id: int, title: str) -> list[int]:
    """Ids of our tabs of a title, the oldest first; two at once may have made two."""
    with told("listing tabs"):
        found: Sequence[Any] = client.views.list(project=project_id)
    ours = (one.id for one in found if _is_ours(_plain(one.data), title))
    return sorted(map(int, ours))


def _is_ours(data: Json, title: str) -> bool:
    items = (data.get("filters") or {}).get("items") or []
    columns = [str(one.get("filter")) for one in items] + list(map(str, data.get("ordering") or []))
    return data.get("title") == title and any(f":data.{PREFIX}" in one for one in columns)


def _plain(data: Any) -> Json:
    """What the SDK brings: its own type, or what Label Studio sent."""
    plain: Json = data if isinstance(data, dict) else json.loads(data.json()) if data else {}
    return plain


def _drop(client: LabelStudio, ids: Sequence[int]) -> None:
    for view_id in ids:
        try:
            with told("deleting a tab"):
                client.views.delete(str(view_id))
        except LabelStudioRefused:  # somebody was faster
            continue
