"""Our annotations renewed: the new one first, and a refusal is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from backends.consensus import annotating
from backends.consensus.annotating import IMPORT_ID, annotate
from backends.consensus.nouns import Agreed
from backends.errors import LabelStudioGone, LabelStudioRefused
from backends.interface import Project
from backends.label_studio.label_xml import parse_label_config
from micro_models.regions import Region, WholeImage

PROJECT = Project(
    "7.1700000000",
    parse_label_config(
        """<View><Image name="image" value="$image"/>
<Choices name="light" toName="image"><Choice value="hell"/></Choices></View>"""
    ),
)
ACCOUNT = 9
AGREED = Agreed(3, (1, 1), (Region("hell", WholeImage()),), 1.0, 1.0)


def ours(number: int, *, changed: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """An annotation of ours from an earlier run."""
    return {
        "id": number,
        "completed_by": ACCOUNT,
        "import_id": IMPORT_ID,
        "result": [],
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": changed,
    }


class Studio:
    """Annotations of task 3, and what was done to them in order."""

    def __init__(self, *stored: dict[str, Any], refusal: Exception | None = None) -> None:
        self.stored, self.refusal = list(stored), refusal
        self.done: list[str] = []
        self.annotations = self

    def create(self, task_id: int, **fields: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.done.append("create")
        self.stored.append({**ours(100), **fields})

    def delete(self, number: int) -> None:
        self.done.append(f"delete {number}")
        self.stored = [one for one in self.stored if one["id"] != number]


def run(monkeypatch: pytest.MonkeyPatch, studio: Studio) -> tuple[int, dict[int, str]]:
    task = SimpleNamespace(id=3, annotations=list(studio.stored))
    store: Any = SimpleNamespace(
        annotated=lambda _: [], note_annotated=lambda *_: None, drop_annotated=lambda *_: None
    )
    monkeypatch.setattr(annotating, "own_account", lambda _: ACCOUNT)
    monkeypatch.setattr(annotating, "find_own_account", lambda _: ACCOUNT)
    monkeypatch.setattr(annotating, "whole_tasks", lambda _, __, ids: [[task]] if ids else [])
    client: Any = studio
    return annotate(client, PROJECT, [AGREED], "consensus-1", store, go_on=lambda: None)


def test_the_new_one_is_there_before_the_last_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio(ours(1), ours(2))
    assert run(monkeypatch, studio) == (1, {})
    assert studio.done == ["create", "delete 1", "delete 2"]
    # Killed in between: the next run takes away what is left over, and stores nothing.
    studio.stored.append(ours(5))
    studio.done.clear()
    assert run(monkeypatch, studio) == (1, {})
    assert studio.done == ["delete 5"]


def test_a_refusal_is_told_and_the_last_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio(ours(1), refusal=LabelStudioRefused("it will not"))
    assert run(monkeypatch, studio) == (0, {3: "it will not"})
    assert studio.done == []
    assert run(monkeypatch, Studio(refusal=LabelStudioGone("gone"))) == (0, {})


def test_what_a_person_changed_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio(ours(1, changed="2026-01-02T00:00:00Z"))
    assert run(monkeypatch, studio) == (1, {})
    assert studio.done == []
