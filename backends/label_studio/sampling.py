"""Lets Label Studio's "Uncertainty sampling" bring the task that helps most.

Label Studio orders the label stream by the scores of predictions whose version is the project's
`model_version`, lowest first, and asks live for tasks without one only where that is also the
title of the backend and the version that its /setup tells. So all of them are made the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from backends.label_studio.client import told
from backends.label_studio.connect import DEFAULT_TITLE, all_backends
from backends.label_studio.data_manager import has_version, page

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

_BASIC_AUTH = "BASIC_AUTH"


def align(
    client: LabelStudio, project_id: int, version: str, *, ours: Callable[[str], bool]
) -> bool:
    """Make `version` the title of our backend and the project's `model_version`; safe to repeat.

    `ours` tells whether a text is a version that this server named. A title that a person chose
    stays, and so does a `model_version` that names predictions of others. Nothing is done where
    the project has no backend of ours, or all is as it should be.

    False if it is to be asked again later: beside a title that a person chose, Label Studio takes
    a version only when predictions of it are stored. Errors: `LabelStudioError`.
    """
    backend = next((one for one in all_backends(client, project_id) if _is_ours(one, ours)), None)
    if backend is None:
        return True
    may_rename = _may_change(backend.title, ours)
    if may_rename and backend.title != version:
        _rename(client, project_id, backend, version)
    with told(f"reading project {project_id}"):
        present = client.projects.get(project_id).model_version or ""
    replaceable = present in ("", DEFAULT_TITLE, backend.title or "") or ours(present)
    if present == version or not replaceable:
        return True
    if not may_rename and not _is_stored(client, project_id, version):
        return False
    with told("choosing the predictions that uncertainty sampling goes by"):
        client.projects.update(project_id, model_version=version)
    return True


def _is_stored(client: LabelStudio, project_id: int, version: str) -> bool:
    """Whether a task has a prediction of this version."""
    return bool(page(client, project_id, [has_version(version)], size=1).items)


def _is_ours(backend: Any, ours: Callable[[str], bool]) -> bool:
    return ours(backend.model_version or "") or _may_change(backend.title, ours)


def _may_change(title: str | None, ours: Callable[[str], bool]) -> bool:
    return title == DEFAULT_TITLE or ours(title or "")


def _rename(client: LabelStudio, project_id: int, backend: Any, title: str) -> None:
    """Label Studio takes a title only together with all that it needs to reach the backend."""
    values: dict[str, Any] = {
        "title": title,
        "url": backend.url,
        "project": project_id,
        "is_interactive": bool(backend.is_interactive),
    }
    if str(backend.auth_method) == _BASIC_AUTH:
        # It keeps the password, which nobody can read back, when it is given an empty one.
        values["auth_method"] = _BASIC_AUTH
        values["basic_auth_user"], values["basic_auth_pass"] = backend.basic_auth_user or "", ""
    with told("naming the backend after its version"):
        client.ml.update(backend.id, **values)
