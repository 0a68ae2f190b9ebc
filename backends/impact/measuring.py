"""From annotations of blind and other tasks to what predictions do: nothing is asked here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from backends.impact.nouns import Gathered, Impact, Served
from micro_models.evaluation.matching import match
from micro_models.evaluation.overlap import POINT_PX, bounds
from micro_models.impact import (
    SpeedUp,
    Standing,
    Trial,
    blind_needed,
    left_standing,
    shifts,
    speed_up,
)
from micro_models.impact.power import RANKS
from micro_models.impact.trial import Doubles
from micro_models.regions import Region, WholeImage

_SEED = 0  # the same labels give the same answer
_MOST_LABELS = 20
_SHIFT_SD = 0.3  # a small to medium effect (Cohen, 1988)
_ORDER_P = 0.01
_POINT_PART = 0.01  # of the picture's longer side, as people agree on points
_NOBODY_KNOWS = 0.6  # the spread of log times where too few are known: usual among annotators
_BEFORE = "from before tasks were served both ways"
_SEEN = "of blind tasks that had a prediction from before they were blind"
_LATE = (
    "blind tasks were labelled {when} than others, so that practice may look like an effect of "
    'predictions: under Task sampling "Uncertainty sampling" Label Studio brings tasks without '
    "predictions last; choose another one while you measure"
)
Measure = Callable[[Served], float]


def measured(
    gathered: Gathered, *, project_key: str, made_at: float, share: float, worth: float
) -> Impact:
    """What predictions do. `worth`: the speed-up that is worth knowing, such as 1.2."""
    since = _since(gathered.served)
    late = [one for one in gathered.served if one.at >= since]
    served = [one for one in late if not (one.blind and one.had_prediction)]
    left_out = dict(gathered.left_out) | {
        _BEFORE: len(gathered.served) - len(late),
        _SEEN: len(late) - len(served),
    }
    trial = Trial(
        [one.task_id for one in served],
        [one.annotator for one in served],
        [one.blind for one in served],
    )
    seconds = np.array([one.seconds for one in served], np.float64)
    speed = speed_up(trial, seconds)
    shown = [one for one in served if not one.blind]
    covered = sum(one.had_prediction for one in shown) / len(shown) if shown else 0.0
    result = Impact(
        project_key,
        made_at,
        share,
        worth,
        since,
        blind_tasks=trial.blind_tasks,
        shown_tasks=trial.tasks - trial.blind_tasks,
        covered=covered,
        speed=speed,
        by_annotator=_by_annotator(trial, seconds),
        shifts=shifts(trial, _measures(served), rng=np.random.default_rng(_SEED)),
        standing=_standing(served),
        needed=_needed(trial, seconds, speed, share=share, worth=worth),
        left_out={reason: many for reason, many in left_out.items() if many},
    )
    return replace(result, notes=tuple(_notes(result, gathered, trial, served)))


def _since(served: Sequence[Served]) -> float:
    """From when on tasks were served both ways; inf if they never were.

    Not before the first prediction: until then all were alike. Where tasks that are blind now had
    predictions once, it is the moment that divides these from the others best.
    """
    first = min((one.at for one in served if one.had_prediction), default=math.inf)
    blind = sorted((one.at, one.had_prediction) for one in served if one.blind and one.at >= first)
    wrong = best = sum(had_prediction for _, had_prediction in blind)
    since = first
    for at, had_prediction in blind:
        wrong += -1 if had_prediction else 1
        if wrong < best:
            best, since = wrong, math.nextafter(at, math.inf)
    return since


def _by_annotator(trial: Trial, seconds: Doubles) -> dict[int, SpeedUp]:
    people = np.asarray(trial.annotator)
    return {
        int(person): speed_up(trial.only(people == person), seconds[people == person])
        for person in np.unique(people)
    }


def _measures(served: Sequence[Served]) -> dict[str, Doubles]:
    """Of each annotation: regions in all and of the commonest labels, their size and place."""
    drawn = Counter(r.label for one in served for r in one.regions if _is_drawn(r))
    named = Counter(r.label for one in served for r in one.regions if not _is_drawn(r))
    measures: dict[str, Measure] = {}
    if drawn:
        measures["regions"] = lambda one: len(_drawn(one))
        measures["size, % of the picture's side"] = lambda one: _mean(map(_side(one), _drawn(one)))
        measures["from the left, %"] = lambda one: _mean(_place(one, r)[0] for r in _drawn(one))
        measures["from the top, %"] = lambda one: _mean(_place(one, r)[1] for r in _drawn(one))
    if len(drawn) > 1:
        for label, _ in drawn.most_common(_MOST_LABELS):
            measures[f"regions: {label}"] = _counts(label, drawn=True)
    for label, _ in named.most_common(_MOST_LABELS):
        measures[f"class: {label}"] = _counts(label, drawn=False)
    return {
        name: np.array([measure(one) for one in served], np.float64)
        for name, measure in measures.items()
    }


def _counts(label: str, *, drawn: bool) -> Measure:
    return lambda one: sum(r.label == label and _is_drawn(r) == drawn for r in one.regions)


def _is_drawn(region: Region) -> bool:
    return not isinstance(region.shape, WholeImage)


def _drawn(one: Served) -> list[Region]:
    return [region for region in one.regions if _is_drawn(region)]


def _side(one: Served) -> Callable[[Region], float]:
    """How long a side is that is as large as the box around a region, in % of the picture's."""

    def side(region: Region) -> float:
        box, (width, height) = bounds(region.shape), one.size_px
        return 100 * math.sqrt((box.x1 - box.x0) * (box.y1 - box.y0) / (width * height))

    return side


