"""The nouns of training on submit: scopes, labelled tasks, trained versions, where a project is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from backends.interface import LabelledTask as LabelledTask
from micro_models.regions import Region


class ScopeKind(StrEnum):
    """What one micro-model is for."""

    PROJECT = "project"
    LABEL = "label"
    FIELD = "field"
    CLIP = "clip"


@dataclass(frozen=True)
class Scope:
    """What one micro-model learns and answers for.

    `controls` are the names of the control tags that it fills and `labels` what it may find, empty
    for whatever those controls take. `field` and `value` are of the task's data where `kind` is
    FIELD; `value` is the label, or the id of the task whose video it is, where it is LABEL or CLIP.
    """

    kind: ScopeKind
    controls: tuple[str, ...]
    labels: frozenset[str] = frozenset()
    field: str = ""
    value: str = ""

    @property
    def key(self) -> str:
        """For people, tables and versions: "project", "label Car", "scene=night", "clip 12"."""
        match self.kind:
            case ScopeKind.PROJECT:
                return "project"
            case ScopeKind.FIELD:
                return f"{self.field}={self.value}"
            case _:
                return f"{self.kind} {self.value}"


@dataclass(frozen=True)
class Acceptance:
    """Of `predicted` regions that people were shown, how many they left unchanged.

    `seconds` is the drawing that those spared them, by the assumption in `acceptance.py`.
    """

    predicted: int = 0
    unchanged: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class ModelVersion:
    """A trained model of one scope, promoted or not.

    `id`: 12 hex digits, the micro-model's own version. `labels` is how many labelled tasks (of a
    clip: key frames) it was made of, `data` a hash over them. `quality`: of what was held out,
    0..1; `baseline`: of the model that it was to replace, `parent`, on the same images; `rival`:
    the F1 of the pre-labeller there, against `f1` of its own.
    All None where nothing was measured. `lost` is of `quality`, since the best of its ancestors.
    `why` says, for people, why it was promoted or not; `promoted_at` is None if it never was; times
    are seconds since 1970. `report` is empty where many versions are listed. `archive`: the SHA-256
    of its file in the store that machines share, of `archive_bytes`; None if it is not there.
    """

    id: str
    project_key: str
    scope: str
    made_at: float
    labels: int
    data: str
    why: str
    quality: float | None = None
    baseline: float | None = None
    f1: float | None = None
    rival: float | None = None
    parent: str | None = None
    promoted_at: float | None = None
    is_current: bool = False
    is_on_disk: bool = True
    lost: float = 0.0
    archive: str | None = None
    archive_bytes: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """How far a training is; as `micro_models.Progress`, and which scope it trains."""

    scope: str
    stage: str
    spent: float
    step: int
    loss: float | None
    remaining_s: float | None


@dataclass(frozen=True)
class Standing:
    """Where a project's learning stands.

    `changes` counts events, `seen` those that the last training took note of, `begun` those that
    there were when the last one began, `since` the submissions after it; `touched_at`: the last
    event. `asked`: a person asked for a training. `tasks_came`: tasks were created since.
    `announced`: the version that predictions were last refreshed to. `note` says what it waits for
    or why nothing was trained, `failure` why the last training failed; "" for nothing.
    """

    project_key: str
    changes: int = 0
    seen: int = 0
    since: int = 0
    touched_at: float = 0.0
    asked: bool = False
    tasks_came: bool = False
    labels: int = 0
    announced: str = ""
    note: str = ""
    failure: str = ""
    step: Step | None = None
    begun: int = 0


@dataclass(frozen=True)
class Shown:
    """What a model says of a task, for the status page: an uncertain one, drawn."""

    task_id: int
    score: float
    regions: tuple[Region, ...]
