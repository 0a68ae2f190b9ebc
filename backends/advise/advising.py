"""From a project's labels to a plan: how far more labels lead, what they cost, what else helps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from backends.advise.design import LEAST_LABELS, LEAST_SIZES
from backends.advise.measuring import Subject, measured
from backends.advise.nouns import Advice, Measured
from backends.advise.store import AdviseStore
from backends.advise.targets import Metric, Target, check_metric
from backends.errors import BadRequest
from backends.label_studio.client import LabelStudios
from backends.micro.course import Tools
from backends.micro.exchange import Material
from backends.micro.out_of_fold import OutOfFold, judged_labels
from micro_models.learning_curves import (
    LEAST_POINTS,
    LearningCurve,
    Needed,
    Noise,
    Prices,
    crossing,
    fit_curve,
    labels_needed,
    noise_of,
    plan,
    points,
    reach,
)

FAMILIES = ("forest", "tiny")
# Of the time, for judging labels where that was not done before; the rest is for the curve.
_JUDGING = 0.5
# A label that is as probably wrong as this is a suspect.
_SUSPECT = 0.5
# Sizes at which the curve is drawn, from the smallest measured to so many times the largest.
_DRAWN, _DRAWN_TIMES = 40, 8.0
# Most labels over likely labels from which on an interval says little.
_WIDE = 4.0
_SCOPES_NAMED = 10

Tell = Callable[[str, float], None]
GoOn = Callable[[], None]


@dataclass(frozen=True)
class Wanted:
    """What a person asks: `scope` is a key, "" for the one with most labels."""

    target: Target
    prices: Prices
    budget_s: float = 240.0
    scope: str = ""


def advise(
    tools: Tools,
    studios: LabelStudios,
    store: AdviseStore,
    project_id: int,
    wanted: Wanted,
    *,
    tell: Tell,
    go_on: GoOn = lambda: None,
) -> Advice:
    """Measure what is not known yet, fit, plan, and keep the plan; in about `budget_s`.

    Errors: `BadRequest` for a target that the labels have no measure for, or a scope that is not
    there; `LabelStudioError`, `TrainingFailed`, `StateError`.
    """
    began = time.monotonic()
    project, scopes = judged_labels(
        _in_time(tools, wanted.budget_s),
        studios,
        project_id,
        tell=lambda text, part: tell(text, _JUDGING * part),
        go_on=go_on,
    )
    chosen = _chosen(scopes, wanted.scope)
    if chosen is None:
        notes = ["no labelled pictures that a model could learn from; clips are not looked at"]
        figures = _figures("", (), wanted, None, {}, notes)
    else:
        known = _points(tools, store, project.key, chosen, wanted, began, tell, go_on)
        others = [one.scope.key for one in scopes if one is not chosen]
        notes = [f"also there: --scope {', '.join(others[:_SCOPES_NAMED])}"] if others else []
        noise = _noise(chosen)
        figures = _figures(
            chosen.scope.key, [one.given for one in chosen.judged], wanted, noise, known, notes
        )
    made = Advice(project.key, figures["scope"], store.now(), figures)
    store.put_advice(made)
    return made


def _in_time(tools: Tools, budget_s: float) -> Tools:
    """With no more than half of the time for judging; the default takes as long as a review."""
    most = min(tools.settings.review_budget_s, _JUDGING * budget_s)
    return replace(tools, settings=tools.settings.model_copy(update={"review_budget_s": most}))


def _chosen(scopes: Sequence[OutOfFold], key: str) -> OutOfFold | None:
    """That of the key, or the one with most labels. Errors: `BadRequest`."""
    if key:
        named = [one for one in scopes if one.scope.key == key]
        if not named:
            there = ", ".join(repr(one.scope.key) for one in scopes[:_SCOPES_NAMED]) or "none"
            raise BadRequest(f"there is no scope {key!r}", advice=f"scopes are: {there}")
        return named[0]
    return max(scopes, key=lambda one: len(one.judged), default=None)


def _points(
    tools: Tools,
    store: AdviseStore,
    project_key: str,
    chosen: OutOfFold,
    wanted: Wanted,
    began: float,
    tell: Tell,
    go_on: GoOn,
) -> dict[str, list[Measured]]:
    """By family what was measured; nothing where there are too few labels."""
    check_metric(wanted.target, [one.given for one in chosen.judged])
    if len(chosen.judged) < LEAST_LABELS:
        return {}
    material = tuple(Material(j.task_id, j.picture, j.given, j.frame) for j in chosen.judged)
    left_s = max(wanted.budget_s - (time.monotonic() - began), _JUDGING * wanted.budget_s)
    with tools.registry.workspace() as room:
        found = measured(
            Subject(project_key, chosen.scope.key, material),
            store,
            room,
            families=FAMILIES,
            budget_s=left_s,
            device=tools.settings.train_device,
            tell=lambda text, part: tell(text, _JUDGING + (1 - _JUDGING) * part),
            go_on=go_on,
        )
    return {family: [one for one in found if one.family == family] for family in FAMILIES}


def _noise(chosen: OutOfFold) -> Noise | None:
    """How many labels seem wrong to models that never saw them; None without labels."""
    from micro_models.label_errors import find_label_errors

    given = [one.given for one in chosen.judged]
    findings = find_label_errors(given, [one.found for one in chosen.judged])
    suspects = [one for one in findings.errors if one.score >= _SUSPECT]
    missing = sum(one.given is None for one in suspects)
    labels = sum(map(len, given)) + missing
    return noise_of(min(len(suspects), labels), labels) if labels else None


def fitted(known: Sequence[Measured], metric: Metric) -> LearningCurve | None:
    """The curve through what was measured; None where that is too little."""
    some = points((one.size, one.scores[metric]) for one in known if metric in one.scores)
    return fit_curve(some) if len(some) >= max(LEAST_SIZES, LEAST_POINTS) else None


def _figures(
    scope: str,
    truth: Sequence[Sequence[object]],
    wanted: Wanted,
    noise: Noise | None,
    known: Mapping[str, Sequence[Measured]],
    notes: list[str],
) -> dict[str, Any]:
    """All of the plan as plain JSON."""
    target, prices, now = wanted.target, wanted.prices, len(truth)
    curves = {
        family: curve
        for family, some in known.items()
        if (curve := fitted(some, target.metric)) is not None
    }
    figures: dict[str, Any] = {
        "scope": scope,
        "labels": now,
        "target": {"metric": str(target.metric), "value": target.value},
        "prices": asdict(prices),
        "noise": None if noise is None else {**asdict(noise), "ceiling": noise.ceiling},
        "families": {family: _family(curve, target.value) for family, curve in curves.items()},
        "training_s": {family: some[0].budget_s for family, some in known.items() if some},
        "crossing": None,
        "plan": None,
        "notes": [*notes, *_doubts(now, known, curves, wanted)],
    }
    if len(curves) == len(FAMILIES):
        first, second = (curves[family] for family in FAMILIES)
        if (found := crossing(first, second, after=now)) is not None:
            figures["crossing"] = {**asdict(found), "rising": FAMILIES[found.rising]}
    if curves:
        made = plan(curves, target=target.value, now=now, prices=prices, noise=noise)
        figures["plan"] = asdict(made)
    # As whoever reads them from the database gets them: lists, not tuples.
    return dict(json.loads(json.dumps(figures, allow_nan=False)))


def _family(curve: LearningCurve, target: float) -> dict[str, Any]:
    import numpy as np

    last = curve.points[-1].labels
    sizes = np.geomspace(curve.points[0].labels, _DRAWN_TIMES * last, _DRAWN)
    told = curve.forecast(sizes)
    drawn = zip(told.labels, told.score, told.low, told.high, strict=True)
    return {
        "points": [asdict(one) for one in curve.points],
        "weights": {name: round(one, 4) for name, one in curve.weights.items()},
        "curve": [[round(float(value), 4) for value in row] for row in drawn],
        "needed": asdict(labels_needed(curve, target)),
        "reach": asdict(reach(curve)),
    }


def _doubts(
    now: int,
    known: Mapping[str, Sequence[Measured]],
    curves: Mapping[str, LearningCurve],
    wanted: Wanted,
) -> list[str]:
    """What cannot be known, and what would help."""
    if now < LEAST_LABELS:
        return [
            f"{now} labelled pictures make no curve: label {LEAST_LABELS - now} more, then ask "
            "again"
        ]
    lost = [family for family in known if family not in curves]
    doubts = [
        f"of {family} too few sizes were measured in the time; raise --budget-s, or repeat: what "
        "was measured is kept"
        for family in lost
    ]
    needed = [labels_needed(curve, wanted.target.value) for curve in curves.values()]
    likely = [one for one in needed if one.likely is not None]
    best = min(likely, key=lambda one: one.likely or 0, default=None)
    if curves and best is None:
        beyond = max(one.beyond for one in needed)
        doubts.append(
            f"the target is above what these curves reach within {beyond:,} labels, and nobody "
            "knows how they go on beyond"
        )
    elif best is not None and _is_wide(best):
        doubts.append(
            f"the interval is wide: label {max(now // 2, 10)} more and ask again before much is "
            "spent"
        )
    return doubts


def _is_wide(needed: Needed) -> bool:
    return needed.most is None or needed.most > _WIDE * (needed.likely or needed.most)