def _place(one: Served, region: Region) -> tuple[float, float]:
    """The middle of the box around a region, in % of the picture."""
    box, (width, height) = bounds(region.shape), one.size_px
    return 50 * (box.x0 + box.x1) / width, 50 * (box.y0 + box.y1) / height


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return float(np.mean(numbers)) if numbers else math.nan


def _standing(served: Sequence[Served]) -> dict[str, Standing]:
    """Of each kind of mistake, the share left standing, where that can be told."""
    tasks: dict[int, list[tuple[int, int]]] = {}
    blind = {one.task_id: one.blind for one in served}
    for one in served:
        if one.found is not None:
            point_px = max(POINT_PX, _POINT_PART * max(one.size_px))
            found = match(one.found, one.regions, point_px=point_px)
            tasks.setdefault(one.task_id, []).append((len(found.extra), len(found.missed)))
    if not tasks:
        return {}
    means = np.array([np.mean(counts, axis=0) for counts in tasks.values()], np.float64)
    is_blind = np.array([blind[task_id] for task_id in tasks], np.bool_)
    kinds = {"all": means.sum(axis=1), "spurious": means[:, 0], "missing": means[:, 1]}
    found_of = {
        kind: left_standing(mistakes, is_blind, rng=np.random.default_rng(_SEED))
        for kind, mistakes in kinds.items()
    }
    return {kind: one for kind, one in found_of.items() if one is not None}


def _needed(
    trial: Trial, seconds: Doubles, speed: SpeedUp, *, share: float, worth: float
) -> Mapping[str, int]:
    """Blind tasks that each answer needs in all."""
    part = trial.blind_tasks / trial.tasks if trial.blind_tasks else share
    if not 0 < part < 1:
        return {}
    spread = speed.spread or _usual(trial, seconds)
    return {
        "speed": blind_needed(math.log(worth), spread, share=part, efficiency=RANKS),
        "shifts": blind_needed(_SHIFT_SD, 1.0, share=part),
    }


def _usual(trial: Trial, seconds: Doubles) -> float:
    """The spread of one person's log times, from whatever they labelled."""
    people, logs = trial.of_annotator, np.log(seconds)
    each = [np.abs(logs[people == p] - np.median(logs[people == p])) for p in np.unique(people)]
    away = np.concatenate([one for one in each if len(one) > 2] or [np.empty(0)])
    return (1.4826 * float(np.median(away)) if len(away) else 0.0) or _NOBODY_KNOWS


def _notes(result: Impact, gathered: Gathered, trial: Trial, served: Sequence[Served]) -> list[str]:
    """What a reader has to know to judge the figures."""
    notes = []
    if gathered.sampled:
        notes.append(
            f"of {gathered.sampled} labelled tasks all blind ones were read and a sample of others"
        )
    if served and result.covered < 0.9:
        notes.append(
            f"only {result.covered:.0%} of the other annotations were of tasks that had a "
            "prediction: the effect of a prediction is larger than what is measured"
        )
    if not served:
        notes.append("nobody has labelled a task that had a prediction of ours yet")
    elif not result.share and not trial.blind_tasks:
        notes.append("no task is blind: LABELPILOT_BLIND_SHARE is 0")
    moments = np.array([one.at for one in served], np.float64)
    rank = moments.argsort().argsort().astype(np.float64)
    order = shifts(trial, {"order": rank}, rng=np.random.default_rng(_SEED))
    notes += [
        _LATE.format(when="later" if one.difference < 0 else "earlier")
        for one in order
        if one.p <= _ORDER_P
    ]
    return notes
