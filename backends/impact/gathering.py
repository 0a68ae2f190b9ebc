"""Who labelled what, in which time, and what they were shown: read from Label Studio."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from backends.impact.nouns import Gathered, Served
from backends.interface import Project, Task
from backends.jobs.unshown import Unshown
from backends.label_studio.accounts import find_own_account
from backends.label_studio.annotations import read_annotation
from backends.label_studio.blind import Blindfold
from backends.label_studio.labelled import changed_labels, predictions_of, whole_tasks
from backends.label_studio.shapes import Size
from backends.micro.versions import is_ours
from micro_models.regions import Region

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

Json = Mapping[str, Any]
Tell = Callable[[str, float], None]

# Beyond, so many others for each blind task: more would make no interval narrower by a twentieth.
_FEW, _OTHERS = 2_000, 8
_LISTING = 0.2  # of the time
# Where nothing in a result tells; percents of it are right, only circles are not round.
_SOME_SIZE = (1_000, 1_000)
_NO_TIME = "without a time: stored by a program, or all at once from predictions"
_OWN = "by labelpilot's own account"
_AUDIT = "of tasks drawn for an audit"
_WAS_BLIND = "of tasks that were blind at another share"
_CLIP = "of videos, which are never blind"
_ACCEPTED = "from after tasks were accepted without people, which leaves harder ones to them"


@dataclass(frozen=True)
class Lots:
    """Who is blind: by lot. `unshown`: what was withheld.

    `audits`: all that were ever drawn for one, or as a spot check, and so were blind otherwise.
    `until`: when tasks were first accepted without people, in seconds since 1970. From then on the
    lot does not tell any more which tasks people see: of those that are not blind the easy ones
    are gone.
    """

    share: float
    audits: Collection[int]
    unshown: Mapping[int, Unshown]
    until: float = math.inf


def gathered(client: LabelStudio, project: Project, lots: Lots, *, tell: Tell) -> Gathered:
    """Each person's first annotation of each labelled task; of very many tasks a sample.

    All blind tasks are among them. Left out are skipped annotations, those without a time, those
    by our own account, what came once tasks were accepted without people, and tasks whose part in
    the lot is not clear. Errors: `LabelStudioError`.
    """
    tell("lists labelled tasks", 0.0)
    ids = sorted(changed_labels(client, project.id))
    by_lot = Blindfold(lots.share).hidden(project, [Task(one, {}) for one in ids])
    blind = (by_lot | lots.unshown.keys()) & set(ids)
    wanted = _sample(ids, blind)
    account = find_own_account(client) if wanted else None
    served: list[Served] = []
    left_out: Counter[str] = Counter()
    done = 0
    for tasks in whole_tasks(client, project.id, wanted):
        for task in tasks:
            some, reasons = _of_task(task, project, lots, by_lot, account)
            served += some
            left_out.update(reasons)
        done += len(tasks)
        tell("reads annotations", _LISTING + (1 - _LISTING) * done / max(len(wanted), 1))
    sampled = len(ids) if len(wanted) < len(ids) else 0
    return Gathered(tuple(served), dict(left_out), sampled)


def _sample(ids: Sequence[int], blind: Collection[int]) -> list[int]:
    """All blind ones, and enough others, the same each time."""
    others = [one for one in ids if one not in blind]
    most = max(_FEW, _OTHERS * len(blind))
    if len(others) > most:
        others = sorted(others, key=lambda one: hashlib.sha256(b"%d" % one).digest())[:most]
    return sorted([*blind, *others])


def _of_task(
    task: Any, project: Project, lots: Lots, by_lot: Collection[int], account: int | None
) -> tuple[list[Served], Counter[str]]:
    """A task's annotations to compare, and why others are none."""
    number = int(task.id)
    first, reasons = _firsts(task.annotations or [], account)
    known = Task(number, dict(task.data or {}))
    if _is_clip(project, known):
        return [], Counter({_CLIP: len(first)})
    blind = number in by_lot
    if number in lots.audits and not blind:
        return [], reasons + Counter({_AUDIT: len(first)})
    was_blind = number in lots.unshown and not blind
    blind = blind or (was_blind and lots.share == 0)
    if was_blind and not blind:
        return [], reasons + Counter({_WAS_BLIND: len(first)})
    early = [one for one in first if _seconds(one.get("created_at")) < lots.until]
    reasons[_ACCEPTED] += len(first) - len(early)
    ours = [one for one in predictions_of(task) if is_ours(one.get("model_version") or "")]
    served = []
    for one in early:
        before = [p for p in ours if _seconds(p.get("created_at")) <= _seconds(one["created_at"])]
        result = _said(number, one, before, lots, blind=blind)
        size_px = _size(one.get("result"), result)
        served.append(
            Served(
                number,
                _person(one),
                blind,
                at=_seconds(one["created_at"]),
                seconds=float(one["lead_time"]),
                had_prediction=bool(before),
                regions=_regions(one.get("result"), project, size_px),
                size_px=size_px,
                found=None if result is None else _regions(result, project, size_px),
            )
        )
    return served, +reasons


def _firsts(annotations: Sequence[Json], account: int | None) -> tuple[list[Json], Counter[str]]:
    """Each person's first annotation that was submitted, and why others do not count."""
    found: dict[int, Json] = {}
    reasons: Counter[str] = Counter()
    submitted = [one for one in annotations if not one.get("was_cancelled")]
    for one in sorted(submitted, key=lambda one: (_seconds(one.get("created_at")), one["id"])):
        person, seconds = _person(one), one.get("lead_time")
        if person == account:
            reasons[_OWN] += 1
        elif person not in found and isinstance(seconds, int | float) and seconds > 0:
            found[person] = one
        elif person not in found:
            reasons[_NO_TIME] += 1
    return list(found.values()), reasons


def _said(
    number: int, annotation: Json, before: Sequence[Json], lots: Lots, *, blind: bool
) -> list[Json] | None:
    """What the model said of a task: withheld where it is blind, else what was shown."""
    if blind:
        kept = lots.unshown.get(number)
        return None if kept is None else list(kept.result)
    if not before:
        return None
    parent = annotation.get("parent_prediction")
    shown = next((one for one in before if one.get("id") == parent), None)
    newest = max(before, key=lambda one: (_seconds(one.get("created_at")), one["id"]))
    return list((shown or newest).get("result") or [])


def _regions(result: Any, project: Project, size_px: Size) -> tuple[Region, ...]:
    return read_annotation(list(result or []), project.config, size_px=size_px).regions


def _size(*results: Any) -> Size:
    """That of the picture, as one of the results tells it."""
    for one in (item for result in results for item in result or [] if isinstance(item, Mapping)):
        width, height = one.get("original_width"), one.get("original_height")
        if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
            return width, height
    return _SOME_SIZE


def _is_clip(project: Project, task: Task) -> bool:
    return any(
        medium.tag == "Video" and task.data.get(medium.data_key) for medium in project.config.media
    )


def _person(one: Json) -> int:
    """Who it is by: a number, or an object with one; -1 for nobody."""
    person = one.get("completed_by")
    person = person.get("id") if isinstance(person, Mapping) else person
    return person if isinstance(person, int) else -1


def _seconds(moment: Any) -> float:
    """Since 1970; 0 for what is no moment."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return 0.0
    return moment.timestamp() if isinstance(moment, datetime) else 0.0
