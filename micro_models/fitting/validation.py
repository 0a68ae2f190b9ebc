"""How good a trainer is on images that it did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.evaluation.average_precision import average_precisions
from micro_models.evaluation.classes import accuracy
from micro_models.evaluation.matching import match
from micro_models.examples import Example, image_of
from micro_models.fitting.calibrating import calibrated_by
from micro_models.fitting.committee import together
from micro_models.fitting.folds import held_out
from micro_models.interface import Learned
from micro_models.regions import Region, WholeImage
from micro_models.tasks import exclusive

# Raw scores below this are not worth the time to match them.
_LEAST = 0.02

# Trains on some of the examples: (examples, number of the fold) -> model.
FitPart = Callable[[Sequence[Example], int], Learned]

Regions = tuple[Region, ...]


@dataclass(frozen=True)
class Quality:
    """How good held-out detections are, 0..1, higher = better.

    `by_label`: average precision at an overlap of 0.5 of each label; `accuracy`: the share of
    images with the right class, where classes exclude each other; `score`: what trainers are
    compared by, the mean of what located labels and classes have.
    """

    score: float
    by_label: dict[str, float]
    accuracy: float | None = None


@dataclass(frozen=True)
class HeldOut:
    """What was found in held-out images, with raw scores, and what is there; lists per image.

    `fold`: which model found it; those of a fold were held out together. `index`: which of the
    examples it is.
    """

    found: tuple[Regions, ...] = ()
    truth: tuple[Regions, ...] = ()
    fold: tuple[int, ...] = ()
    index: tuple[int, ...] = ()


def cross_validated(
    fit_part: FitPart,
    examples: Sequence[Example],
    groups: Sequence[Sequence[int]],
    *,
    is_late: Callable[[], bool] = lambda: False,
) -> HeldOut:
    """Train without each group of examples in turn, and look at the group.

    Once it `is_late` no more images are looked at, but for one. Errors: what `fit_part` raises.
    """
    found: list[Regions] = []
    truth: list[Regions] = []
    fold: list[int] = []
    seen: list[int] = []
    for number, group in enumerate(groups):
        if found and is_late():
            break
        rest = [one for index, one in enumerate(examples) if index not in set(group)]
        model = fit_part(rest, number)
        for index in held_out(group):
            if found and is_late():
                break
            example = examples[index]
            answer = model.detect([image_of(example.picture)], min_score=_LEAST)[0]
            found.append(tuple(answer))
            truth.append(example.regions)
            fold.append(number)
            seen.append(index)
    return HeldOut(tuple(found), tuple(truth), tuple(fold), tuple(seen))


def fused(first: HeldOut, second: HeldOut) -> HeldOut:
    """What two models that were held out from the same images find together."""
    found = [tuple(together(a, b)) for a, b in zip(first.found, second.found, strict=True)]
    return HeldOut(tuple(found), second.truth, second.fold, second.index)


def quality(held: HeldOut) -> Quality:
    """The figures of held-out detections.

    >>> from micro_models.regions import Box
    >>> car = (Region("car", Box(0, 0, 9, 9)),)
    >>> quality(HeldOut((car, ()), (car, car))).by_label
    {'car': 0.504950495049505}
    """
    by_label = average_precisions(held.found, held.truth)
    located, classes = (_labels(held.truth, whole=whole) for whole in (False, True))
    parts = [[by_label[label] for label in labels] for labels in (located, classes) if labels]
    right = None
    if classes and exclusive([Example("", regions) for regions in held.truth]):
        right = accuracy(held.found, held.truth)
        parts[-1] = [right]
    score = float(np.mean([np.mean(part) for part in parts])) if parts else 0.0
    return Quality(score, by_label, right)


def calibrated_apart(
    held: HeldOut, examples: Sequence[Example], unlabelled: Sequence[Sequence[Region]] = ()
) -> tuple[Regions, ...]:
    """Per held-out image what was found, its scores P(right), best first.

    Each fold is calibrated by the others, so that none is its own proof.

    >>> from micro_models.regions import Box
    >>> car = (Region("car", Box(0, 0, 9, 9), 0.9),)
    >>> held = HeldOut((car, car), (car, car), (0, 1), (0, 1))
    >>> [len(some) for some in calibrated_apart(held, [Example("a.png", car)] * 2)]
    [1, 1]
    """
    told: list[Regions] = [()] * len(held.found)
    for number in sorted(set(held.fold)):
        others = [at for at, fold in enumerate(held.fold) if fold != number]
        calibration = calibrated_by(
            [held.found[n] for n in others], [held.truth[n] for n in others], examples, unlabelled
        )
        for at, fold in enumerate(held.fold):
            if fold == number:
                told[at] = tuple(calibration.calibrated(held.found[at]))
    return tuple(told)


def precision_and_recall(
    told: Sequence[Regions], truth: Sequence[Regions], *, min_score: float = 0.5
) -> tuple[float, float] | None:
    """(precision, recall) 0..1 of what has a calibrated score of `min_score`; None if untried.

    >>> from micro_models.regions import Box
    >>> car = (Region("car", Box(0, 0, 9, 9), 0.9),)
    >>> precision_and_recall([car, ()], [car, car]), precision_and_recall([], [])
    ((1.0, 0.5), None)
    """
    hits = found = 0
    for ours, theirs in zip(told, truth, strict=True):
        kept = [region for region in ours if region.score >= min_score]
        hits += len(match(kept, theirs).pairs)
        found += len(kept)
    if not truth:
        return None
    return hits / max(found, 1), hits / max(sum(map(len, truth)), 1)


def _labels(truth: Sequence[Regions], *, whole: bool) -> list[str]:
    return sorted(
        {one.label for some in truth for one in some if isinstance(one.shape, WholeImage) is whole}
    )
