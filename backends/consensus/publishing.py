"""A consensus in Label Studio: predictions or annotations, a field, a tab; and undone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backends.consensus.nouns import DIFFERENCES, FIELD, TAB, TOOL, Agreed
from backends.interface import LabelConfig, Prediction, Project
from backends.label_studio.data_manager import item
from backends.label_studio.suggestions import drop_predictions, put_predictions
from backends.label_studio.tabs import drop_tab, put_tab
from backends.label_studio.task_fields import drop_fields, put_fields
from backends.micro.controls import Controls
from micro_models.region_json import to_json

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

GoOn = Callable[[], None]
Tell = Callable[[str, float], None]
_DIGITS = 10
_FIELDS = (FIELD, DIFFERENCES)


@dataclass(frozen=True)
class Published:
    """The tab, how many tasks have the consensus, and by task id why others have not."""

    tab: int
    stored: int
    failed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Removed:
    """Of how many tasks something was taken back, and whether there was a tab."""

    predictions: int
    fields: int
    tab: bool


def percent(agreement: float) -> int:
    """0..100; 100 only where people agree wholly.

    >>> percent(0.9999), percent(1.0)
    (99, 100)
    """
    return min(round(100 * agreement), 99) if agreement < 1 - 1e-9 else 100


def version_of(tasks: Sequence[Agreed], config: LabelConfig) -> str:
    """`consensus-` and ten hex digits that change whenever what is written would.

    >>> from backends.interface import LabelConfig
    >>> version_of([], LabelConfig((), (), "<View/>"))
    'consensus-2ef6715e43'
    """
    each = [[one.task_id, [to_json(region) for region in one.regions]] for one in tasks]
    text = json.dumps([1, config.text, each])
    return f"{TOOL}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def predictions(project: Project, tasks: Sequence[Agreed], version: str) -> dict[int, Prediction]:
    """By task id what is written."""
    controls = Controls(project.config)
    return {
        one.task_id: Prediction(
            tuple(
                controls.placed(one.regions, task_key=f"{TOOL} {one.task_id}", size_px=one.size_px)
            ),
            one.score,
            version,
            *one.size_px,
        )
        for one in tasks
    }


def mark(
    client: LabelStudio, project_id: int, tasks: Sequence[Agreed], *, tell: Tell, go_on: GoOn
) -> int | None:
    """Write how far people agree on each task, and the tab of those on which they differ; its id,
    None where no task has several annotators.

    Errors: `LabelStudioError`.
    """
    values = {
        one.task_id: {FIELD: percent(one.agreement), DIFFERENCES: one.differences} for one in tasks
    }
    drop_fields(client, project_id, _FIELDS, go_on=go_on, keep=values.keys())
    if not values:
        drop_tab(client, project_id, TAB)
        return None
    written = 0

    def each() -> None:
        nonlocal written
        tell(f"marks {len(values)} tasks", min(written / max(len(values), 1), 1.0))
        written += 1
        go_on()

    put_fields(client, project_id, values, go_on=each)
    shown = [item(f"data.{DIFFERENCES}", "greater", "Number", 0)]
    return put_tab(client, project_id, TAB, items=shown, ordering=[f"tasks:data.{FIELD}"])


def publish(
    client: LabelStudio, project: Project, tasks: Sequence[Agreed], version: str, *, go_on: GoOn
) -> tuple[int, Mapping[int, str]]:
    """Store the consensus as predictions in place of the last ones: how many, why others failed.

    Errors: `LabelStudioError`.
    """
    made = predictions(project, tasks, version)
    drop_predictions(client, project.id, TOOL, go_on=go_on, keep=made.keys())
    put = put_predictions(client, project, made, go_on=go_on)
    return len(put.stored), put.failed


def withdraw(client: LabelStudio, project_id: int, *, go_on: GoOn) -> Removed:
    """Take predictions, field and tab out of Label Studio; safe to repeat.

    A prediction that somebody made an annotation of stays. Errors: `LabelStudioError`.
    """
    tab = drop_tab(client, project_id, TAB)
    gone = drop_predictions(client, project_id, TOOL, go_on=go_on)
    return Removed(gone, drop_fields(client, project_id, _FIELDS, go_on=go_on), tab)
