"""Query by committee: how little several models agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from micro_models.active_learning.detection_disagreement import detection_disagreement
from micro_models.active_learning.entropy import entropy
from micro_models.active_learning.probabilities import Scores, checked
from micro_models.regions import Region


def vote_entropy(probabilities: ArrayLike) -> Scores:
    """(members, n, k) -> (n,), 0..1, higher = less agreed: the entropy of the members' votes.

    Source: I. Dagan, S. Engelson, Committee-Based Sampling for Training Probabilistic Classifiers
    (1995).

    >>> agreed, split = [0.9, 0.1], [0.2, 0.8]
    >>> vote_entropy([[agreed, agreed], [agreed, split]])
    array([0., 1.])
    """
    values = _committee(probabilities)
    votes = np.eye(values.shape[2])[values.argmax(axis=2)]
    return entropy(votes.mean(axis=0))


def consensus_divergence(probabilities: ArrayLike) -> Scores:
    """(members, n, k) -> (n,), 0 and up, higher = less agreed: mean divergence from the mean.

    The Kullback-Leibler divergence of each member from the mean of all, in nats; at most log k.
    Source: A. McCallum, K. Nigam, Employing EM and Pool-Based Active Learning (1998).

    >>> agreed, split = [1.0, 0.0], [0.0, 1.0]
    >>> consensus_divergence([[agreed, agreed], [agreed, split]]).round(3)
    array([0.   , 0.693])
    """
    values = _committee(probabilities)
    values = values / np.maximum(values.sum(axis=2, keepdims=True), 1e-12)
    mean = values.mean(axis=0)
    ratio = np.divide(values, mean, out=np.ones_like(values), where=values > 0)
    return np.asarray((values * np.log(ratio)).sum(axis=2).mean(axis=0))


def committee_disagreement(found: Sequence[Sequence[Sequence[Region]]]) -> Scores:
    """Members' regions per image -> (n,), 0..1, higher = less agreed: mean over pairs of members.

    A pair's is `detection_disagreement`. A single member agrees with itself: 0.
    Source: H. Seung, M. Opper, H. Sompolinsky, Query by Committee (1992), on detections.

    >>> from micro_models.regions import Box, Region
    >>> car = Region("car", Box(0, 0, 10, 10))
    >>> committee_disagreement([[[car], [car]], [[car], []]])
    array([0., 1.])
    """
    pairs = list(combinations(found, 2))
    images = len(found[0]) if found else 0
    if not pairs:
        return np.zeros(images)
    each = [
        [detection_disagreement(a, b) for a, b in zip(one, other, strict=True)]
        for one, other in pairs
    ]
    return np.asarray(np.mean(each, axis=0))


def _committee(probabilities: ArrayLike) -> Scores:
    values = checked(probabilities)
    if values.ndim != 3 or not len(values):
        raise ValueError(f"a committee's probabilities are (members, n, k), not {values.shape}")
    return values
