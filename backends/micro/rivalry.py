"""How the pre-labeller would have done on labelled tasks: a micro-model has to earn its place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from backends.errors import LabelpilotError, ModelMissing
from backends.interface import Prelabeller, Project, Task
from backends.label_studio.annotations import read_annotation
from backends.label_studio.results import encode_prediction
from backends.micro.nouns import ModelVersion, Scope, ScopeKind
from backends.micro.versions import is_ours
from micro_models.evaluation.counting import count
from micro_models.regions import Region

log = logging.getLogger(__name__)

# More images tell little more, and each costs the pre-labeller time.
_MOST = 50

Regions = Sequence[Region]


def has_earned(models: Sequence[ModelVersion]) -> bool:
    """Whether the models found at least what the pre-labeller did, where both were measured."""
    measured = [(one.f1, one.rival) for one in models if one.f1 is not None]
    ours = [f1 for f1, rival in measured if rival is not None]
    theirs = [rival for _, rival in measured if rival is not None]
    return sum(ours) >= sum(theirs)


def trusted(models: Mapping[Scope, ModelVersion]) -> dict[Scope, ModelVersion]:
    """Those that have earned their place: each by itself where it answers alone, else together."""
    alone = {scope: one for scope, one in models.items() if scope.kind is ScopeKind.FIELD}
    together = {scope: one for scope, one in models.items() if scope not in alone}
    earned = {scope: one for scope, one in alone.items() if has_earned([one])}
    return {**earned, **(together if has_earned(list(together.values())) else {})}


def rival_f1(
    rival: Prelabeller,
    project: Project,
    tasks: Sequence[Task],
    truth: Mapping[int, Regions],
    *,
    go_on: Callable[[], None],
) -> float | None:
    """F1 of what a pre-labeller shows for labelled tasks, evenly spread ones of very many.

    None if it cannot answer: no model, no control to fill, no task whose image is there. Only
    labels that occur in `truth`, by task id, count: the others are not what is learned.
    """
    labels = {region.label for regions in truth.values() for region in regions}
    step = max(len(tasks) / _MOST, 1.0)
    some = [tasks[int(n * step)] for n in range(min(len(tasks), _MOST))]
    found: list[list[Region]] = []
    theirs: list[Regions] = []
    if not is_ours(rival.version(project)):  # or a download would hold the training up
        return None
    try:
        for one in rival.label(project, some):
            go_on()
            if one.prediction is None or one.task.id is None:
                continue
            item = encode_prediction(one.prediction, project.config, data=one.task.data)
            size_px = (one.prediction.width_px, one.prediction.height_px)
            read = read_annotation(item["result"], project.config, size_px=size_px)
            found.append([region for region in read.regions if region.label in labels])
            theirs.append(truth[one.task.id])
    except ModelMissing:
        return None
    except LabelpilotError as error:
        log.info("the pre-labeller cannot be compared with: %s", error)
        return None
    return count(found, theirs).f1 if found else None
