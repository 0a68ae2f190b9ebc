"""A review in Label Studio: predictions that carry the suggestions, a field, a tab; and undone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backends.interface import LabelConfig, PlacedRegion, Prediction, Project
from backends.label_studio.data_manager import item
from backends.label_studio.suggestions import Put, drop_predictions, put_predictions
from backends.label_studio.tabs import drop_tab, put_tab
from backends.label_studio.task_fields import drop_fields, put_fields
from backends.micro.controls import Controls
from backends.micro.out_of_fold import OutOfFold
from backends.review.nouns import FIELD, TAB, TOOL, Suspect
from micro_models.pictures import UnreadableImage, upright_size
from micro_models.region_json import to_json
from micro_models.regions import Region, WholeImage

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

GoOn = Callable[[], None]
Tell = Callable[[str, float], None]
_DIGITS = 10


@dataclass(frozen=True)
class Published:
    """What Label Studio has now: ids of tasks that are marked, the tab, if any is; why some have
    no suggestion, by task id.
    """

    tasks: frozenset[int]
    tab: int | None
    failed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Removed:
    """What was taken back: of how many tasks predictions and the field, and whether the tab."""

    predictions: int
    fields: int
    tab: bool


@dataclass(frozen=True)
class _Picture:
    """A task's picture and all that people say is in it."""

    path: Path
    given: tuple[Region, ...]


def version_of(suspects: Sequence[Suspect], config: LabelConfig) -> str:
    """`review-` and ten hex digits that change whenever what is written would.

    >>> from backends.interface import LabelConfig
    >>> version_of([], LabelConfig((), (), "<View/>"))
    'review-2ef6715e43'
    """
    each = [
        [one.id, one.headline, one.reason, one.suggested and to_json(one.suggested)]
        for one in suspects
    ]
    text = json.dumps([1, config.text, each])
    return f"{TOOL}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def publish(
    client: LabelStudio,
    project: Project,
    scopes: Sequence[OutOfFold],
    suspects: Sequence[Suspect],
    suspicion: Mapping[int, float],
    *,
    tell: Tell,
    go_on: GoOn,
) -> Published:
    """Write a review in place of the last one; whoever is stopped does it again without harm.

    `suspicion` of a task is 0..1, as in `Findings`; where it is not known it comes from its
    suspects. Without any there is no tab. Errors: `LabelStudioError`.
    """
    version = version_of(suspects, project.config)
    tell("takes back what is no longer suspicious", 0.0)
    of_tasks: dict[int, list[Suspect]] = {}
    for one in suspects:
        of_tasks.setdefault(one.task_id, []).append(one)
    drop_predictions(client, project.id, TOOL, go_on=go_on, keep=of_tasks.keys())
    drop_fields(client, project.id, [FIELD], go_on=go_on, keep=of_tasks.keys())
    values = {
        task_id: {FIELD: _percent(some, suspicion.get(task_id))}
        for task_id, some in of_tasks.items()
    }
    written = 0

    def each() -> None:
        nonlocal written
        tell(f"marks {len(values)} tasks", 0.1 + 0.6 * min(written / max(len(values), 1), 1.0))
        written += 1
        go_on()

    marked = put_fields(client, project.id, values, go_on=each)
    tell("stores suggestions", 0.7)
    put = _suggest(client, project, scopes, of_tasks, version, go_on)
    tell("saves the tab", 0.98)
    return Published(frozenset(marked), _tab(client, project.id, is_empty=not marked), put.failed)


def withdraw(client: LabelStudio, project_id: int, *, go_on: GoOn) -> Removed:
    """Take a review out of Label Studio; safe to repeat. Errors: `LabelStudioError`.

    A prediction that somebody made an annotation of stays: Label Studio would not take that
    annotation any more.
    """
    tab = drop_tab(client, project_id, TAB)
    predictions = drop_predictions(client, project_id, TOOL, go_on=go_on)
    return Removed(predictions, drop_fields(client, project_id, [FIELD], go_on=go_on), tab)


def _tab(client: LabelStudio, project_id: int, *, is_empty: bool) -> int | None:
    if is_empty:
        drop_tab(client, project_id, TAB)
        return None
    shown = [item(f"data.{FIELD}", "greater", "Number", 0)]
    return put_tab(client, project_id, TAB, items=shown, ordering=[f"-tasks:data.{FIELD}"])


def _suggest(
    client: LabelStudio,
    project: Project,
    scopes: Sequence[OutOfFold],
    of_tasks: Mapping[int, Sequence[Suspect]],
    version: str,
    go_on: GoOn,
) -> Put:
    controls = Controls(project.config)
    pictures = _pictures(scopes)
    predictions: dict[int, Prediction] = {}
    marks: dict[int, dict[str, str]] = {}
    failed: dict[int, str] = {}
    for task_id, some in of_tasks.items():
        picture = pictures[task_id]
        try:
            size_px = upright_size(picture.path)
        except (UnreadableImage, FileNotFoundError):
            failed[task_id] = "its picture has left the cache; run the review again"
            continue
        placed, marks[task_id] = suggestion(controls, picture.given, some, size_px=size_px)
        score = max(one.score for one in some)
        predictions[task_id] = Prediction(tuple(placed), score, version, *size_px)
    put = put_predictions(client, project, predictions, go_on=go_on, marks=marks)
    return Put(put.stored, {**failed, **put.failed})


def suggestion(
    controls: Controls,
    given: Sequence[Region],
    suspects: Sequence[Suspect],
    *,
    size_px: tuple[int, int],
) -> tuple[list[PlacedRegion], dict[str, str]]:
    """What a task's prediction shows, and by region id the kind of error and its reason.

    A suspect shows what is suggested, or where nothing should be, what is there. Of classes of the
    whole image those show that would be right.
    """
    placed: list[PlacedRegion] = []
    notes: dict[str, str] = {}
    for one in suspects:
        if isinstance(one.region.shape, WholeImage):
            continue
        region = replace(one.region, score=one.score)
        parts = controls.placed([region], task_key=one.id, size_px=size_px)
        placed += parts
        for part in parts[:1]:
            notes[part.id] = f"{one.headline}. {one.reason}".strip()
    of_whole = [one for one in suspects if isinstance(one.region.shape, WholeImage)]
    if of_whole:
        classes = _classes(given, of_whole)
        placed += controls.placed(classes, task_key=of_whole[0].id, size_px=size_px)
    return placed, notes


def _classes(given: Sequence[Region], suspects: Sequence[Suspect]) -> list[Region]:
    wrong = {one.given.label for one in suspects if one.given is not None}
    right = [r for r in given if isinstance(r.shape, WholeImage) and r.label not in wrong]
    added = [replace(one.suggested, score=one.score) for one in suspects if one.suggested]
    return [*added, *right]


def _pictures(scopes: Sequence[OutOfFold]) -> dict[int, _Picture]:
    found: dict[int, _Picture] = {}
    for scope in scopes:
        for one in scope.judged:
            before = found.get(one.task_id)
            given = (*(before.given if before else ()), *one.given)
            found[one.task_id] = _Picture(one.picture, given)
    return found


def _percent(suspects: Sequence[Suspect], suspicion: float | None) -> float:
    """0..100, above 0: what the Data Manager sorts by."""
    # As in `Findings.suspicion`, so that a task of which less is open never rises.
    expected = sum(one.score**2 for one in suspects)
    share = expected / (1 + expected) if suspicion is None else suspicion
    return max(round(share * 100, 1), 0.1)
