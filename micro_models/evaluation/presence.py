"""Whether an object is told to be there exactly while it is: what trackers get wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from micro_models.evaluation.overlap import similarities
from micro_models.regions import Region, Shape


@dataclass(frozen=True)
class Presence:
    """Of several frames: objects that are there and found, found only, and there only.

    Where in the frame does not matter to these; `total_iou` is the sum over `both` of how alike
    the places are.
    """

    both: int
    extra: int
    missed: int
    total_iou: float

    @property
    def precision(self) -> float:
        """The share of what was found that is there, 0..1; 1 if nothing was found."""
        found = self.both + self.extra
        return self.both / found if found else 1.0

    @property
    def recall(self) -> float:
        """The share of what is there that was found, 0..1; 1 if nothing is there."""
        there = self.both + self.missed
        return self.both / there if there else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, 0..1; 1 if nothing was there or found."""
        total = 2 * self.both + self.extra + self.missed
        return 2 * self.both / total if total else 1.0

    @property
    def mean_iou(self) -> float:
        """How alike the places are where it is there and found, 0..1; 0 without any."""
        return self.total_iou / self.both if self.both else 0.0


def presence(found: Sequence[Sequence[Region]], truth: Sequence[Sequence[Region]]) -> Presence:
    """Count the objects of each label in each frame; both are lists per frame.

    Of several of a label as many are found as are there, wherever they are; those most alike are
    compared with each other. Every region counts, whatever its score.

    >>> from micro_models.regions import Box, Region
    >>> car = Region("car", Box(0, 0, 10, 10))
    >>> aside = Region("car", Box(5, 0, 15, 10))
    >>> told = presence([[car], [aside], [car], []], [[car], [car], [], []])
    >>> told.precision, told.recall, round(told.mean_iou, 3)
    (0.6666666666666666, 1.0, 0.667)
    """
    both = extra = missed = 0
    total_iou = 0.0
    for ours, theirs in zip(found, truth, strict=True):
        here, there = _by_label(ours), _by_label(theirs)
        for label in here.keys() | there.keys():
            counts = len(here[label]), len(there[label])
            both += min(counts)
            extra += max(counts[0] - counts[1], 0)
            missed += max(counts[1] - counts[0], 0)
            total_iou += _best_total(here[label], there[label])
    return Presence(both, extra, missed, total_iou)


def _by_label(regions: Sequence[Region]) -> defaultdict[str, list[Shape]]:
    shapes: defaultdict[str, list[Shape]] = defaultdict(list)
    for region in regions:
        shapes[region.label].append(region.shape)
    return shapes


def _best_total(found: Sequence[Shape], truth: Sequence[Shape]) -> float:
    """How alike pairs are, the most alike first, each shape in one pair."""
    if not found or not truth:
        return 0.0
    alike, total = similarities(found, truth), 0.0
    for _ in range(min(alike.shape)):
        row, column = divmod(int(alike.argmax()), alike.shape[1])
        total += float(alike[row, column])
        alike[row, :] = alike[:, column] = -1.0
    return total
