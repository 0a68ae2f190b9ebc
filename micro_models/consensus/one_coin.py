"""One coin: each worker is right with one probability, whatever the class."""

from __future__ import annotations

import numpy as np

from micro_models.consensus.dawid_skene import frequencies
from micro_models.consensus.result import SHRINK_VOTES, Consensus, concluded, log_softmax, settled
from micro_models.consensus.votes import Matrix, Votes


def one_coin(votes: Votes, *, iterations: int = 300, tolerance: float = 1e-4) -> Consensus:
    """The likeliest truth if each worker errs at one rate, to any other class alike.

    One number a worker: it needs fewer votes than `dawid_skene`, and cannot see that somebody
    always says the same. EM from the shares of votes; who has few votes is as the mean.

    Source: Y. Zhang et al., Spectral Methods Meet EM (2014), the one-coin model of Dawid-Skene.

    >>> items, workers = np.divmod(np.arange(30), 3)
    >>> labels = np.where(workers < 2, items % 2, (items + 1) % 2)  # the third is always wrong
    >>> found = one_coin(Votes.of(items, workers, labels))
    >>> found.labels, [round(one.accuracy, 2) for one in found.workers]
    (array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), [0.9, 0.9, 0.19])
    """
    size, said = votes.n_classes, np.eye(votes.n_classes)[votes.labels]
    count = np.bincount(votes.workers, minlength=votes.n_workers)

    def improve(probabilities: Matrix) -> Matrix:
        right = probabilities[votes.items, votes.labels]
        sums = np.bincount(votes.workers, weights=right, minlength=votes.n_workers)
        mean = (right.sum() + 1) / (len(right) + 2)
        accuracy = (sums + SHRINK_VOTES * mean) / (count + SHRINK_VOTES)
        weight = np.log(accuracy) - np.log((1 - accuracy) / max(size - 1, 1))
        scores = votes.summed(said * weight[votes.workers][:, None])
        return np.exp(log_softmax(scores + np.log(frequencies(probabilities))))

    found, steps = settled(votes.shares(), improve, iterations=iterations, tolerance=tolerance)
    return concluded(votes, found, iterations=steps)
