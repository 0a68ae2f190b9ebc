"""How much people agree, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from micro_models.consensus.votes import Matrix, Votes

_Z = 1.6448536269514722  # of a 90% interval
# A thing in a picture: who drew it, and which of all its regions that is; see `grouping`.
Members = Sequence[tuple[int, int]]


def wilson(mean: float, count: float, *, z: float = _Z) -> tuple[float, float]:
    """An interval, 90% unless `z` says else, for a mean of `count` values of 0..1.

    Exact enough for shares; for other values too wide, since none vary more than 0 and 1 do.
    Source: E. Wilson, Journal of the American Statistical Association 22 (1927).

    >>> [round(edge, 3) for edge in wilson(0.9, 20)]
    [0.738, 0.966]
    """
    if count <= 0:
        return 0.0, 1.0
    size = 1 + z * z / count
    middle = (mean + z * z / (2 * count)) / size
    half = z * math.sqrt(mean * (1 - mean) / count + z * z / (4 * count * count)) / size
    return max(0.0, middle - half), min(1.0, middle + half)


def krippendorff_alpha(votes: Votes) -> float | None:
    """Agreement beyond chance: 1 = perfect, 0 = as by chance, below: worse. None where no item has
    two votes, or only one class was ever said.

    Source: K. Krippendorff, Content Analysis (1980), nominal data.

    >>> krippendorff_alpha(Votes.of([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1]))
    1.0
    """
    counts = votes.counted()
    counts = counts[counts.sum(axis=1) > 1]
    each, said = counts.sum(axis=1), counts.sum(axis=0)
    total = said.sum()
    expected = total * total - (said * said).sum()
    if not expected:
        return None
    observed = ((each * each - (counts * counts).sum(axis=1)) / (each - 1)).sum()
    return float(1 - observed * (total - 1) / expected)


def pair_agreements(
    people: Sequence[int], groups: Sequence[Members], labels: Sequence[str], alike: Matrix
) -> Mapping[tuple[int, int], float]:
    """For each two of a picture's `people` how alike their regions are, 0..1; 1 if both drew none.

    The mean of `alike` over all things that either drew; 0 for what one alone drew, or both called
    by other names. `groups` are things as (person, index), `labels` and `alike` go by that index.
    """
    found = {}
    for pair in combinations(sorted(people), 2):
        sums = things = 0.0
        for group in groups:
            drawn = [index for person, index in group if person in pair]
            things += bool(drawn)
            if len(drawn) == 2 and labels[drawn[0]] == labels[drawn[1]]:
                sums += float(alike[drawn[0], drawn[1]])
        found[pair] = sums / things if things else 1.0
    return found


def class_agreement(labels: Sequence[int]) -> float:
    """The share of pairs of votes on one item that are the same, 0..1.

    >>> class_agreement([2, 2, 1])
    0.3333333333333333
    """
    pairs = list(combinations(labels, 2))
    return float(np.mean([one == other for one, other in pairs])) if pairs else 1.0
