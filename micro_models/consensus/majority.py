"""Majority: every vote counts the same."""

from __future__ import annotations

from micro_models.consensus.result import Consensus, concluded
from micro_models.consensus.votes import Votes


def majority(votes: Votes) -> Consensus:
    """The shares of an item's votes as probabilities; of equal ones the first class is taken.

    >>> found = majority(Votes.of([0, 0, 0, 1], [0, 1, 2, 0], [1, 1, 0, 0]))
    >>> found.labels, found.probabilities[0].round(2)
    (array([1, 0]), array([0.33, 0.67]))
    """
    return concluded(votes, votes.shares())
