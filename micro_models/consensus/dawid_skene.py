"""Dawid-Skene: each worker has a table of how often each class is called which."""

from __future__ import annotations

import numpy as np

from micro_models.consensus.result import SHRINK_VOTES, Consensus, concluded, log_softmax, settled
from micro_models.consensus.votes import Matrix, Votes

# A worker's row of the table begins as this many votes of the worker's own overall accuracy.
_ROW_VOTES = 2.0


def dawid_skene(votes: Votes, *, iterations: int = 300, tolerance: float = 1e-4) -> Consensus:
    """The likeliest truth if workers err independently, each by a table of its own.

    EM from the shares of votes. Priors go from the mean worker to each worker's accuracy, and from
    this to each row of the table, with errors spread evenly: who has few votes is as the mean, and
    a class that a worker has seldom met is met as the others are.

    Source: A. Dawid, A. Skene, Maximum Likelihood Estimation of Observer Error-Rates Using the EM
    Algorithm, Applied Statistics 28 (1979).

    >>> items, workers = np.divmod(np.arange(30), 3)
    >>> labels = np.where(workers < 2, items % 2, 0)  # two see, the third always says 0
    >>> found = dawid_skene(Votes.of(items, workers, labels))
    >>> found.labels, [round(one.accuracy, 2) for one in found.workers]
    (array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), [0.95, 0.95, 0.59])
    """

    def improve(probabilities: Matrix) -> Matrix:
        table = tables(votes.confusions(probabilities))
        return np.exp(log_posterior(votes, table, probabilities))

    found, steps = settled(votes.shares(), improve, iterations=iterations, tolerance=tolerance)
    return concluded(
        votes,
        found,
        iterations=steps,
        confusions=tables(votes.confusions(found)),
    )


def tables(counts: Matrix) -> Matrix:
    """(workers, truth, said) expected counts -> probabilities, shrunk as `dawid_skene` says."""
    size = counts.shape[1]
    even = np.eye(size)
    hits, total = np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2))
    mean = (hits.sum() + 1) / (total.sum() + 2)
    own = ((hits + SHRINK_VOTES * mean) / (total + SHRINK_VOTES))[:, None, None]
    prior = own * even + (1 - own) * (1 - even) / max(size - 1, 1)
    smooth = counts + _ROW_VOTES * prior
    return np.asarray(smooth / smooth.sum(axis=2, keepdims=True))


def log_posterior(votes: Votes, table: Matrix, before: Matrix) -> Matrix:
    """(items, classes) logarithms of the probabilities by these tables; `before` gives the classes'
    frequencies.
    """
    logs = np.log(np.maximum(table, 1e-12))
    each = logs[votes.workers, :, votes.labels]
    return log_softmax(votes.summed(each) + np.log(frequencies(before)))


def frequencies(probabilities: Matrix) -> Matrix:
    """(items, classes) -> (classes,) how frequent each is, as if each had been seen once more."""
    return np.asarray(
        (probabilities.sum(axis=0) + 1) / (len(probabilities) + probabilities.shape[1])
    )
