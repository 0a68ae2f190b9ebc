"""Pseudo-labels: what a model is sure of, taken for true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from micro_models.examples import Example, Picture
from micro_models.regions import Region


def pseudo_examples(
    found: Sequence[Sequence[Region]], pictures: Sequence[Picture], *, min_score: float = 0.9
) -> list[Example]:
    """Pictures whose answer is beyond doubt, with what was found in them as their labels.

    `found` is per picture, with calibrated scores and with candidates down to 1 - `min_score`. A
    picture is taken only if every candidate is sure: found with at least `min_score`, or at most
    1 - `min_score`; one doubtful object makes it worthless, for whatever is not labelled in an
    example counts as background. Pictures in which nothing was found are not taken: a model that
    misses an object says the same. Of classes of the whole image only the sure ones are kept.
    Source: D.-H. Lee, Pseudo-Label (2013); the rejection of doubtful images as in K. Sohn et al.,
    A Simple Semi-Supervised Learning Framework for Object Detection (2020).

    >>> from micro_models.regions import Box
    >>> sure, doubt = (Region("car", Box(0, 0, 9, 9), score) for score in (0.95, 0.6))
    >>> taken = pseudo_examples([[sure], [sure, doubt], []], ["a.png", "b.png", "c.png"])
    >>> [(example.picture, example.regions[0].score) for example in taken]
    [('a.png', 1.0)]
    """
    examples = []
    doubt = 1 - min_score + 1e-9
    for regions, picture in zip(found, pictures, strict=True):
        sure = [replace(region, score=1.0) for region in regions if region.score >= min_score]
        if sure and not any(doubt < region.score < min_score for region in regions):
            examples.append(Example(picture, sure))
    return examples
