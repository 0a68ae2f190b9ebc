"""What is never seen twice in one picture is hardly seen twice in the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from micro_models.examples import Example
from micro_models.regions import Region

# In fewer pictures it may be chance.
_FEW = 3


def alone(examples: Sequence[Example]) -> dict[str, int]:
    """The labels of which no example has two, with the number of examples that have one.

    >>> from micro_models.regions import Box
    >>> one, other = Region("sun", Box(0, 0, 9, 9)), Region("star", Box(0, 0, 2, 2))
    >>> alone([Example("a.png", [one, other, other])] * 3)
    {'sun': 3}
    """
    counts = [Counter(region.label for region in example.regions) for example in examples]
    labels = sorted(set().union(*counts))
    seen = {label: [count[label] for count in counts if count[label]] for label in labels}
    return {
        label: len(some) for label, some in seen.items() if max(some) == 1 and len(some) >= _FEW
    }


def doubted(regions: Iterable[Region], times: Mapping[str, int]) -> list[Region]:
    """The regions, best first, with less belief in all but the best of a label in `times`.

    Having been alone n times, the odds of another are n + 1 times smaller: the rule of succession.

    >>> from micro_models.regions import Box
    >>> best, next_ = Region("sun", Box(0, 0, 9, 9), 0.9), Region("sun", Box(20, 0, 29, 9), 0.8)
    >>> [round(region.score, 2) for region in doubted([best, next_], {"sun": 3})]
    [0.9, 0.5]
    """
    found: list[Region] = []
    best: set[str] = set()
    for region in sorted(regions, key=lambda one: -one.score):
        if region.label in times and region.label in best:
            less = region.score / (times[region.label] + 1)
            region = replace(region, score=less / (less + 1 - region.score + 1e-9))
        best.add(region.label)
        found.append(region)
    return sorted(found, key=lambda one: -one.score)
