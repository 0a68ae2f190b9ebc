"""What examples ask for: of each label the shape to answer in; whether classes exclude others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from micro_models.examples import Example
from micro_models.regions import Keypoints, Shape, WholeImage


@dataclass(frozen=True)
class Answer:
    """The shape in which a label is answered; `points` of a skeleton, else 0."""

    label: str
    shape: type[Shape]
    points: int = 0


def answers_of(examples: Sequence[Example]) -> tuple[Answer, ...]:
    """Of each label, sorted, the shape that most of its regions have.

    Of shapes that are as frequent the first by name; of skeletons the usual number of points.

    >>> from micro_models.regions import Box, Point, Region
    >>> box, point = Region("car", Box(1, 2, 3, 4)), Region("car", Point(1, 2))
    >>> answers_of([Example("a.png", [box, box, point])])[0].shape.__name__
    'Box'
    """
    shapes: dict[str, Counter[type[Shape]]] = {}
    points: dict[str, Counter[int]] = {}
    for region in (region for example in examples for region in example.regions):
        shapes.setdefault(region.label, Counter())[type(region.shape)] += 1
        if isinstance(region.shape, Keypoints):
            points.setdefault(region.label, Counter())[len(region.shape.points)] += 1
    answers = []
    for label, counts in sorted(shapes.items()):
        shape = min(counts, key=lambda one: (-counts[one], one.__name__))
        # A skeleton without any point says nothing of how many there are.
        usual = {n: times for n, times in points.get(label, Counter()).items() if n}
        count = max(usual, key=lambda n: (usual[n], n), default=0)
        answers.append(Answer(label, shape, count if shape is Keypoints else 0))
    return tuple(answers)


def exclusive(examples: Sequence[Example]) -> bool:
    """Whether the classes of whole images exclude each other: every image has exactly one of them.

    Not if there is one class only, or if some image has none: then that is an answer too.

    >>> from micro_models.regions import Region
    >>> day, night = (Example("a.png", [Region(label, WholeImage())]) for label in ("day", "night"))
    >>> exclusive([day, night]), exclusive([day, day]), exclusive([day, night, Example("b.png")])
    (True, False, False)
    """
    names = [
        {region.label for region in one.regions if isinstance(region.shape, WholeImage)}
        for one in examples
    ]
    return all(len(some) == 1 for some in names) and len(set().union(*names)) > 1
