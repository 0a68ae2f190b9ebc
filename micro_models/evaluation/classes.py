"""Classes of whole images: how many images are labelled right."""

from __future__ import annotations

from collections.abc import Sequence

from micro_models.regions import Region, WholeImage


def accuracy(found: Sequence[Sequence[Region]], truth: Sequence[Sequence[Region]]) -> float:
    """The share of images, 0..1, whose best class is the true one; both are lists per image.

    Only regions about the whole image count, and only images that have exactly one true class; 0
    if there is no such image.

    >>> from micro_models.regions import Region, WholeImage
    >>> scored = [Region("ant", WholeImage(), 0.7), Region("bee", WholeImage(), 0.3)]
    >>> accuracy([scored, scored], [scored[:1], scored[1:]])
    0.5
    """
    asked = [
        (_classes(ours), next(iter(_classes(theirs))))
        for ours, theirs in zip(found, truth, strict=True)
        if len(_classes(theirs)) == 1
    ]
    hits = sum(bool(ours) and max(ours, key=ours.__getitem__) == label for ours, label in asked)
    return hits / len(asked) if asked else 0.0


def exact_match(
    found: Sequence[Sequence[Region]], truth: Sequence[Sequence[Region]], *, min_score: float = 0.5
) -> float:
    """The share of images, 0..1, of which all classes are right, none missing and none too many.

    A class is given if its score is at least `min_score`. 0 without images.

    >>> from micro_models.regions import Region, WholeImage
    >>> scored = [Region("wet", WholeImage(), 0.7), Region("dark", WholeImage(), 0.3)]
    >>> exact_match([scored, scored], [scored[:1], scored])
    0.5
    """
    hits = [
        {label for label, score in _classes(ours).items() if score >= min_score}
        == set(_classes(theirs))
        for ours, theirs in zip(found, truth, strict=True)
    ]
    return sum(hits) / len(hits) if hits else 0.0


def _classes(regions: Sequence[Region]) -> dict[str, float]:
    return {r.label: r.score for r in regions if isinstance(r.shape, WholeImage)}
