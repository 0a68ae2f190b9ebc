"""GLAD: workers differ in ability, items in difficulty."""

from __future__ import annotations

import numpy as np

from micro_models.consensus.dawid_skene import frequencies
from micro_models.consensus.result import Consensus, concluded, log_softmax, settled
from micro_models.consensus.votes import Ints, Matrix, Votes

# Ability ~ N(1, 1), the logarithm of an item's clearness ~ N(0, 0.25).
_ABILITY_SD, _CLEAR_SD = 1.0, 0.5
_CLIMBS, _RATE = 10, 0.5


def glad(votes: Votes, *, iterations: int = 60, tolerance: float = 1e-4) -> Consensus:
    """The likeliest truth if a vote is right by sigmoid(ability of the worker x clearness of item).

    EM; abilities and clearnesses climb by steps of their own curvature, under normal priors that
    keep those with few votes at the mean. A negative ability is somebody who says the opposite.

    Source: J. Whitehill et al., Whose Vote Should Count More, NIPS (2009).

    >>> items, workers = np.divmod(np.arange(30), 3)
    >>> labels = np.where(workers < 2, items % 2, (items + 1) % 2)
    >>> found = glad(Votes.of(items, workers, labels))
    >>> found.labels, found.figures["ability 2"] < 0 < found.figures["ability 0"]
    (array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), True)
    """
    ability: Matrix = np.ones(votes.n_workers)
    clear: Matrix = np.zeros(votes.n_items)

    def improve(probabilities: Matrix) -> Matrix:
        nonlocal ability, clear
        ability, clear = _climbed(votes, probabilities, ability, clear)
        return _posterior(votes, probabilities, ability, clear)

    found, steps = settled(votes.shares(), improve, iterations=iterations, tolerance=tolerance)
    figures = {f"ability {w}": float(value) for w, value in enumerate(ability)}
    return concluded(votes, found, iterations=steps, figures=figures)


def _climbed(
    votes: Votes, probabilities: Matrix, ability: Matrix, clear: Matrix
) -> tuple[Matrix, Matrix]:
    """Damped Newton steps of all abilities, then of all clearnesses."""
    right = probabilities[votes.items, votes.labels]
    for _ in range(_CLIMBS):
        for which in ("ability", "clear"):
            a, e = ability[votes.workers], np.exp(clear[votes.items])
            sure = _sigmoid(a * e)
            slope, bend = right - sure, sure * (1 - sure)
            if which == "ability":
                up = _sums(votes.workers, slope * e, len(ability))
                curve = _sums(votes.workers, bend * e * e, len(ability)) + 1 / _ABILITY_SD**2
                step = (up - (ability - 1) / _ABILITY_SD**2) / curve
                ability = (ability + _RATE * step).clip(-6, 6)
            else:
                up = _sums(votes.items, slope * a * e, len(clear))
                curve = _sums(votes.items, bend * (a * e) ** 2, len(clear)) + 1 / _CLEAR_SD**2
                clear = (clear + _RATE * (up - clear / _CLEAR_SD**2) / curve).clip(-3, 3)
    return ability, clear


def _posterior(votes: Votes, before: Matrix, ability: Matrix, clear: Matrix) -> Matrix:
    size = votes.n_classes
    reach = ability[votes.workers] * np.exp(clear[votes.items])
    # log sigmoid(x) - log(sigmoid(-x) / (k - 1)) is x + log(k - 1).
    gain = np.eye(size)[votes.labels] * (reach + np.log(max(size - 1, 1)))[:, None]
    return np.exp(log_softmax(votes.summed(gain) + np.log(frequencies(before))))


def _sums(at: Ints, values: Matrix, size: int) -> Matrix:
    return np.asarray(np.bincount(at, weights=values, minlength=size), dtype=np.float64)


def _sigmoid(x: Matrix) -> Matrix:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))
