"""What a consensus is: probabilities, labels, and how good each worker is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from micro_models.consensus.votes import Ints, Matrix, Votes

# A worker counts as much as this many votes of the average worker until votes say otherwise.
SHRINK_VOTES = 4.0
_LEVEL = 0.9


@dataclass(frozen=True)
class Quality:
    """A worker: the probability 0..1 that a vote is right, its 90% interval, how many votes."""

    accuracy: float
    low: float
    high: float
    votes: int


@dataclass(frozen=True, eq=False)
class Consensus:
    """What votes say together.

    `probabilities`: (items, classes), rows sum to 1. `labels`: (items,) the likeliest class, of
    equals the first. `workers`: each one's quality. `confusions`: (workers, truth, said)
    probabilities where the method has them. `figures`: what else the method measured.
    """

    probabilities: Matrix
    labels: Ints
    workers: tuple[Quality, ...]
    iterations: int = 1
    confusions: Matrix | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


def concluded(
    votes: Votes,
    probabilities: Matrix,
    *,
    iterations: int = 1,
    confusions: Matrix | None = None,
    figures: Mapping[str, float] | None = None,
) -> Consensus:
    """A consensus of what a method found out about the items."""
    return Consensus(
        probabilities,
        probabilities.argmax(axis=1),
        worker_qualities(votes, probabilities),
        iterations,
        confusions,
        figures or {},
    )


def settled(
    first: Matrix, improve: Callable[[Matrix], Matrix], *, iterations: int, tolerance: float
) -> tuple[Matrix, int]:
    """Improve probabilities until none moves by `tolerance`: them, and how often it was done."""
    found = first
    for count in range(1, iterations + 1):
        before, found = found, improve(found)
        if np.abs(found - before).max(initial=0.0) < tolerance:
            return found, count
    return found, iterations


def worker_qualities(votes: Votes, probabilities: Matrix) -> tuple[Quality, ...]:
    """Each worker's probability of being right, shrunk to the mean, with a 90% interval.

    A Beta posterior whose prior is the mean worker with `SHRINK_VOTES` votes; that the truth is
    itself only probable widens it.
    """
    from scipy.special import betaincinv

    right = probabilities[votes.items, votes.labels]
    count = np.bincount(votes.workers, minlength=votes.n_workers)
    sums = np.bincount(votes.workers, weights=right, minlength=votes.n_workers)
    doubt = np.bincount(votes.workers, weights=right * (1 - right), minlength=votes.n_workers)
    mean = (right.sum() + 1) / (len(right) + 2)
    weight = count + SHRINK_VOTES
    middle = ((sums + SHRINK_VOTES * mean) / weight).clip(1e-6, 1 - 1e-6)
    variance = middle * (1 - middle) / (weight + 1) + doubt / weight**2
    strength = np.maximum(middle * (1 - middle) / variance - 1, 1e-3)
    a, b = middle * strength, (1 - middle) * strength
    low, high = (betaincinv(a, b, (1 + side * _LEVEL) / 2) for side in (-1, 1))
    return tuple(
        Quality(float(m), float(x), float(y), int(n))
        for m, x, y, n in zip(middle, low, high, count, strict=True)
    )


def log_softmax(scores: Matrix) -> Matrix:
    """(n, k) -> (n, k) logarithms of what sums to 1 in each row."""
    moved = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))
