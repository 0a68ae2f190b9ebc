"""What an annotator would find of a model's answers: counts at one threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from micro_models.evaluation.matching import match
from micro_models.evaluation.overlap import POINT_PX
from micro_models.regions import Region


@dataclass(frozen=True)
class Counts:
    """Of several images: `right` regions, `extra` found ones, `missed` true ones.

    `false_alarms` are the extra ones on images without any object; `total_iou` is the sum over the
    right ones of how alike they are to the truth.
    """

    right: int
    extra: int
    missed: int
    false_alarms: int
    total_iou: float

    @property
    def precision(self) -> float:
        """The share of found regions that is right, 0..1; 1 if none was found."""
        found = self.right + self.extra
        return self.right / found if found else 1.0

    @property
    def recall(self) -> float:
        """The share of true regions that was found, 0..1; 1 if there was none."""
        truth = self.right + self.missed
        return self.right / truth if truth else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0..1; 1 if nothing was there or found."""
        return 2 * self.right / both if (both := 2 * self.right + self.extra + self.missed) else 1.0

    @property
    def mean_iou(self) -> float:
        """How alike the right ones are to the truth, 0..1; 0 without any."""
        return self.total_iou / self.right if self.right else 0.0


def count(
    found: Sequence[Sequence[Region]],
    truth: Sequence[Sequence[Region]],
    *,
    min_score: float = 0.5,
    min_iou: float = 0.5,
    point_px: float = POINT_PX,
) -> Counts:
    """Count right, extra and missed regions over images; both are lists per image.

    Only what scores at least `min_score` was found. Matched by `matching.match`.

    >>> from micro_models.regions import Box, Region
    >>> truth = [[Region("car", Box(0, 0, 10, 10))], []]
    >>> found = [[Region("car", Box(0, 0, 10, 8), 0.9)], [Region("car", Box(0, 0, 9, 9), 0.3)]]
    >>> counts = count(found, truth)
    >>> counts.f1, counts.mean_iou, counts.false_alarms
    (1.0, 0.8, 0)
    """
    right = extra = missed = false_alarms = 0
    total_iou = 0.0
    for ours, theirs in zip(found, truth, strict=True):
        shown = [region for region in ours if region.score >= min_score]
        matches = match(shown, theirs, min_iou=min_iou, point_px=point_px)
        right += len(matches.pairs)
        extra += len(matches.extra)
        missed += len(matches.missed)
        false_alarms += 0 if theirs else len(matches.extra)
        total_iou += sum(pair.similarity for pair in matches.pairs)
    return Counts(right, extra, missed, false_alarms, total_iou)


def is_right(
    found: Sequence[Region],
    truth: Sequence[Region],
    *,
    min_score: float = 0.5,
    min_iou: float = 0.5,
    point_px: float = POINT_PX,
) -> bool:
    """Whether an image needs no correction: everything is found, nothing else is.

    >>> from micro_models.regions import Box, Region
    >>> car = Region("car", Box(0, 0, 10, 10), 0.9)
    >>> is_right([car], [car]), is_right([car, car], [car]), is_right([], [car])
    (True, False, False)
    """
    shown = [region for region in found if region.score >= min_score]
    matches = match(shown, truth, min_iou=min_iou, point_px=point_px)
    return not matches.extra and not matches.missed


def label_efficiency(
    found: Sequence[Sequence[Region]],
    truth: Sequence[Sequence[Region]],
    drawn: Sequence[bool],
    *,
    min_score: float = 0.5,
    min_iou: float = 0.5,
) -> float:
    """The share, 0..1, of images with objects that are right without having been drawn.

    `found`, `truth` and `drawn` are per image. 1 if no image has an object.

    >>> from micro_models.regions import Box, Region
    >>> car = [Region("car", Box(0, 0, 10, 10))]
    >>> label_efficiency([car, car, [], []], [car, car, car, []], [True, False, False, False])
    0.3333333333333333
    """
    present = [i for i, theirs in enumerate(truth) if theirs]
    spared = sum(
        not drawn[i] and is_right(found[i], truth[i], min_score=min_score, min_iou=min_iou)
        for i in present
    )
    return spared / len(present) if present else 1.0
