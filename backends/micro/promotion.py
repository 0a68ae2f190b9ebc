"""Whether a new model replaces the old one: by what both find where neither had looked before."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from micro_models.evaluation.counting import count
from micro_models.fitting import validation
from micro_models.fitting.validation import HeldOut
from micro_models.regions import Region

# Figures of few images are rough: a new model may be worse by as much as chance alone makes it,
# but by no more than this, nor by more than this part of the old one's quality.
MOST_TIE, MOST_TIE_PART = 0.05, 0.1
# Labels that came later may be what spoils the new model, and then it is by them that it looks
# good. So it may not be worse on the earlier images alone: by no more than this if it gains as much
# on all, where the project now shows other things too.
MOST_LOSS = 0.15
# A first model that is worse is of no use to anybody: its empty answers would look like answers.
LEAST = 0.2
# How rough the figures are is itself rough for few images: as if there were one more on which the
# models differed by this.
_UNSEEN = 0.5
# Scores from which on a region counts as found.
_SHOWN = 0.5
_ADVICE = "see whether the labels that came since are right"

Regions = Sequence[Region]


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, and why, for people.

    `quality` of the new model and `baseline` of the old one, 0..1, are on the same held-out images;
    without an old one, `quality` is on all that were held out. `f1`: of the new one there, of
    regions that score 0.5 or more. None where nothing was held out. `lost`: by how much the new one
    is worse than the best of those before it, as far as chance hid that step by step.
    `is_measured` is False where more time could have held something out.
    """

    promote: bool
    quality: float | None
    baseline: float | None
    f1: float | None
    why: str
    lost: float = 0.0
    is_measured: bool = True


def judge(
    truth: Sequence[Regions],
    new: Sequence[Regions | None],
    old: Sequence[Regions | None] = (),
    *,
    later: Collection[int] = (),
    lost: float = 0.0,
) -> Verdict:
    """Compare two models on images that both were held out from.

    Lists per image, scores calibrated; None where a model was not held out; `old` is empty if there
    is none. `later` are the indices of images that were labelled after the old model was made,
    `lost` is the old one's. The measure is the one that trainers are chosen by:
    `fitting.validation.quality`.
    """
    old = old or (None,) * len(truth)
    both = [n for n, found in enumerate(new) if found is not None and old[n] is not None]
    if not both:
        return _not_compared(truth, new, old, lost)
    everywhere = _compared(truth, new, old, both)
    earlier = [n for n in both if n not in set(later)]
    before = _compared(truth, new, old, earlier) if earlier else everywhere
    promote, why = _decided(everywhere, before, lost)
    f1 = _f1(_some(new, both), _some(truth, both))
    lost = max(0.0, lost - everywhere.gain)
    return Verdict(promote, everywhere.new, everywhere.old, f1, why, lost)


@dataclass(frozen=True)
class _Comparison:
    """Qualities on the same `images`, and how much of their difference may be chance."""

    new: float
    old: float
    chance: float
    images: int

    @property
    def gain(self) -> float:
        return self.new - self.old

    def __str__(self) -> str:
        return f"{self.new:.2f} against {self.old:.2f} of the model before"


def _compared(
    truth: Sequence[Regions],
    new: Sequence[Regions | None],
    old: Sequence[Regions | None],
    indices: Sequence[int],
) -> _Comparison:
    theirs, ours, before = (_some(lists, indices) for lists in (truth, new, old))
    baseline = _quality(before, theirs)
    chance = min(_chance(theirs, ours, before), MOST_TIE, MOST_TIE_PART * baseline)
    return _Comparison(_quality(ours, theirs), baseline, chance, len(indices))


def _decided(everywhere: _Comparison, earlier: _Comparison, lost: float) -> tuple[bool, str]:
    """Whether to promote, and why.

    What may be chance is so for a line of models together: each a little worse, they would drift.
    """
    gain, loss = everywhere.gain, -earlier.gain
    figures = f"{everywhere} on {_images(everywhere.images)}"
    if gain < -everywhere.chance:
        return False, f"not as good: {figures}; {_ADVICE}"
    if gain < 0 and lost - gain > everywhere.chance:
        return False, f"a little worse again, after {lost:.2f} were lost: {figures}; {_ADVICE}"
    if loss > earlier.chance and (loss > MOST_LOSS or gain < loss):
        return False, f"worse on {_images(earlier.images)} labelled earlier: {earlier}; {_ADVICE}"
    if gain >= 0:
        return True, f"at least as good: {figures}"
    return True, f"as good within chance ({everywhere.chance:.2f}): {figures}"


def _not_compared(
    truth: Sequence[Regions],
    new: Sequence[Regions | None],
    old: Sequence[Regions | None],
    lost: float,
) -> Verdict:
    """There is no old model, or no image that both were held out from."""
    is_rival = any(found is not None for found in old)
    lost = lost if is_rival else 0.0
    seen = [n for n, found in enumerate(new) if found is not None]
    if not seen:
        # Of a single label nothing can be held out: whoever asks for a model of it gets one.
        promote = len(truth) == 1 and not is_rival
        why = "no labelled image could be held out to measure it"
        why += ": the model before stays" if is_rival else ""
        if not promote:
            why += "; label more, or raise LABELPILOT_TRAIN_BUDGET_S"
        return Verdict(promote, None, None, None, why, lost, is_measured=len(truth) == 1)
    theirs, ours = _some(truth, seen), _some(new, seen)
    quality, f1 = _quality(ours, theirs), _f1(ours, theirs)
    what = "no image to compare it by" if is_rival else "nothing to compare it with"
    if promote := quality >= LEAST:
        why = f"{what}: {quality:.2f} on {_images(len(seen))}"
    else:
        why = f"it finds too little: {quality:.2f} on {_images(len(seen))}; label more"
    return Verdict(promote, quality, None, f1, why, lost)


def _some(lists: Sequence[Regions | None], indices: Sequence[int]) -> list[tuple[Region, ...]]:
    return [tuple(lists[n] or ()) for n in indices]


def _quality(found: Sequence[tuple[Region, ...]], truth: Sequence[tuple[Region, ...]]) -> float:
    return validation.quality(HeldOut(tuple(found), tuple(truth))).score


def _chance(truth: Sequence[Regions], new: Sequence[Regions], old: Sequence[Regions]) -> float:
    """The standard error of the models' mean difference over images."""
    differences = [
        _f1([mine], [theirs]) - _f1([before], [theirs])
        for theirs, mine, before in zip(truth, new, old, strict=True)
    ]
    n, mean = len(differences), sum(differences) / len(differences)
    variance = (sum((one - mean) ** 2 for one in differences) + _UNSEEN**2) / n
    return math.sqrt(variance / n)


def _f1(found: Sequence[Regions], truth: Sequence[Regions]) -> float:
    return count(found, truth, min_score=_SHOWN).f1


def _images(number: int) -> str:
    return f"{number} held-out image" + ("s" if number > 1 else "")
