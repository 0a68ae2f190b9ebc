"""What several people who labelled the same picture agree on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from micro_models.evaluation.matching import match
from micro_models.evaluation.overlap import POINT_PX, similarities
from micro_models.regions import Region, WholeImage

MIN_IOU = 0.5

# Regions of the same thing with the index of who drew each; the newest person is 0 and comes first.
_Group = list[tuple[int, Region]]


def agreed(
    answers: Sequence[Sequence[Region]],
    *,
    one_of: Iterable[Collection[str]] = (),
    point_px: float = POINT_PX,
) -> tuple[Region, ...]:
    """The regions on which most of the people agree; `answers` has each one's, the newest first.

    Regions are the same if they have one label and match by `evaluation.matching` at an IoU of 0.5
    (points: at a distance of `point_px`). Of the same the medoid is taken, the one most like all
    others. A region stays if more than half of the people drew it, or just half of them, the newest
    included. Of regions left over those are the same that match whatever their label: most people
    saw something there, and it is called what most of these call it.
    Classes of the picture stay by the same rule, but of each set in `one_of`, whose classes exclude
    each other, that which most people chose, or none if most chose none. Wherever votes are equal,
    the newest decides. Two people who disagree are therefore the newer one alone.
    """
    drawn = [[r for r in answer if not isinstance(r.shape, WholeImage)] for answer in answers]
    groups = _groups(drawn, point_px, by_label=True)
    kept = [group for group in groups if _has_majority(group, len(answers))]
    left: list[list[Region]] = [[] for _ in answers]
    for group in groups:
        if not _has_majority(group, len(answers)):
            for person, region in group:
                left[person].append(region)
    kept += [
        group
        for group in _groups(left, point_px, by_label=False)
        if _has_majority(group, len(answers))
    ]
    named = [
        tuple(dict.fromkeys(r.label for r in answer if isinstance(r.shape, WholeImage)))
        for answer in answers
    ]
    classes = [Region(label, WholeImage()) for label in _classes(named, one_of)]
    return (*(_medoid(group, point_px) for group in kept), *classes)


def _groups(
    answers: Sequence[Sequence[Region]], point_px: float, *, by_label: bool
) -> list[_Group]:
    """Regions that are the same, from the newest person to the oldest; at most one of each."""

    def compared(regions: Sequence[Region]) -> Sequence[Region]:
        return regions if by_label else [replace(region, label="") for region in regions]

    groups: list[_Group] = []
    for person, regions in enumerate(answers):
        known = compared([group[0][1] for group in groups])
        matches = match(compared(regions), known, min_iou=MIN_IOU, point_px=point_px)
        for pair in matches.pairs:
            groups[pair.truth].append((person, regions[pair.found]))
        groups += [[(person, regions[index])] for index in matches.extra]
    return groups


def _has_majority(group: _Group, people: int) -> bool:
    return 2 * len(group) > people or (2 * len(group) == people and group[0][0] == 0)


def _medoid(group: _Group, point_px: float) -> Region:
    regions = [region for _, region in group]
    shapes = [region.shape for region in regions]
    # Rounded: the order of additions must not decide between equals. The first is the newest.
    alike = similarities(shapes, shapes, point_px=point_px).sum(axis=1).round(6)
    votes = Counter(region.label for region in regions)
    label = max((region.label for region in regions), key=votes.__getitem__)
    return Region(label, shapes[int(alike.argmax())])


def _classes(
    named: Sequence[tuple[str, ...]], one_of: Iterable[Collection[str]]
) -> dict[str, None]:
    """The classes on which people agree, in order."""
    kept: dict[str, None] = {}
    exclusive = [frozenset(labels) for labels in one_of]
    for labels in exclusive:
        choices = [next((label for label in own if label in labels), None) for own in named]
        votes = Counter(choices)
        winner = max(choices, key=votes.__getitem__, default=None)
        if winner is not None:
            kept[winner] = None
    for label in dict.fromkeys(label for own in named for label in own):
        count = sum(label in own for own in named)
        is_kept = 2 * count > len(named) or (2 * count == len(named) and label in named[0])
        if is_kept and not any(label in labels for labels in exclusive):
            kept[label] = None
    return kept
