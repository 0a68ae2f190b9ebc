"""What people have to know before they trust the findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from micro_models.label_errors.sightings import Scene, probabilities
from micro_models.regions import Region, WholeImage

Answer = Sequence[Region]

# Fewer of a kind than this say little.
_FEW, _SOME = 5, 10
_SELDOM_FOUND = 0.3
_SAME_SCORE = 1e-6


def alarms(
    given: Sequence[Answer], found: Sequence[Answer | None], scenes: Sequence[Scene]
) -> Iterator[str]:
    """Scores that tell nothing, labels never found or too few, examples nobody looked at."""
    unseen = sum(answer is None for answer in found)
    if unseen:
        yield f"{unseen} of {len(found)} pictures were not looked at and are not judged"
    every = [one for answer in found for one in answer or ()]
    for label in sorted({one.label for one in every}):
        scores = np.array([one.score for one in every if one.label == label])
        if len(scores) >= _SOME and np.ptp(scores) < _SAME_SCORE:
            yield (
                f"the model gives each of its {len(scores)} {label} the same score "
                f"({scores[0]:.2f}): it cannot tell them apart, so their order means nothing"
            )
    yield from _turned(scenes)
    yield from _labels(given, found, scenes)


def _turned(scenes: Sequence[Scene]) -> Iterator[str]:
    """Scores that differ and, fitted on the labels at hand, all come to the same."""
    scores: dict[str, list[tuple[float, float]]] = {}
    for one, told in zip(scenes, probabilities(scenes), strict=True):
        for region, p in zip(one.found, told.tolist(), strict=True):
            scores.setdefault(region.label, []).append((region.score, p))
    for label, some in sorted(scores.items()):
        came, p = np.ptp(np.array(some), axis=0)
        if len(some) >= _SOME and came >= _SAME_SCORE > p:
            yield (
                f"the surer the model is of {label}, the less often it is right: its scores are "
                "not used, so the order of those findings means little"
            )


def _labels(
    given: Sequence[Answer], found: Sequence[Answer | None], scenes: Sequence[Scene]
) -> Iterator[str]:
    seen = [some for some, answer in zip(given, found, strict=True) if answer is not None]
    everything = [one for some in seen for one in some]
    for label in sorted({one.label for one in everything}):
        count = sum(one.label == label for one in everything)
        if count < _FEW:
            yield f"only {count} {label} are labelled: too few to judge them"
            continue
        found_ones = [
            there
            for some in scenes
            for one, there in zip(some.given, some.is_found, strict=True)
            if one.label == label
        ]
        if sum(found_ones) < _SELDOM_FOUND * len(found_ones):
            yield (
                f"the model finds only {sum(found_ones)} of {len(found_ones)} {label}: "
                "what it says of them counts little"
            )


def is_class(region: Region) -> bool:
    """Whether it is about the whole image.

    >>> is_class(Region("day", WholeImage()))
    True
    """
    return isinstance(region.shape, WholeImage)
